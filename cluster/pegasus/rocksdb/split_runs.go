package rocksdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"shardsh/cluster/pegasus/wire"
)

// ownRows are the rows of a source that hash to it.
type ownRows struct {
	Rows
	split  *Split
	source int
	read   int64 // rows not counted yet
	err    error
}

func (r *ownRows) count() {
	r.split.totals.read.Add(r.read)
	r.split.Progress(r.read)
	r.read = 0
}

// Next moves to the next row that is not a stray, and counts.
func (r *ownRows) Next() bool {
	for r.err == nil && r.Rows.Next() {
		if r.read++; r.read == 4096 {
			r.count()
		}
		hash, sort, err := wire.DecodeKey(r.Key())
		if err != nil {
			r.err = corruptf("partition %d: the key %x: %w", r.source, r.Key(), err)
			return false
		}
		if wire.PartitionOf(wire.Hash(hash, sort), r.split.Sources) == r.source {
			return true
		}
		r.split.totals.strays.Add(1)
	}
	r.count()
	return false
}

// Err is what ended the rows before their end.
func (r *ownRows) Err() error {
	if r.err != nil {
		return r.err
	}
	return r.Rows.Err()
}

// throughRuns writes each source as one run a target it has rows for, and then merges each target's.
func (s *Split) throughRuns(ctx context.Context) error {
	if s.Temp == "" {
		return fmt.Errorf("a split of %d partitions into %d needs a folder for temporary files", s.Sources, s.Targets)
	}
	if err := os.MkdirAll(s.Temp, 0o700); err != nil {
		return err
	}
	if err := s.each(ctx, s.Sources, s.writeRuns); err != nil {
		return err
	}
	return s.each(ctx, s.Targets, func(ctx context.Context, target int) error {
		if err := s.mergeTarget(ctx, target, s.openRuns); err != nil {
			return err
		}
		return s.removeRuns(target)
	})
}

// step is the greatest common divisor: a source has rows for the targets that leave the same rest by it.
func (s *Split) step() int {
	a, b := s.Sources, s.Targets
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (s *Split) runName(source, target int) string {
	return filepath.Join(s.Temp, fmt.Sprintf("run-%05d-%05d", source, target))
}

// buffer is how much of each of n files one worker holds, in bytes.
func (s *Split) buffer(n int) int { return int(min(max(s.share()/int64(n), 4<<10), 256<<10)) }

func (s *Split) writeRuns(ctx context.Context, source int) error {
	step := s.step()
	runs := make([]*runWriter, s.Targets/step)
	wanted := false
	for i := range runs {
		if target := i*step + source%step; !s.done(Piece{Partition: target}) {
			runs[i] = &runWriter{name: s.runName(source, target), size: s.buffer(len(runs))}
			wanted = true
		}
	}
	piece := Piece{Run: true, Partition: source}
	if !wanted || s.done(piece) && allWhole(runs) {
		return nil
	}
	defer func() {
		for _, r := range runs {
			r.close()
		}
	}()
	var rows int64
	err := s.walk(ctx, source, func(hash uint64, key, value []byte) error {
		r := runs[hash%uint64(s.Targets)/uint64(step)]
		if r == nil {
			return nil
		}
		rows++
		return r.put(key, value)
	})
	if err != nil {
		return fmt.Errorf("partition %d: %w", source, err)
	}
	for _, r := range runs {
		if err := r.finish(); err != nil {
			return err
		}
	}
	s.record.Lock()
	defer s.record.Unlock()
	return s.Record(PieceResult{Piece: piece, Rows: rows})
}

// allWhole reports whether the runs of a source are all there from before.
func allWhole(runs []*runWriter) bool {
	for _, r := range runs {
		if r != nil && !wholeRun(r.name) {
			return false
		}
	}
	return true
}

func (s *Split) openRuns(_ context.Context, target int) ([]Rows, error) {
	step := s.step()
	var inputs []Rows
	for source := target % step; source < s.Sources; source += step {
		r, err := openRun(s.runName(source, target), s.buffer(s.Sources/step))
		if err != nil {
			return inputs, err
		}
		inputs = append(inputs, r)
	}
	return inputs, nil
}

func (s *Split) removeRuns(target int) error {
	step := s.step()
	for source := target % step; source < s.Sources; source += step {
		if err := os.Remove(s.runName(source, target)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

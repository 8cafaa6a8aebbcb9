package rocksdb

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster/pegasus/wire"
)

// DefaultSplitMemory is how much a Split holds when it is not told, in bytes.
const DefaultSplitMemory = 256 << 20

// Split writes the rows of a table of Sources partitions as tables for one of Targets partitions, where each partition's
// tables do not overlap and hold only keys that hash to it. What it writes depends on the rows and on Table and
// TargetSize alone: not on memory, parallelism, or how often it was interrupted.
//
// There are three ways, and no row is sorted in any of them:
//
//	Targets a multiple of Sources    each source fans out; its rows stay in order
//	Sources a multiple of Targets    each target merges its sources
//	else, or when memory is short    each source fans out into runs in Temp, then each target merges its runs
type Split struct {
	Sources, Targets int
	// Open returns the rows of a source partition by rising keys. It is called again for a source that is read again,
	// from several goroutines.
	Open func(ctx context.Context, source int) (Rows, error)
	// Output returns where the tables of a target partition go: 000001.sst, 000002.sst and so on.
	Output func(target int) Sink
	// Temp is a folder for runs, which hold every row once and uncompressed; it must be the same one when a split is
	// resumed. Run makes it when it needs one, and leaves it empty.
	Temp       string
	Memory     int64         // bytes held besides the rows of open sources; 0 is DefaultSplitMemory
	Parallel   int           // partitions worked on at once; 0 is one a processor
	Table      WriterOptions // External is set
	TargetSize int64         // bytes of a table; 0 is DefaultTargetSize
	// FillEmpty gives a partition without rows a table with one deletion of a key nobody uses: a bulk load needs at
	// least one file for each partition, and RocksDB ingests none without an entry.
	FillEmpty bool
	// Done reports whether a piece was recorded before, so that it is not made again; nil is never. Record is called
	// once for each piece that is finished, its files committed; an error ends the split. Neither is called by two
	// goroutines at once.
	Done   func(Piece) bool
	Record func(PieceResult) error
	// Progress, when set, is called with rows read since the last call, by several goroutines.
	Progress func(rows int64)

	totals struct{ read, written, strays atomic.Int64 }
	record sync.Mutex
}

// Piece is what a split can be resumed after: the tables of one target partition, or the runs of one source partition.
type Piece struct {
	Run       bool `json:"run,omitempty"`
	Partition int  `json:"partition"` // of the target, or of the source when Run
}

// String names the piece, for a journal: "target 3", "run 3".
func (p Piece) String() string {
	if p.Run {
		return "run " + strconv.Itoa(p.Partition)
	}
	return "target " + strconv.Itoa(p.Partition)
}

// PieceResult is what became of a piece.
type PieceResult struct {
	Piece
	Rows  int64         `json:"rows"`            // written
	Files []WrittenFile `json:"files,omitempty"` // of a target, in the order of their keys
}

// SplitTotals count rows of one Run; pieces that were there before are not in them.
type SplitTotals struct {
	Read, Written int64
	// Strays are rows in a source they do not hash to, which are left out: what is left of a partition split until the
	// next compaction. The other half of the split has them.
	Strays int64
}

// Run makes all pieces that are not done. After an error it may be called again, with what was recorded.
func (s *Split) Run(ctx context.Context) (SplitTotals, error) {
	err := s.prepare()
	if err == nil {
		err = s.work(ctx)
	}
	t := &s.totals
	return SplitTotals{t.read.Load(), t.written.Load(), t.strays.Load()}, err
}

func (s *Split) prepare() error {
	if s.Sources < 1 || s.Targets < 1 || s.Sources > maxPartitions || s.Targets > maxPartitions {
		return fmt.Errorf("a split of %d partitions into %d", s.Sources, s.Targets)
	}
	if s.Memory <= 0 {
		s.Memory = DefaultSplitMemory
	}
	if s.Parallel <= 0 {
		s.Parallel = runtime.GOMAXPROCS(0)
	}
	if s.TargetSize <= 0 {
		s.TargetSize = DefaultTargetSize
	}
	s.Table.External = true
	if s.Done == nil {
		s.Done = func(Piece) bool { return false }
	}
	if s.Record == nil {
		s.Record = func(PieceResult) error { return nil }
	}
	if s.Progress == nil {
		s.Progress = func(int64) {}
	}
	s.totals.read.Store(0)
	s.totals.written.Store(0)
	s.totals.strays.Store(0)
	return s.Table.check()
}

const (
	maxPartitions = 1 << 16
	// sourceMemory is about what an open source holds, in bytes: a block, an index and what is read ahead for each level.
	sourceMemory = 4 << 20
)

// share is what one worker may hold, in bytes.
func (s *Split) share() int64 { return max(s.Memory/int64(s.Parallel), 1) }

// writerMemory is about what one open table holds, in bytes: buffers, the index, and the hashes of its filter.
func (s *Split) writerMemory() int64 {
	size := 2*writeBuffer + 4*int64(s.Table.BlockSize) + s.TargetSize/int64(s.Table.BlockSize)*128
	if s.Table.BloomBits > 0 {
		size += s.TargetSize / 8
	}
	return size
}

func (s *Split) work(ctx context.Context) error {
	switch {
	case s.Targets%s.Sources == 0:
		return s.each(ctx, s.Sources, s.fanOut)
	case s.merges():
		return s.each(ctx, s.Targets, func(ctx context.Context, target int) error { return s.mergeTarget(ctx, target, s.openSources) })
	}
	return s.throughRuns(ctx)
}

// merges reports whether each target can read all its sources at once, and each source has one target.
func (s *Split) merges() bool {
	return s.Sources%s.Targets == 0 && int64(s.Sources/s.Targets)*sourceMemory <= s.share()
}

// each calls f for 0 to n-1, as many at once as is allowed; the first error ends it.
func (s *Split) each(ctx context.Context, n int, f func(context.Context, int) error) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(s.Parallel)
	for i := range n {
		g.Go(func() error {
			if err := inner.Err(); err != nil {
				return err
			}
			return f(inner, i)
		})
	}
	return g.Wait()
}

func (s *Split) done(p Piece) bool {
	s.record.Lock()
	defer s.record.Unlock()
	return s.Done(p)
}

func (s *Split) finish(r PieceResult) error {
	s.totals.written.Add(r.Rows)
	s.record.Lock()
	defer s.record.Unlock()
	return s.Record(r)
}

// walk calls f with each row of a source that hashes to it, and its hash.
func (s *Split) walk(ctx context.Context, source int, f func(hash uint64, key, value []byte) error) error {
	rows, err := s.Open(ctx, source)
	if err != nil {
		return err
	}
	defer rows.Close()
	const often = 4096
	n := 0
	for ; rows.Next(); n++ {
		if n == often {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.Progress(often)
			s.totals.read.Add(often)
			n = 0
		}
		key := rows.Key()
		hash, sort, err := wire.DecodeKey(key)
		if err != nil {
			return corruptf("partition %d: the key %x: %w", source, key, err)
		}
		h := wire.Hash(hash, sort)
		if h%uint64(s.Sources) != uint64(source) {
			s.totals.strays.Add(1)
			continue
		}
		if err := f(h, key, rows.Value()); err != nil {
			return err
		}
	}
	s.Progress(int64(n))
	s.totals.read.Add(int64(n))
	return rows.Err()
}

// partition is a target that is being written.
type partition struct {
	series *tableSeries
	target int
	rows   int64
}

func (s *Split) partition(ctx context.Context, target int, c *codec) *partition {
	return &partition{target: target, series: &tableSeries{
		ctx: ctx, sink: s.Output(target), options: s.Table, target: s.TargetSize, codec: c,
		name: func(i int) string { return TableName(uint64(i + 1)) },
	}}
}

func (p *partition) put(key, value []byte) error {
	p.rows++
	return p.series.add(InternalKey{User: key, Kind: KindValue}, value)
}

// complete ends the last table and records the partition.
func (s *Split) complete(p *partition) error {
	if p.rows == 0 && s.FillEmpty {
		if err := p.series.add(InternalKey{User: unusedKey(p.target, s.Targets), Kind: KindDelete}, nil); err != nil {
			return err
		}
	}
	if err := p.series.end(); err != nil {
		return err
	}
	return s.finish(PieceResult{Piece: Piece{Partition: p.target}, Rows: p.rows, Files: p.series.files})
}

// unusedKey is the first of a row of keys that hashes to a partition.
func unusedKey(partition, partitions int) []byte {
	for i := 0; ; i++ {
		hash := []byte("shardsh.empty." + strconv.Itoa(i))
		if wire.PartitionOf(wire.Hash(hash, nil), partitions) == partition {
			key, _ := wire.EncodeKey(hash, nil) // it is short enough
			return key
		}
	}
}

package rocksdb

import (
	"bytes"
	"context"
	"fmt"
	"slices"
)

// fanOut writes the targets of a source, as many in one pass over its rows as memory allows.
func (s *Split) fanOut(ctx context.Context, source int) error {
	var targets []int
	for t := source; t < s.Targets; t += s.Sources {
		if !s.done(Piece{Partition: t}) {
			targets = append(targets, t)
		}
	}
	atOnce := int(max(s.share()/s.writerMemory(), 1))
	for pass := range slices.Chunk(targets, atOnce) {
		if err := s.pass(ctx, source, pass); err != nil {
			return err
		}
	}
	return nil
}

func (s *Split) pass(ctx context.Context, source int, targets []int) error {
	c := &codec{}
	open := make([]*partition, s.Targets/s.Sources)
	defer func() {
		for _, p := range open {
			if p != nil {
				p.series.abort()
			}
		}
	}()
	for _, t := range targets {
		open[t/s.Sources] = s.partition(ctx, t, c)
	}
	err := s.walk(ctx, source, func(hash uint64, key, value []byte) error {
		p := open[hash%uint64(s.Targets)/uint64(s.Sources)]
		if p == nil {
			return nil
		}
		return p.put(key, value)
	})
	if err != nil {
		return fmt.Errorf("partition %d: %w", source, err)
	}
	for _, t := range targets {
		if err := s.complete(open[t/s.Sources]); err != nil {
			return err
		}
	}
	return nil
}

// head is rows that stand at one of them.
type head struct {
	Rows
	key []byte
}

func (h *head) Less(o *head) bool { return bytes.Compare(h.key, o.key) < 0 }

// mergeTarget writes one target from rows that are each in order.
func (s *Split) mergeTarget(ctx context.Context, target int, open func(context.Context, int) ([]Rows, error)) error {
	if s.done(Piece{Partition: target}) {
		return nil
	}
	inputs, err := open(ctx, target)
	defer func() {
		for _, r := range inputs {
			r.Close()
		}
	}()
	if err != nil {
		return err
	}
	p := s.partition(ctx, target, &codec{})
	defer p.series.abort()
	if err := mergeRows(ctx, inputs, p.put); err != nil {
		return fmt.Errorf("partition %d of %d: %w", target, s.Targets, err)
	}
	return s.complete(p)
}

func mergeRows(ctx context.Context, inputs []Rows, put func(key, value []byte) error) error {
	var heads heap[*head]
	for _, r := range inputs {
		if r.Next() {
			heads = append(heads, &head{r, r.Key()})
		} else if err := r.Err(); err != nil {
			return err
		}
	}
	heads.build()
	for n := 0; len(heads) > 0; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		h := heads[0]
		if err := put(h.key, h.Value()); err != nil {
			return err
		}
		if h.Next() {
			h.key = h.Key()
			heads.down(0)
			continue
		}
		if err := h.Err(); err != nil {
			return err
		}
		heads.pop()
	}
	return nil
}

// openSources opens the sources whose rows all go to one target.
func (s *Split) openSources(ctx context.Context, target int) ([]Rows, error) {
	var inputs []Rows
	for source := target; source < s.Sources; source += s.Targets {
		rows, err := s.Open(ctx, source)
		if err != nil {
			return inputs, fmt.Errorf("partition %d: %w", source, err)
		}
		inputs = append(inputs, &ownRows{Rows: rows, split: s, source: source})
	}
	return inputs, nil
}

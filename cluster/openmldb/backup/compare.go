package backup

import (
	"context"
	"fmt"

	"shardsh/cluster/openmldb"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// Compare reads a table by each index of a backup, and compares what it has with what the backup was made of, by number
// and sum of the rows. A difference is spec.AnsweredNo. Rows that have expired since are one.
func Compare(ctx context.Context, d Reader, t *openmldb.Table, m *Manifest, o Options, w spec.Work) error {
	o.complete()
	if err := Fits(m, t); err != nil {
		return err
	}
	c := &maker{d: d, table: t, o: o, work: w, pace: transfer.NewPacer(w.Rate), held: map[*unit]error{}}
	c.progressed()
	var cancel context.CancelCauseFunc
	c.ctx, cancel = context.WithCancelCause(ctx)
	c.stop = cancel
	defer cancel(nil)
	found, err := w.Restore(&c.state)
	if err != nil {
		return err
	}
	if !found {
		c.state = makeState{Version: makeVersion}
		for i := range t.Indexes {
			c.state.First = append(c.state.First, c.units(i)...)
		}
	}
	for _, u := range c.state.First {
		c.read += u.Tally.Rows
	}
	if err := c.attended(func() error { return c.each(c.state.First, c.tally) }); err != nil {
		return c.outcome(ctx, err)
	}
	return c.verdict(m)
}

// tally sums what a partition of an index has.
func (m *maker) tally(ctx context.Context, u *unit) error {
	st := m.storing(u)
	if err := st.persist(ctx, st.compare); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	u.Tally, u.Done = st.tally, true
	return nil
}

// verdict compares the sums.
func (m *maker) verdict(b *Manifest) error {
	have := map[string]Tally{}
	for _, u := range m.state.First {
		name := m.table.Indexes[u.Index].Name
		t := have[name]
		t.plus(u.Tally)
		have[name] = t
	}
	for _, x := range b.Indexes {
		if got := have[x.Name]; got != (Tally{x.Rows, x.Sum}) {
			text := fmt.Sprintf("index %s has %d rows, and had %d", x.Name, got.Rows, x.Rows)
			if got.Rows == x.Rows {
				text = fmt.Sprintf("index %s has %d rows, as it had, and others among them", x.Name, x.Rows)
			}
			m.work.Detail("%s", text)
			e := spec.Errorf(spec.AnsweredNo, "%s", text)
			e.Op = m.o.What
			if forever := (TTL{Type: "kAbsoluteTime"}); x.TTL != forever {
				return e.WithHint("its TTL is %s: rows that have expired since the backup are missing by right", openmldb.TTL(x.TTL))
			}
			return e
		}
	}
	m.work.Detail("equal: %d rows, by each of %d indexes", b.Rows(), len(b.Indexes))
	return nil
}

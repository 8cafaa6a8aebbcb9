package backup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"shardsh/cluster/openmldb"
	"shardsh/cluster/openmldb/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// one does a unit: compares it with what follows, where it can follow, and stores it unless it does.
func (m *maker) one(ctx context.Context, u *unit) error {
	st := m.storing(u)
	// The time of a put is not told by an index that orders rows by a column.
	follows := st.own && (st.index.TimeColumn != "" || m.first.TimeColumn == "")
	if follows && !u.Compared {
		if err := st.persist(ctx, st.compare); err != nil {
			return err
		}
		m.mu.Lock()
		u.Compared, u.Same = true, st.tally == m.state.Follows[u.Index][u.Partition]
		if u.Same {
			u.Tally, u.Done = st.tally, true
		} else {
			m.read -= st.tally.Rows
		}
		m.mu.Unlock()
		if u.Same {
			return nil
		}
		st.reset()
	}
	if err := st.persist(ctx, st.store); err != nil {
		return errors.Join(err, st.w.abort())
	}
	return nil
}

func (m *maker) storing(u *unit) *storing {
	x := m.table.Indexes[u.Index]
	return &storing{
		m: m, u: u, index: x, own: x.Name != m.first.Name, at: u.After, schema: m.table.Plain(),
		src: m.d.CopySource(m.table.TableName, openmldb.CopySourceOptions{Index: x.Name, TableID: m.table.ID}),
	}
}

// storing is a unit under way.
type storing struct {
	m      *maker
	u      *unit
	index  openmldb.Index
	own    bool
	src    *openmldb.CopySource
	schema *wire.Schema
	at     transfer.Position // behind what was read

	w       *chunkWriter // nil between chunks
	last    openmldb.CopyRow
	tally   Tally     // of the chunk, or of what is compared
	follows [][]Tally // what follows from the chunk
	buf     []byte
}

// readError is one of reading the table: what was read before it stands.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// persist does something again after errors that may go away.
func (st *storing) persist(ctx context.Context, do func(ctx context.Context) error) error {
	m := st.m
	var pause transfer.Backoff
	for {
		before := m.moved.Load()
		err := do(ctx)
		if err == nil {
			m.hold(st.u, nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if m.moved.Load() != before {
			pause.Reset()
		}
		var read readError
		isRead := errors.As(err, &read)
		if !isRead {
			if aerr := st.restart(); aerr != nil {
				return errors.Join(err, aerr)
			}
		}
		switch kind := spec.KindOf(err); {
		case isRead && st.src.Judge(read.error) == transfer.Fatal, !isRead && kind != spec.Unavailable && kind != spec.UnknownOutcome:
			return err
		case m.outOfPatience():
			return transfer.OutOfPatience(err, m.o.Patience)
		}
		m.hold(st.u, err)
		if !pause.Sleep(ctx) {
			return ctx.Err()
		}
	}
}

// hold notes that a unit waits after an error, or does not any more.
func (m *maker) hold(u *unit, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.held, u)
		return
	}
	m.retries++
	m.held[u] = err
}

// restart goes back to behind the last chunk that is stored.
func (st *storing) restart() error {
	err := st.w.abort()
	st.m.mu.Lock()
	st.m.read -= st.tally.Rows
	if st.w != nil {
		st.m.bytes -= st.w.chunk.RowBytes
	}
	st.m.mu.Unlock()
	st.reset()
	return err
}

func (st *storing) reset() {
	st.w, st.tally, st.follows, st.at = nil, Tally{}, nil, st.u.After
}

// batches reads on from where it is; each batch has been taken when at is behind it.
func (st *storing) batches(ctx context.Context, take func(rows []openmldb.CopyRow) error) error {
	for b, err := range st.src.Read(ctx, st.u.Partition, st.at) {
		if err != nil {
			return readError{err}
		}
		st.m.progressed()
		st.m.hold(st.u, nil)
		if err := take(b.Rows); err != nil {
			return err
		}
		st.at = b.After
		if st.m.pace.Wait(ctx, int64(len(b.Rows)), b.Bytes) != nil {
			return ctx.Err()
		}
	}
	return nil
}

// compare sums what the index has in the partition.
func (st *storing) compare(ctx context.Context) error {
	err := st.batches(ctx, func(rows []openmldb.CopyRow) error {
		for i := range rows {
			st.sum(&rows[i])
		}
		st.m.count(int64(len(rows)), 0)
		return nil
	})
	if err != nil {
		return err
	}
	return st.m.unchanged(ctx)
}

func (st *storing) sum(r *openmldb.CopyRow) {
	st.buf = st.tally.Sum.add(st.buf, r.Key, r.Time, r.Value)
	st.tally.Rows++
}

func (m *maker) count(rows, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read += rows
	m.bytes += bytes
}

// store writes what the index has in the partition.
func (st *storing) store(ctx context.Context) error {
	err := st.batches(ctx, func(rows []openmldb.CopyRow) error {
		for i := range rows {
			if err := st.take(ctx, &rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return st.commit(ctx, true)
}

// take writes a row.
func (st *storing) take(ctx context.Context, r *openmldb.CopyRow) error {
	if st.w != nil && st.w.full() && (r.Key != st.last.Key || r.Time != st.last.Time) {
		if err := st.commit(ctx, false); err != nil {
			return err
		}
	}
	values, err := st.schema.Decode(r.Value)
	if err != nil {
		return fmt.Errorf("a row of partition %d: %w", st.u.Partition, err)
	}
	if st.w == nil {
		c := Chunk{Index: st.index.Name, Partition: st.u.Partition, Number: len(st.u.Chunks)}
		if st.w, err = begin(st.m.ctx, st.m.s, st.m.dir, st.schema, c, st.own, st.m.o.limits); err != nil {
			return err
		}
	}
	key, err := st.m.table.Key(st.index, values)
	if err == nil {
		err = st.w.add(*r, values, key != r.Key)
	}
	if err == nil && !st.own {
		err = st.follow(r, values)
	}
	if err != nil {
		return err
	}
	st.sum(r)
	st.last = *r
	st.m.count(1, int64(len(r.Value)))
	return nil
}

// follow sums what a row of the first index is in the others.
func (st *storing) follow(r *openmldb.CopyRow, values []any) error {
	t := st.m.table
	if len(t.Indexes) == 1 {
		return nil
	}
	if st.follows == nil {
		for range t.Indexes {
			st.follows = append(st.follows, make([]Tally, len(t.Parts)))
		}
	}
	entries, err := t.Entries(*r, values, st.index)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Index == st.u.Index {
			continue
		}
		f := &st.follows[e.Index][e.Partition]
		f.Rows++
		st.buf = f.Sum.add(st.buf, e.Key, e.Time, r.Value)
	}
	return nil
}

// commit ends the chunk, if one is open, and notes it; the end is noted with the last one.
func (st *storing) commit(ctx context.Context, end bool) error {
	if err := st.m.unchanged(ctx); err != nil {
		return err
	}
	var c Chunk
	if st.w != nil {
		var err error
		if c, err = st.w.commit(); err != nil {
			return err
		}
	}
	m, u := st.m, st.u
	m.mu.Lock()
	defer m.mu.Unlock()
	if st.w != nil {
		u.Chunks = append(u.Chunks, c)
		u.After = openmldb.PositionAfter(st.last)
		u.Tally.plus(st.tally)
		for i, all := range st.follows {
			for p := range all {
				m.state.Follows[i][p].plus(all[p])
			}
		}
	}
	u.Done = end
	st.w, st.tally, st.follows = nil, Tally{}, nil
	m.progressed()
	return nil
}

// unchanged demands that the table is what it was when the backup began: rows that were read before this can be
// understood as rows of then.
func (m *maker) unchanged(ctx context.Context) error {
	now, err := m.d.Describe(ctx, m.table.TableName)
	if err != nil {
		return err
	}
	changed := ""
	switch was := m.table; {
	case now.ID != was.ID:
		changed = fmt.Sprintf("it is another one by now, with id %d and not %d", now.ID, was.ID)
	case !slices.Equal(now.Columns, was.Columns):
		changed = "its columns were changed meanwhile"
	case !slices.EqualFunc(now.Indexes, was.Indexes, func(a, b openmldb.Index) bool {
		return a.Name == b.Name && slices.Equal(a.Columns, b.Columns) && a.TimeColumn == b.TimeColumn && a.TTL == b.TTL
	}):
		changed = "its indexes were changed meanwhile"
	case len(now.Parts) != len(was.Parts):
		changed = "it has another number of partitions by now"
	default:
		return nil
	}
	return spec.Errorf(spec.Failed, "table %s: %s", m.table.TableName, changed).WithHint("take another backup")
}

// finish removes what no chunk lists any more, and writes the documents, the manifest last.
func (m *maker) finish() (*Manifest, error) {
	if m.state.Finished.IsZero() {
		m.state.Finished = time.Now().UTC().Truncate(time.Second)
		if err := m.save(); err != nil {
			return nil, err
		}
	}
	manifest := m.manifest()
	if err := m.removeOthers(manifest); err != nil {
		return nil, err
	}
	data, err := encode(manifest)
	if err == nil {
		err = storage.WriteFile(m.ctx, m.s, path.Join(m.dir, SumsFile), manifest.sums(data))
	}
	if err == nil {
		err = storage.WriteFile(m.ctx, m.s, path.Join(m.dir, ManifestFile), data)
	}
	if err == nil {
		err = m.s.Remove(m.ctx, path.Join(m.dir, BegunFile))
		if storage.ReasonOf(err) == storage.NoFile {
			err = nil
		}
	}
	return manifest, err
}

func (m *maker) manifest() *Manifest {
	out := &Manifest{Format: format, Cluster: m.o.Cluster, Started: m.state.Started, Finished: m.state.Finished, ReadBy: m.first.Name, Chunks: []Chunk{}}
	out.Table, out.Indexes = describe(m.table)
	for _, u := range slices.Concat(m.state.First, m.state.Others) {
		x := &out.Indexes[u.Index]
		x.Rows += u.Tally.Rows
		x.Sum.plus(u.Tally.Sum)
		if x.Name != m.first.Name && !u.Same {
			x.Own = append(x.Own, u.Partition)
		}
		out.Chunks = append(out.Chunks, u.Chunks...)
	}
	out.sort()
	return out
}

// removeOthers removes files that a run before this one wrote and this one did not, since rows were deleted meanwhile.
func (m *maker) removeOthers(manifest *Manifest) error {
	listed := map[string]bool{path.Join(m.dir, BegunFile): true, path.Join(m.dir, SumsFile): true, path.Join(m.dir, ManifestFile): true}
	for _, c := range manifest.Chunks {
		for _, f := range c.Files {
			listed[path.Join(m.dir, f.Path)] = true
		}
	}
	var others []string
	for e, err := range storage.Walk(m.ctx, m.s, m.dir) {
		if err != nil {
			return err
		}
		if !e.Dir && !listed[e.Path] {
			others = append(others, e.Path)
		}
	}
	for _, name := range others {
		if err := m.s.Remove(m.ctx, name); err != nil && storage.ReasonOf(err) != storage.NoFile {
			return err
		}
	}
	return nil
}

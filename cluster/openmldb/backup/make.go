package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster/openmldb"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// Reader is what a backup asks of a driver.
type Reader interface {
	Describe(ctx context.Context, table openmldb.TableName) (*openmldb.Table, error)
	CopySource(table openmldb.TableName, o openmldb.CopySourceOptions) *openmldb.CopySource
}

// Options say how a backup is made. The zero value of each field but What and Cluster stands for what its comment says.
type Options struct {
	What    string // is being done, for errors
	Cluster string // the name of the cluster, for the manifest
	// Parallel is how many partitions are read at once; 4.
	Parallel int
	// Patience bounds the time without any progress while errors are of the kind that goes away; 10 minutes.
	Patience time.Duration
	// SaveEvery is how often the journal is saved; 1 s.
	SaveEvery time.Duration
	limits    limits
}

func (o *Options) complete() {
	o.Parallel, o.Patience, o.SaveEvery = cmp.Or(o.Parallel, 4), cmp.Or(o.Patience, 10*time.Minute), cmp.Or(o.SaveEvery, time.Second)
	o.limits.chunk, o.limits.group = cmp.Or(o.limits.chunk, chunkBytes), cmp.Or(o.limits.group, groupBytes)
}

// makeState is the journal of a Make.
type makeState struct {
	Version  int
	Started  time.Time
	Finished time.Time // zero until all rows are stored
	// First are the partitions of the index that is read first, Others those of the others, once all of First is done.
	First, Others []*unit
	// Follows is what follows from the rows of First for the indexes of the table, by partition.
	Follows [][]Tally
}

const makeVersion = 1

// unit is a partition of an index.
type unit struct {
	Index, Partition int
	About            int64             // rows, a guess
	Compared         bool              `json:",omitempty"`
	Same             bool              `json:",omitempty"` // nothing is stored: it follows
	Chunks           []Chunk           `json:",omitempty"`
	After            transfer.Position `json:",omitempty"` // behind the last chunk
	Tally            Tally             // of the chunks, or of what was compared
	Done             bool              `json:",omitempty"`
}

// Refused says why a table cannot be backed up, nil when it can.
func Refused(t *openmldb.Table) error {
	refuse := func(format string, args ...any) error {
		e := spec.Errorf(spec.Unable, format, args...)
		e.Op = "back up table " + t.TableName.String()
		return e
	}
	names := []string{t.DB, t.Name}
	for _, c := range t.Columns {
		names = append(names, c.Name, c.Default)
	}
	for _, x := range t.Indexes {
		if x.Type != "" {
			return refuse("index %s is a %s one: its rows cannot be put back one index at a time", x.Name, x.Type)
		}
		names = append(names, x.Name)
	}
	for _, n := range names {
		if !utf8.ValidString(n) {
			return refuse("the name %q is no UTF-8", n)
		}
	}
	seen := map[string]bool{}
	for _, c := range t.Columns {
		if seen[c.Name] {
			return refuse("it has two columns %s", c.Name)
		}
		seen[c.Name] = true
	}
	if len(t.Parts) > mostPartitions {
		return refuse("it has more than %d partitions", mostPartitions)
	}
	def, _ := describe(t)
	if _, err := schemaOf(def.Columns); err != nil {
		return refuse("%w", err)
	}
	if len(t.Indexes) == 0 {
		return refuse("it has no index")
	}
	return nil
}

// ReadBy is the index whose rows are stored first: one that rows stay in longest, and of those one that tells the time of
// the put, if there is such, since the others follow from that.
func ReadBy(t *openmldb.Table) (openmldb.Index, error) {
	best, _, err := openmldb.FullestIndex(t)
	for _, x := range t.Indexes {
		if best.TimeColumn != "" && x.TimeColumn == "" && x.TTL == best.TTL {
			best = x
		}
	}
	return best, err
}

// Make backs a table up into a folder of a service. The folder must be empty, unless the journal says that this work has
// begun it. An error leaves no manifest, so that nothing takes the folder for a backup.
func Make(ctx context.Context, d Reader, t *openmldb.Table, s storage.Service, dir string, o Options, w spec.Work) (*Manifest, error) {
	o.complete()
	if err := Refused(t); err != nil {
		return nil, err
	}
	x, err := ReadBy(t)
	if err != nil {
		return nil, err
	}
	m := &maker{d: d, table: t, first: x, s: s, dir: dir, o: o, work: w, pace: transfer.NewPacer(w.Rate)}
	m.progressed()
	var cancel context.CancelCauseFunc
	m.ctx, cancel = context.WithCancelCause(ctx)
	m.stop = cancel
	defer cancel(nil)
	if err := m.begin(); err != nil {
		return nil, m.outcome(ctx, err)
	}
	manifest, err := m.run()
	if err != nil {
		return nil, m.outcome(ctx, err)
	}
	return manifest, nil
}

// maker is a Make under way.
type maker struct {
	d     Reader
	table *openmldb.Table
	first openmldb.Index
	s     storage.Service
	dir   string
	o     Options
	work  spec.Work
	pace  *transfer.Pacer

	ctx   context.Context
	stop  context.CancelCauseFunc
	moved atomic.Int64 // the time of the last progress, in Unix nanoseconds

	mu      sync.Mutex // of all below
	state   makeState
	read    int64 // rows, of those units that are done and those under way
	bytes   int64
	retries int64
	held    map[*unit]error // what waits, and why
}

func (m *maker) progressed() { m.moved.Store(time.Now().UnixNano()) }

func (m *maker) outOfPatience() bool {
	return time.Since(time.Unix(0, m.moved.Load())) > m.o.Patience
}

// begin takes up the journal, or begins one.
func (m *maker) begin() error {
	m.held = map[*unit]error{}
	found, err := m.work.Restore(&m.state)
	if err != nil {
		return err
	}
	if !found {
		return m.beginAnew()
	}
	if m.state.Version != makeVersion {
		return spec.Errorf(spec.Failed, "the journal is of version %d", m.state.Version).WithHint("start a new backup")
	}
	for _, u := range slices.Concat(m.state.First, m.state.Others) {
		m.read += u.Tally.Rows
		for _, c := range u.Chunks {
			m.bytes += c.RowBytes
		}
	}
	if m.state.Finished.IsZero() {
		return m.writeBegun()
	}
	return nil
}

func (m *maker) beginAnew() error {
	if err := Empty(m.ctx, m.s, m.dir); err != nil {
		return err
	}
	m.state = makeState{Version: makeVersion, Started: time.Now().UTC().Truncate(time.Second)}
	for i, x := range m.table.Indexes {
		m.state.Follows = append(m.state.Follows, make([]Tally, len(m.table.Parts)))
		if x.Name == m.first.Name {
			m.state.First = m.units(i)
		}
	}
	if err := m.work.Save(&m.state); err != nil {
		return err
	}
	return m.writeBegun()
}

func (m *maker) units(index int) []*unit {
	var all []*unit
	for p := range m.table.Parts {
		rows, _ := m.table.Guess(p)
		all = append(all, &unit{Index: index, Partition: p, About: rows})
	}
	return all
}

func (m *maker) writeBegun() error {
	data, err := encode(Begun{Format: format, Cluster: m.o.Cluster, DB: m.table.DB, Table: m.table.Name, Started: m.state.Started})
	if err != nil {
		return err
	}
	return storage.WriteFile(m.ctx, m.s, path.Join(m.dir, BegunFile), data)
}

// Empty refuses a folder that holds something.
func Empty(ctx context.Context, s storage.Service, dir string) error {
	place := storage.Location{Service: s.Name(), Path: dir}
	for e, err := range storage.Walk(ctx, s, dir) {
		switch {
		case storage.ReasonOf(err) == storage.NoFile || storage.ReasonOf(err) == storage.NoPlace:
			return nil
		case err != nil:
			return err
		case e.Dir:
			continue
		}
		if there, err := storage.Exists(ctx, s, path.Join(dir, ManifestFile)); err == nil && there {
			return spec.Errorf(spec.Refused, "%s holds a backup", place).WithHint("choose another place, or remove it: fs rm -r %s", place)
		}
		if there, err := storage.Exists(ctx, s, path.Join(dir, BegunFile)); err == nil && there {
			return spec.Errorf(spec.Refused, "%s holds a backup that was not finished", place).
				WithHint("job resume goes on with it, if there is a job of it; or remove it: fs rm -r %s", place)
		}
		return spec.Errorf(spec.Refused, "%s is not empty: it has %s", place, e.Path).WithHint("choose another place, or remove it: fs rm -r %s", place)
	}
	return nil
}

// run stores what is left, and writes the documents.
func (m *maker) run() (*Manifest, error) {
	if err := m.attended(m.all); err != nil {
		return nil, err
	}
	return m.finish()
}

// attended does something, looks after it meanwhile, and saves in the end.
func (m *maker) attended(do func() error) error {
	over := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		look := func() { m.pace.Look(); m.show() }
		if err := transfer.Attend(over, transfer.LookEvery, m.o.SaveEvery, look, m.save); err != nil {
			m.stop(fmt.Errorf("the journal cannot be saved: %w", err))
		}
	})
	err := do()
	close(over)
	group.Wait()
	m.show()
	if serr := m.save(); err == nil {
		err = serr
	}
	if cause := context.Cause(m.ctx); cause != nil && err != nil {
		err = cause
	}
	return err
}

// all stores the first index, and then what the others have besides.
func (m *maker) all() error {
	if err := m.each(m.state.First, m.one); err != nil {
		return err
	}
	if m.state.Others == nil && len(m.table.Indexes) > 1 {
		m.mu.Lock()
		for i, x := range m.table.Indexes {
			if x.Name != m.first.Name {
				m.state.Others = append(m.state.Others, m.units(i)...)
			}
		}
		m.mu.Unlock()
	}
	return m.each(m.state.Others, m.one)
}

func (m *maker) each(units []*unit, do func(ctx context.Context, u *unit) error) error {
	group, ctx := errgroup.WithContext(m.ctx)
	group.SetLimit(m.o.Parallel)
	for _, u := range units {
		if u.Done {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return do(ctx, u) })
	}
	return errors.Join(group.Wait(), m.ctx.Err())
}

func (m *maker) save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.work.Save(&m.state)
}

// show shows how far it is: rows read, of all indexes.
func (m *maker) show() {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := spec.Figures{Done: m.read, Unit: "rows", Estimated: true, Bytes: m.bytes, Parts: len(m.table.Parts) * len(m.table.Indexes)}
	for p := range m.table.Parts {
		rows, _ := m.table.Guess(p)
		f.Total += rows * int64(len(m.table.Indexes))
	}
	files := int64(0)
	for _, u := range slices.Concat(m.state.First, m.state.Others) {
		if u.Done {
			f.PartsDone++
		}
		files += int64(2 * len(u.Chunks))
	}
	f.Counts = []spec.Count{{Name: "files", N: files}, {Name: "retries", N: m.retries}}
	for u, why := range m.held {
		f.Held = fmt.Sprintf("partition %d waits: %v", u.Partition, why)
		if n := len(m.held); n > 1 {
			f.Held = fmt.Sprintf("%d partitions wait: %v", n, why)
		}
		break
	}
	m.work.Show(f)
}

// outcome turns what ended the work into what the shell is told.
func (m *maker) outcome(ctx context.Context, err error) error {
	m.mu.Lock()
	read := m.read
	m.mu.Unlock()
	if ctx.Err() != nil {
		return &spec.Error{Kind: spec.Interrupted, Op: m.o.What, Err: fmt.Errorf("stopped: %d rows read", read)}
	}
	e := &spec.Error{Kind: spec.KindOf(err), Op: m.o.What, Err: err, Hint: spec.HintOf(err)}
	if read > 0 && e.Kind != spec.Refused {
		e.Kind, e.Err = spec.PartlyDone, fmt.Errorf("%d rows read; then it ended: %w", read, err)
	}
	return e
}

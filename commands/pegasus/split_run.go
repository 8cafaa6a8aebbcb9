package pegasus

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// splitState is what a split goes on from.
type splitState struct {
	Now time.Time `json:"now"` // when rows are judged expired: the same in every run
	// Pieces are those that are done, by name.
	Pieces map[string]rocksdb.PieceResult `json:"pieces"`
	// Verified are the source partitions whose files were read and are as listed.
	Verified map[int]bool `json:"verified"`
	// Sources are what was left out of the source partitions that were read to their end.
	Sources map[int]sourceCounts `json:"sources"`
}

type sourceCounts struct {
	Read     int64 `json:"read"`
	Expired  int64 `json:"expired"`
	Filtered int64 `json:"filtered"`
	Strays   int64 `json:"strays"`
}

// splitRun is a split at work.
type splitRun struct {
	*backupSplit
	w      spec.Work
	mu     sync.Mutex // of state and read
	state  splitState
	read   int64
	verify [64]sync.Mutex // of a source partition, by its number
	pace   *transfer.Pacer
}

// lookEvery is how many rows pass between two looks at the rate.
const lookEvery = 256

// run does the work, or what is left of it.
func (x *backupSplit) run(ctx context.Context, w spec.Work) error {
	r := &splitRun{backupSplit: x, w: w, pace: transfer.NewPacer(w.Rate)}
	again, err := w.Restore(&r.state)
	if err != nil {
		return err
	}
	if !again {
		if err := x.checkEmpty(ctx); err != nil {
			return err
		}
		r.state = splitState{
			Now: time.Now().UTC(), Pieces: map[string]rocksdb.PieceResult{}, Verified: map[int]bool{}, Sources: map[int]sourceCounts{},
		}
		if err := w.Save(r.state); err != nil {
			return err
		}
	}
	table := rocksdb.DefaultWriterOptions()
	table.BloomBits, table.BloomHashKeys = 10, true // as Pegasus writes its own
	split := &rocksdb.Split{
		Sources: x.sources, Targets: int(x.info.PartitionCount), Open: r.open, Output: r.output, Temp: x.tempDir(), Memory: x.memory, Parallel: x.parallel,
		Table: table, FillEmpty: true, Done: r.done, Progress: r.progress,
		Record: func(p rocksdb.PieceResult) error { return r.record(ctx, p) },
	}
	if _, err := split.Run(ctx); err != nil {
		return r.stopped(err)
	}
	info, err := json.Marshal(x.info)
	if err == nil {
		err = storage.WriteFile(ctx, x.into, path.Join(x.out.Path, coldbackup.LoadInfoFile), info)
	}
	if err != nil {
		return r.stopped(err)
	}
	r.figures()
	w.Detail("%s", r.summary())
	return nil
}

// checkEmpty keeps tables of another split out of the input.
func (x *backupSplit) checkEmpty(ctx context.Context) error {
	for e, err := range storage.Walk(ctx, x.into, x.out.Path) {
		switch {
		case storage.ReasonOf(err) == storage.NoFile:
			return nil
		case err != nil:
			return err
		case !e.Dir:
			return spec.Errorf(spec.Refused, "%s is not empty: it has %s", x.out, at(x.out.Service, e.Path)).
				WithHint("choose another place, or remove it: fs rm -r %s", x.out)
		}
	}
	return nil
}

// tempDir is the same one in every run.
func (x *backupSplit) tempDir() string {
	dir := x.temp
	if dir == "" {
		var err error
		if dir, err = os.UserCacheDir(); err != nil {
			dir = os.TempDir()
		}
	}
	identity, _ := json.Marshal(x.identity) // strings only
	return filepath.Join(dir, fmt.Sprintf("shardsh-split-%016x", wire.Hash(identity, nil)))
}

func (r *splitRun) done(p rocksdb.Piece) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.state.Pieces[p.String()]
	return ok
}

// record lists the tables of a target partition beside them, and then takes it for done.
func (r *splitRun) record(ctx context.Context, p rocksdb.PieceResult) error {
	if !p.Run {
		files := make([]coldbackup.File, len(p.Files))
		for i, f := range p.Files {
			files[i] = coldbackup.File(f)
		}
		list, err := coldbackup.EncodeLoadMetadata(files)
		if err == nil {
			err = storage.WriteFile(ctx, r.into, path.Join(r.target(p.Partition), coldbackup.LoadMetadataFile), list)
		}
		if err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.state.Pieces[p.String()] = p
	err := r.w.Save(r.state)
	r.mu.Unlock()
	r.figures()
	return err
}

func (r *splitRun) target(partition int) string {
	return coldbackup.LoadPartitionDir(r.out.Path, partition)
}

func (r *splitRun) output(partition int) rocksdb.Sink { return blockSink{r.into, r.target(partition)} }

// blockSink is a folder of a block service.
type blockSink struct {
	storage.Service
	dir string
}

func (s blockSink) Create(ctx context.Context, name string) (rocksdb.Output, error) {
	w, err := s.Service.Create(ctx, path.Join(s.dir, name), -1)
	if err != nil {
		return nil, err
	}
	return blockOutput{w}, nil
}

type blockOutput struct{ storage.Writer }

func (o blockOutput) Abort() { _ = o.Writer.Abort() } // what made it necessary is told

// open reads a source partition whose files have been verified.
func (r *splitRun) open(ctx context.Context, source int) (rocksdb.Rows, error) {
	p := r.reader.table.Partitions[source]
	if err := r.verified(ctx, p); err != nil {
		return nil, err
	}
	db, err := p.Open(ctx, r.reader.store)
	if err != nil {
		return nil, err
	}
	version, err := db.DataVersion(ctx)
	if err != nil {
		return nil, err
	}
	it, err := db.NewIterator(ctx, rocksdb.IterOptions{Start: coldbackup.RowsFrom(r.reader.options.Start), End: r.reader.options.End})
	if err != nil {
		return nil, err
	}
	return &sourceRows{Iterator: it, run: r, ctx: ctx, index: source, version: version}, nil
}

// verified reads every file of a partition once, in this run or one before it.
func (r *splitRun) verified(ctx context.Context, p *coldbackup.Partition) error {
	lock := &r.verify[p.Index%len(r.verify)]
	lock.Lock()
	defer lock.Unlock()
	r.mu.Lock()
	known := r.state.Verified[p.Index]
	r.mu.Unlock()
	if known {
		return nil
	}
	for _, f := range p.Checkpoint.Files {
		c, err := coldbackup.CheckFile(ctx, r.reader.store, path.Join(p.Dir, p.Folder), f)
		if err != nil {
			return err
		}
		if c.Verdict == coldbackup.Damaged || c.Verdict == coldbackup.Missing {
			return spec.Errorf(spec.Failed, "the backup is damaged: %s: %s", at(r.reader.store.Name(), c.Path), c.Why).
				WithHint("verify_backup %s tells all", r.in)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Verified[p.Index] = true
	return nil
}

// sourceRows are the rows of a source partition that go to the target, as it stores them.
type sourceRows struct {
	*rocksdb.Iterator
	run     *splitRun
	ctx     context.Context
	index   int
	version int
	value   []byte
	counts  sourceCounts
	passed  int64 // rows and bytes since the last look at the rate
	bytes   int64
	err     error
}

// Next moves to the next row that is wanted.
func (s *sourceRows) Next() bool {
	x := s.run.backupSplit
	for s.err == nil && s.Iterator.Next() {
		key, stored := s.Key(), s.Iterator.Value()
		if s.err = s.keepToRate(len(key) + len(stored)); s.err != nil {
			return false
		}
		s.counts.Read++
		hash, sort, err := wire.DecodeKey(key)
		if err != nil {
			s.err = fmt.Errorf("the key %.40x: %w", key, err)
			return false
		}
		v, err := rocksdb.DecodeValue(s.version, stored)
		if err != nil {
			s.err = fmt.Errorf("the row %.40x: %w", key, err)
			return false
		}
		switch keep := x.reader.options.Keep; {
		case wire.PartitionOf(wire.Hash(hash, sort), x.sources) != s.index:
			s.counts.Strays++
			continue
		case keep != nil && !keep(hash, sort, v.Data):
			s.counts.Filtered++
			continue
		case v.Expired(s.run.state.Now):
			s.counts.Expired++
			continue
		}
		if s.value = stored; s.version != x.version {
			s.value, s.err = v.AppendTo(nil, x.version)
		}
		return s.err == nil
	}
	if s.Err() == nil {
		s.run.mu.Lock()
		s.run.state.Sources[s.index] = s.counts
		s.run.mu.Unlock()
	}
	return false
}

// Value is what the target stores.
func (s *sourceRows) Value() []byte { return s.value }

// Err is what ended the rows before their end.
func (s *sourceRows) Err() error {
	if s.err != nil {
		return s.err
	}
	return s.Iterator.Err()
}

// keepToRate waits, now and then, for as long as the rate wants.
func (s *sourceRows) keepToRate(size int) error {
	s.passed++
	s.bytes += int64(size)
	if s.passed < lookEvery {
		return nil
	}
	rows, bytes := s.passed, s.bytes
	s.passed, s.bytes = 0, 0
	s.run.pace.Look()
	return s.run.pace.Wait(s.ctx, rows, bytes)
}

func (r *splitRun) progress(rows int64) {
	r.mu.Lock()
	r.read += rows
	r.mu.Unlock()
	r.figures()
}

// total adds up what was done in all runs.
func (r *splitRun) total() (left sourceCounts, written int64, parts int) {
	for _, c := range r.state.Sources {
		left.Read += c.Read
		left.Expired += c.Expired
		left.Filtered += c.Filtered
		left.Strays += c.Strays
	}
	for _, p := range r.state.Pieces {
		if !p.Run {
			written += p.Rows
			parts++
		}
	}
	return left, written, parts
}

func (r *splitRun) figures() {
	r.mu.Lock()
	left, written, parts := r.total()
	r.mu.Unlock()
	all := int(r.info.PartitionCount)
	r.w.Progress(int64(parts), int64(all), "partitions")
	r.w.Show(spec.Figures{
		Done: written, Unit: "rows", PartsDone: parts, Parts: all, TotalBytes: r.size,
		Counts: []spec.Count{{Name: "read", N: left.Read}, {Name: "expired", N: left.Expired}, {Name: "filtered", N: left.Filtered}, {Name: "dropped", N: left.Strays}},
	})
}

func (r *splitRun) summary() string {
	left, written, parts := r.total()
	return fmt.Sprintf("%d rows in %d partitions; read %d, expired %d, filtered %d, dropped %d", written, parts, left.Read, left.Expired, left.Filtered, left.Strays)
}

// stopped says how far it came.
func (r *splitRun) stopped(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _, parts := r.total()
	kind := spec.KindOf(err)
	if kind == spec.Failed && parts > 0 {
		kind = spec.PartlyDone
	}
	return &spec.Error{Kind: kind, Op: fmt.Sprintf("%d of %d partitions written", parts, r.info.PartitionCount), Err: err, Hint: spec.HintOf(err)}
}

package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// How a replica server fetches the files of a bulk load, and how a primary brings their rows into the partition: as one
// change after the other, so that every member of the group comes to the same. No client writes meanwhile.

// The fault points of bulk loads.
const (
	pointBulkDownload = "bulk.download"
	pointBulkTrouble  = "bulk.trouble"
	pointIngesting    = "bulk.ingesting"
	pointIngest       = "bulk.ingest"
)

// downloadsAtOnce is how many partitions a server downloads together, and ingestsAtOnce how many it ingests (Pegasus:
// bulk_load_max_concurrent_download_count, bulk_load_node_max_ingesting_count).
const (
	downloadsAtOnce = 5
	ingestsAtOnce   = 4
)

// bulkStep is what a server is to do.
type bulkStep int

const (
	bulkDownload bulkStep = iota
	bulkIngest            // the primary only
	bulkPause
	bulkCleanUp
)

// bulkOrder is what the meta server wants of a server for one partition.
type bulkOrder struct {
	PID      wire.GPID
	Load     int64 // names the bulk load
	Provider string
	Dir      string // of the partition on the block service
	Behind   bool   // rows that there are win
	Step     bulkStep
}

// bulkReport answers it.
type bulkReport struct {
	Code      string // of the download: ERR_OK, ERR_BUSY while others have to end first, or why it failed
	Progress  int32  // percent
	Ingest    wire.IngestStatus
	Trouble   bool // the step was broken off, and may be tried again
	Paused    bool
	CleanedUp bool
}

func (r *bulkReport) downloaded() bool { return r.Code == wire.OK && r.Progress == 100 }

// bulkMetadata is the file of that name: what a partition is loaded from.
type bulkMetadata struct {
	Files []rocksdb.WrittenFile `json:"files"`
	Total int64                 `json:"file_total_size"` // bytes
}

// bulks are the bulk loads of a replica server, by partition.
type bulks struct {
	mu  sync.Mutex
	all map[wire.GPID]*bulk
}

// bulk is the bulk load of one replica.
type bulk struct {
	s      *replicaServer
	order  bulkOrder
	dir    string // its files on this machine
	cancel context.CancelFunc

	mu      sync.Mutex
	files   []string
	got     int64 // bytes
	size    int64
	report  bulkReport
	running bool // a download is at work
}

func (s *replicaServer) bulk(o bulkOrder) (bulkReport, error) {
	if !s.enter() {
		return bulkReport{}, errDead
	}
	defer s.leave()
	s.bulks.mu.Lock()
	defer s.bulks.mu.Unlock()
	b := s.bulks.all[o.PID]
	if b != nil && (b.order.Load != o.Load || o.Step == bulkCleanUp) {
		b.discard()
		delete(s.bulks.all, o.PID)
		b = nil
	}
	switch {
	case o.Step == bulkCleanUp:
		return bulkReport{Code: wire.OK, CleanedUp: true}, nil
	case b == nil && o.Step == bulkPause:
		return bulkReport{Code: wire.OK, Paused: true}, nil
	case b == nil && o.Step == bulkIngest:
		return bulkReport{Code: wire.OK}, nil // it has forgotten its files
	case b == nil:
		b = &bulk{s: s, order: o, report: bulkReport{Code: wire.OK}}
		s.bulks.all[o.PID] = b
	}
	switch o.Step {
	case bulkDownload:
		report, err := b.download(s.bulks.downloading() < downloadsAtOnce)
		report.Trouble = report.Trouble || b.point(pointBulkTrouble)
		return report, err
	case bulkPause:
		return b.pause(), nil
	}
	return b.ingest(), nil
}

// downloading counts the downloads at work; b.mu is held.
func (b *bulks) downloading() (n int) {
	for _, one := range b.all {
		one.mu.Lock()
		if one.running {
			n++
		}
		one.mu.Unlock()
	}
	return n
}

// download begins the download, or goes on with one that was paused.
func (b *bulk) download(may bool) (bulkReport, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.report.Paused = false
	if b.report.Ingest != wire.IngestRunning {
		b.report.Ingest, b.report.Trouble = wire.IngestInvalid, false
	}
	if b.running || b.report.downloaded() || b.report.Code != wire.OK {
		return b.now(), nil
	}
	if !may {
		report := b.now()
		report.Code = wire.CodeBusy
		return report, nil
	}
	dir, err := b.s.scratch("bulk", b.order.PID, b.order.Load)
	if err != nil {
		return bulkReport{}, err
	}
	ctx, cancel := b.s.context()
	b.dir, b.cancel, b.running, b.got, b.size, b.files = dir, cancel, true, 0, 0, nil
	b.s.tasks.Go(func() { b.fetch(ctx, dir) })
	return b.now(), nil
}

// now is the report; b.mu is held.
func (b *bulk) now() bulkReport {
	report := b.report
	if report.Code == wire.OK && report.Progress < 100 && b.size > 0 {
		report.Progress = int32(min(99, b.got*100/b.size))
	}
	return report
}

func (b *bulk) fetch(ctx context.Context, dir string) {
	files, err := b.fetchAll(ctx, dir)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = false
	switch {
	case ctx.Err() != nil:
	case err == nil:
		b.files, b.report.Progress = files, 100
	case errors.Is(err, errDamaged):
		b.report.Code = wire.CodeCorruption
	default:
		b.report.Code = wire.CodeFileOperation
	}
	if err != nil && ctx.Err() == nil {
		b.s.log("bulk load of %s on %s: %v", b.order.PID, b.s.address, err)
	}
}

func (b *bulk) fetchAll(ctx context.Context, dir string) (files []string, err error) {
	service, known := b.s.net.provider(b.order.Provider)
	if !known {
		return nil, fmt.Errorf("there is no block service %q", b.order.Provider)
	}
	text, err := readBlock(ctx, service, path.Join(b.order.Dir, "bulk_load_metadata"))
	if err != nil {
		return nil, err
	}
	var meta bulkMetadata
	if err := json.Unmarshal(text, &meta); err != nil {
		return nil, fmt.Errorf("%w: bulk_load_metadata: %w", errDamaged, err)
	}
	if meta.Total <= 0 {
		return nil, fmt.Errorf("%w: bulk_load_metadata lists %d bytes", errDamaged, meta.Total)
	}
	b.mu.Lock()
	b.size = meta.Total
	b.mu.Unlock()
	for _, f := range meta.Files {
		for b.point(pointBulkDownload) {
			if err := rest(ctx, transferRest); err != nil {
				return nil, err
			}
		}
		name := path.Base(f.Name)
		if name != f.Name || strings.HasPrefix(name, ".") {
			return nil, fmt.Errorf("%w: a file called %q", errDamaged, f.Name)
		}
		to := filepath.Join(dir, name)
		err := fetchBlock(ctx, service, path.Join(b.order.Dir, name), to, f, func(n int) {
			b.mu.Lock()
			b.got += int64(n)
			b.mu.Unlock()
		})
		if err != nil {
			return nil, err
		}
		files = append(files, to)
	}
	return files, nil
}

func (b *bulk) point(name string) bool { return b.s.net.gate(b.s.address).points.Take(name) }

// pause breaks the download off; it begins anew when it goes on.
func (b *bulk) pause() bulkReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running {
		b.cancel()
	} else {
		b.report.Paused = true
	}
	return b.now()
}

// discard forgets the bulk load and its files.
func (b *bulk) discard() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel == nil {
		return
	}
	b.cancel()
	_ = os.RemoveAll(b.dir)
}

// ingest has the primary begin to bring the rows in.
func (b *bulk) ingest() bulkReport {
	r := b.s.replica(b.order.PID)
	b.mu.Lock()
	defer b.mu.Unlock()
	if r == nil || !b.report.downloaded() || b.report.Ingest != wire.IngestInvalid {
		return b.now()
	}
	r.mu.Lock()
	p := r.loop
	may := r.status == wire.ReplicaPrimary && p != nil && !r.ingesting
	r.ingesting = r.ingesting || may
	r.mu.Unlock()
	if !may {
		b.report.Trouble = true
		return b.now()
	}
	b.report.Ingest = wire.IngestRunning
	ctx, cancel := b.s.context()
	b.cancel()
	b.cancel = cancel
	files := b.files
	b.s.tasks.Go(func() {
		err := b.bringIn(ctx, r, p, files)
		r.mu.Lock()
		r.ingesting = false
		r.mu.Unlock()
		b.ingested(err)
	})
	return b.now()
}

func (b *bulk) ingested(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.report.Ingest = wire.IngestSucceed
		return
	case errors.Is(err, errInactive) || errors.Is(err, context.Canceled):
		b.report.Ingest, b.report.Trouble = wire.IngestInvalid, true
	default:
		b.report.Ingest = wire.IngestFailed
	}
	b.s.log("ingest files of %s on %s: %v", b.order.PID, b.s.address, err)
}

// bringIn makes writes of the rows of all files; a later file wins over an earlier one.
func (b *bulk) bringIn(ctx context.Context, r *replica, p *primary, files []string) error {
	for b.point(pointIngesting) {
		if err := rest(ctx, transferRest); err != nil {
			return err
		}
	}
	if b.point(pointIngest) {
		return errors.New("the files are refused")
	}
	if err := b.check(files); err != nil {
		return err
	}
	for _, name := range files {
		if err := b.bringFile(ctx, r, p, name); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// eachRow reads the entries of a file that was made to be ingested; the value of a deletion is nil.
func eachRow(name string, row func(key, value []byte) error) error {
	f, err := openedFile(os.Open(name))
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := rocksdb.OpenTable(f, rocksdb.ReadOptions{})
	if err != nil {
		return err
	}
	if !t.Properties().External() {
		return errors.New("the file was not made to be ingested")
	}
	it := t.NewIterator()
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value := it.Value()
		switch kind := it.Key().Kind; kind {
		case rocksdb.KindValue:
			if len(value) < rowHeader {
				return fmt.Errorf("a value of %d bytes, less than its header", len(value))
			}
		case rocksdb.KindDelete:
			value = nil
		default:
			return fmt.Errorf("an entry of kind %d", kind)
		}
		if err := row(it.Key().User, value); err != nil {
			return err
		}
	}
	return it.Err()
}

// check looks at all files before one row is written. Behind the rows that there are, files must not overlap.
func (b *bulk) check(files []string) error {
	type span struct{ first, last []byte }
	var spans []span
	for _, name := range files {
		var s span
		err := eachRow(name, func(key, _ []byte) error {
			if s.first == nil {
				s.first = bytes.Clone(key)
			}
			s.last = append(s.last[:0], key...)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(name), err)
		}
		if s.first != nil {
			spans = append(spans, s)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return bytes.Compare(a.first, b.first) })
	for i := 1; i < len(spans) && b.order.Behind; i++ {
		if bytes.Compare(spans[i].first, spans[i-1].last) <= 0 {
			return errors.New("the files overlap")
		}
	}
	return nil
}

// loadedRow is one to be written, or to be deleted when its value is nil.
type loadedRow struct{ key, value []byte }

func (b *bulk) bringFile(ctx context.Context, r *replica, p *primary, name string) error {
	var rows []loadedRow
	size := 0
	flush := func() error {
		if len(rows) == 0 {
			return nil
		}
		err := b.bringRows(ctx, r, p, rows, size)
		rows, size = nil, 0
		return err
	}
	err := eachRow(name, func(key, value []byte) error {
		rows = append(rows, loadedRow{bytes.Clone(key), bytes.Clone(value)})
		if size += len(key) + len(value); size < copyBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// bringRows has the loop make one change of the rows.
func (b *bulk) bringRows(ctx context.Context, r *replica, p *primary, rows []loadedRow, size int) error {
	answered := make(chan string, 1)
	w := &write{
		size: size, hash: uint64(r.pid.Partition), reads: b.order.Behind, answer: func(code string) { answered <- code },
		apply: func(batch *engine.Batch, _ int64, _ time.Time) error { return b.apply(r, batch, rows) },
	}
	if !p.enqueue(task{write: w}) {
		return errInactive
	}
	select {
	case code := <-answered:
		if code != "" {
			return fmt.Errorf("%w: %s", errInactive, code)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *bulk) apply(r *replica, batch *engine.Batch, rows []loadedRow) error {
	r.mu.Lock()
	a := r.app
	r.mu.Unlock()
	for _, row := range rows {
		if b.order.Behind {
			shadowed, err := r.shadows(row.key)
			if err != nil {
				return err
			}
			if shadowed || row.value == nil {
				continue
			}
		}
		if err := b.applyRow(r, a, batch, row); err != nil {
			return err
		}
	}
	return nil
}

func (b *bulk) applyRow(r *replica, a *app, batch *engine.Batch, row loadedRow) error {
	if row.value == nil {
		return r.deleteRow(batch, a, row.key)
	}
	return batch.Set(r.storeKey(row.key), row.value, nil)
}

// readBulkInfo reads what a bulk load is for.
func readBulkInfo(ctx context.Context, service BlockService, dir string) (info bulkInfo, code string) {
	text, err := readBlock(ctx, service, path.Join(dir, "bulk_load_info"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return info, wire.CodeObjectNotFound
	case err != nil:
		return info, wire.CodeFileOperation
	case json.Unmarshal(text, &info) != nil:
		return info, wire.CodeCorruption
	}
	return info, wire.OK
}

// bulkInfo is the file bulk_load_info.
type bulkInfo struct {
	AppID      int32  `json:"app_id"`
	AppName    string `json:"app_name"`
	Partitions int32  `json:"partition_count"`
}

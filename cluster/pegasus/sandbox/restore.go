package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
)

// How a replica server makes the rows of a partition from a backup, before the partition has any member.

// pointDownload is no call's.
const pointDownload = "restore.download"

// restoreOrder is what the meta server wants of a server: that it fetches a partition, and how far it is.
type restoreOrder struct {
	PID      wire.GPID
	Provider string // a block service
	Dir      string // of the partition there
	SkipBad  bool
}

// restoreReport answers it.
type restoreReport struct {
	Done     bool
	Code     string // ERR_OK, ERR_IGNORE_BAD_DATA, or why it never will be done
	Progress int32  // thousandths of the bytes
	At       point  // of the rows, when it is done
}

// downloads are the restores of a replica server.
type downloads struct {
	mu  sync.Mutex
	all map[wire.GPID]*download
}

// download is the restore of one partition.
type download struct {
	s     *replicaServer
	order restoreOrder
	got   atomic.Int64 // bytes
	size  atomic.Int64 // bytes of all

	mu   sync.Mutex
	done bool
	code string
	at   point
}

func (s *replicaServer) restore(o restoreOrder) (restoreReport, error) {
	if !s.enter() {
		return restoreReport{}, errDead
	}
	defer s.leave()
	s.downloads.mu.Lock()
	d := s.downloads.all[o.PID]
	if d == nil {
		d = &download{s: s, order: o, code: wire.OK}
		s.downloads.all[o.PID] = d
		s.tasks.Go(d.run)
	}
	s.downloads.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	report := restoreReport{Done: d.done, Code: d.code, At: d.at}
	if size := d.size.Load(); size > 0 {
		report.Progress = int32(d.got.Load() * 1000 / size)
	}
	return report, nil
}

// forgetDownloads forgets the restores of a table that is dropped.
func (s *replicaServer) forgetDownloads(appID int32) {
	s.downloads.mu.Lock()
	defer s.downloads.mu.Unlock()
	for pid := range s.downloads.all {
		if pid.App == appID {
			delete(s.downloads.all, pid)
		}
	}
}

func (d *download) run() {
	ctx, cancel := d.s.context()
	defer cancel()
	for {
		at, err := d.do(ctx)
		code := wire.OK
		switch bad := errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist); {
		case bad && d.order.SkipBad:
			d.s.log("restore %s on %s: %v: it begins empty", d.order.PID, d.s.address, err)
			at, err = point{}, d.s.refill(ctx, d.order.PID, nil, point{})
			code = wire.CodeIgnoreBadData
		case bad:
			d.s.log("restore %s on %s: %v", d.order.PID, d.s.address, err)
			d.end(wire.CodeCorruption, point{})
			return
		}
		if err == nil {
			d.end(code, at)
			return
		}
		d.s.log("restore %s on %s, which is tried again: %v", d.order.PID, d.s.address, err)
		if rest(ctx, transferRest) != nil {
			return
		}
	}
}

func (d *download) end(code string, at point) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done, d.code, d.at = true, code, at
}

// do fetches the files, checks them, and makes rows of them.
func (d *download) do(ctx context.Context) (point, error) {
	service, known := d.s.net.provider(d.order.Provider)
	if !known {
		return point{}, fmt.Errorf("there is no block service %q", d.order.Provider)
	}
	checkpoint, meta, err := readBackupMetadata(ctx, service, d.order.Dir)
	if err != nil {
		return point{}, err
	}
	local, err := d.s.scratch("restore", d.order.PID, 0)
	if err != nil {
		return point{}, err
	}
	defer os.RemoveAll(local)
	d.got.Store(0)
	total := int64(0)
	for _, f := range meta.Files {
		total += max(f.Size, 0)
	}
	d.size.Store(total)
	for _, f := range meta.Files {
		for d.s.net.gate(d.s.address).points.Take(pointDownload) {
			if err := rest(ctx, transferRest); err != nil {
				return point{}, err
			}
		}
		name := path.Base(f.Name)
		if name != f.Name || strings.HasPrefix(name, ".") {
			return point{}, fmt.Errorf("%w: a file called %q", errDamaged, f.Name)
		}
		err := fetchBlock(ctx, service, path.Join(checkpoint, name), filepath.Join(local, name), f, func(n int) { d.got.Add(int64(n)) })
		if err != nil {
			return point{}, err
		}
	}
	at := point{0, max(meta.Decree, 1)}
	return at, d.refill(ctx, folder(local), at)
}

func (d *download) refill(ctx context.Context, source folder, at point) error {
	c, err := rocksdb.OpenCheckpoint(ctx, source)
	if err != nil {
		return damaged(err)
	}
	version, err := c.DataVersion(ctx)
	if err != nil {
		return damaged(err)
	}
	const rows = "\x00\x00" // before them is the empty key, which writes leave that change nothing
	it, err := c.NewIterator(ctx, rocksdb.IterOptions{Start: []byte(rows)})
	if err != nil {
		return damaged(err)
	}
	defer it.Close()
	return d.s.refill(ctx, d.order.PID, &rocksdb.LiveRows{Rows: it, From: version, To: 1}, at)
}

// damaged is what a checkpoint that cannot be read comes to.
func damaged(err error) error {
	if errors.Is(err, rocksdb.ErrCorrupt) || errors.Is(err, rocksdb.ErrUnsupported) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// refill makes the rows of a partition that is not open those given, and then says at which point they are.
func (s *replicaServer) refill(ctx context.Context, pid wire.GPID, rows rocksdb.Rows, at point) error {
	if !s.enter() {
		return errDead
	}
	defer s.leave()
	prefix := rowPrefix(pid)
	b := s.store.NewBatch()
	if err := clearRows(b, pid); err != nil {
		return errors.Join(err, b.Close())
	}
	for rows != nil && rows.Next() {
		if err := b.Set(append(prefix[:prefixSize:prefixSize], rows.Key()...), rows.Value(), nil); err != nil {
			return errors.Join(err, b.Close())
		}
		if b.Len() < copyBytes {
			continue
		}
		if err := errors.Join(s.store.Apply(b), ctx.Err()); err != nil {
			return err
		}
		b = s.store.NewBatch()
	}
	if rows != nil && rows.Err() != nil {
		return errors.Join(damaged(rows.Err()), b.Close())
	}
	if err := putState(b, stateKeyOf(pid), at); err != nil {
		return errors.Join(err, b.Close())
	}
	return s.store.Apply(b)
}

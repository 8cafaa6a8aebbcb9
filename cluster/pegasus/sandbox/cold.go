package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// How the primary of a partition backs it up. What it has done is in its memory only.

// backupPhase is where the backup of a partition stands.
type backupPhase int

const (
	backupInvalid  backupPhase = iota // the server knows of none
	backupChecking                    // is it on the service already?
	backupChecked
	backupCheckpointing
	backupCheckpointed
	backupUploading
	backupCompleted
	backupFailed
	backupCanceled // the replica is no longer the primary
)

// The fault points of backups.
const (
	pointUpload     = "backup.upload"
	pointCheckpoint = "backup.checkpoint"
)

// transferRest is how long a server waits before it tries again what a fault point kept from being moved.
const transferRest = time.Second / timers

// backupOrder is what the meta server wants of a server: how far the backup of a partition is, and that it is begun if
// it is not.
type backupOrder struct {
	PID      wire.GPID
	ID       int64  // of the backup
	Provider string // a block service
	Dir      string // of the table's backup there
	Begin    bool
}

// backupReport answers it.
type backupReport struct {
	Phase    backupPhase
	Progress int32 // thousandths of the bytes
	Size     int64 // of the checkpoint, bytes
}

// backupMetadata is the file of that name: what a checkpoint consists of.
type backupMetadata struct {
	Decree    int64                 `json:"checkpoint_decree"`
	Timestamp int64                 `json:"checkpoint_timestamp"` // Unix milliseconds
	Files     []rocksdb.WrittenFile `json:"files"`
	Size      int64                 `json:"checkpoint_total_size"` // bytes
}

type uploadKey struct {
	pid wire.GPID
	id  int64
}

// uploads are the backups of a replica server.
type uploads struct {
	mu  sync.Mutex
	all map[uploadKey]*upload
}

// upload is the backup of one partition.
type upload struct {
	s     *replicaServer
	r     *replica
	order backupOrder

	phase   atomic.Int64
	sent    atomic.Int64 // bytes
	size    atomic.Int64 // bytes of all
	largest atomic.Int64 // bytes of the largest file
}

func (u *upload) to(p backupPhase) { u.phase.Store(int64(p)) }

func (u *upload) at() backupPhase { return backupPhase(u.phase.Load()) }

func (s *replicaServer) backup(o backupOrder) (backupReport, error) {
	r, err := s.use(o.PID)
	if err != nil && !errors.Is(err, errStale) {
		return backupReport{}, err
	}
	if err == nil {
		defer s.leave()
	}
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	key := uploadKey{o.PID, o.ID}
	u := s.uploads.all[key]
	if u != nil && o.Begin && (u.at() == backupCanceled || u.at() == backupFailed) {
		u = nil
	}
	if u == nil && o.Begin && r != nil {
		if r.report().Status != wire.ReplicaPrimary {
			return backupReport{}, errInactive
		}
		for old, other := range s.uploads.all {
			if old.pid == o.PID && other.at() >= backupCompleted {
				delete(s.uploads.all, old)
			}
		}
		u = &upload{s: s, r: r, order: o}
		u.to(backupChecking)
		s.uploads.all[key] = u
		s.tasks.Go(u.run)
	}
	if u == nil {
		return backupReport{}, nil
	}
	report := backupReport{Phase: u.at(), Size: u.size.Load()}
	if report.Size > 0 {
		report.Progress = int32(u.sent.Load() * 1000 / report.Size)
	}
	if report.Phase == backupCompleted {
		report.Progress = 1000
	}
	return report, nil
}

// maxUpload is the size of the largest file that is being uploaded, in bytes; 0 while none is.
func (s *replicaServer) maxUpload() int64 {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	most := int64(0)
	for _, u := range s.uploads.all {
		if u.at() == backupUploading {
			most = max(most, u.largest.Load())
		}
	}
	return most
}

// context ends when the server dies.
func (s *replicaServer) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	s.tasks.Go(func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

func (u *upload) run() {
	ctx, cancel := u.s.context()
	defer cancel()
	err := u.do(ctx)
	switch {
	case err == nil:
		u.to(backupCompleted)
	case errors.Is(err, errInactive):
		u.to(backupCanceled)
	case ctx.Err() == nil:
		u.s.log("back up %s on %s: %v", u.order.PID, u.s.address, err)
		u.to(backupFailed)
	}
}

func (u *upload) do(ctx context.Context) error {
	service, known := u.s.net.provider(u.order.Provider)
	if !known {
		return fmt.Errorf("there is no block service %q", u.order.Provider)
	}
	dir := path.Join(u.order.Dir, strconv.Itoa(int(u.order.PID.Partition)))
	there, err := uploaded(ctx, service, dir)
	if there || err != nil {
		return err
	}
	u.to(backupChecked)
	u.to(backupCheckpointing)
	local, err := u.s.scratch("backup", u.order.PID, u.order.ID)
	if err != nil {
		return err
	}
	defer os.RemoveAll(local)
	if u.point(pointCheckpoint) {
		return errors.New("the checkpoint failed")
	}
	meta, err := u.r.checkpoint(ctx, local)
	if err != nil {
		return err
	}
	u.size.Store(meta.Size)
	u.to(backupCheckpointed)
	u.to(backupUploading)
	return u.send(ctx, service, dir, local, meta)
}

func (u *upload) point(name string) bool { return u.s.net.gate(u.s.address).points.Take(name) }

// uploaded says whether a partition is on the service already, whoever put it there.
func uploaded(ctx context.Context, service BlockService, dir string) (bool, error) {
	current, err := readBlock(ctx, service, path.Join(dir, "current_checkpoint"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f, err := service.Open(ctx, path.Join(dir, path.Base(string(current)), "backup_metadata"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// send uploads the files, then their list, and last the name of the directory.
func (u *upload) send(ctx context.Context, service BlockService, dir, local string, meta backupMetadata) error {
	name := checkpointName(u.s.address)
	for _, f := range meta.Files {
		u.largest.Store(max(u.largest.Load(), f.Size))
	}
	for _, f := range meta.Files {
		for u.point(pointUpload) {
			if err := rest(ctx, transferRest); err != nil {
				return err
			}
		}
		if u.r.report().Status != wire.ReplicaPrimary {
			return errInactive
		}
		if err := u.sendFile(ctx, service, path.Join(dir, name, f.Name), filepath.Join(local, f.Name)); err != nil {
			return err
		}
	}
	if err := writeBlockJSON(ctx, service, path.Join(dir, name, "backup_metadata"), meta); err != nil {
		return err
	}
	return writeBlock(ctx, service, path.Join(dir, "current_checkpoint"), []byte(name))
}

func (u *upload) sendFile(ctx context.Context, service BlockService, name, local string) error {
	f, err := openedFile(os.Open(local))
	if err != nil {
		return err
	}
	defer f.Close()
	out, err := service.Create(ctx, name)
	if err != nil {
		return err
	}
	if err := copyBlock(ctx, out, f, func(n int) { u.sent.Add(int64(n)) }); err != nil {
		out.Abort()
		return err
	}
	return out.Commit()
}

// checkpointName is the directory of a server's checkpoint of a partition.
func checkpointName(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "chkpt_" + address
	}
	return "chkpt_" + host + "_" + port
}

// rest waits; an error when the context ends first.
func rest(ctx context.Context, by time.Duration) error {
	timer := time.NewTimer(by)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// scratch makes an empty directory on the disk of a replica.
func (s *replicaServer) scratch(what string, pid wire.GPID, id int64) (string, error) {
	s.disks.mu.Lock()
	dir := s.disks.dirs[s.disks.on[pid]]
	s.disks.mu.Unlock()
	dir = filepath.Join(dir, fmt.Sprintf("%s.%s.%d", what, pid, id))
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// clearScratch removes what an earlier life of the server left.
func (s *replicaServer) clearScratch() error {
	var errs []error
	for _, dir := range s.disks.dirs {
		left, err := os.ReadDir(dir)
		errs = append(errs, err)
		for _, f := range left {
			for _, what := range []string{"backup.", "restore.", "bulk."} {
				if strings.HasPrefix(f.Name(), what) {
					errs = append(errs, os.RemoveAll(filepath.Join(dir, f.Name())))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// frozen is the state of a partition between two of its writes.
type frozen struct {
	snapshot *engine.Snapshot
	at       point
}

// freeze has the primary's loop take a snapshot; the store is in use.
func (r *replica) freeze() (frozen, error) {
	r.mu.Lock()
	p := r.loop
	r.mu.Unlock()
	if p == nil {
		return frozen{}, errInactive
	}
	taken := make(chan frozen, 1)
	if !p.enqueue(task{do: func() {
		if _, at, ok := p.state(); ok {
			taken <- frozen{r.s.store.Snapshot(), at}
		} else {
			taken <- frozen{}
		}
	}}) {
		return frozen{}, errInactive
	}
	var f frozen
	select {
	case f = <-taken:
	case <-p.ended:
		select {
		case f = <-taken:
		default:
		}
	}
	if f.snapshot == nil {
		return f, errInactive
	}
	return f, nil
}

// checkpoint writes the rows of the partition as a directory of RocksDB.
func (r *replica) checkpoint(ctx context.Context, dir string) (backupMetadata, error) {
	meta := backupMetadata{Timestamp: time.Now().UnixMilli()}
	if !r.s.enter() {
		return meta, errDead
	}
	defer r.s.leave()
	f, err := r.freeze()
	if err != nil {
		return meta, err
	}
	meta.Decree = f.at.Decree
	meta.Files, err = r.writeCheckpoint(ctx, dir, f)
	if err = errors.Join(err, f.snapshot.Close()); err != nil {
		return meta, err
	}
	for _, file := range meta.Files {
		meta.Size += file.Size
	}
	return meta, nil
}

// bloomBits is how many bits of its filters Pegasus spends on a key.
const bloomBits = 10

func (r *replica) writeCheckpoint(ctx context.Context, dir string, f frozen) ([]rocksdb.WrittenFile, error) {
	table := rocksdb.DefaultWriterOptions()
	table.BloomBits, table.BloomHashKeys = bloomBits, true
	w, err := rocksdb.NewDirectoryWriter(ctx, folder(dir), rocksdb.DirectoryOptions{
		Table: table, LastSequence: uint64(max(f.at.Decree, 0)), Meta: map[string]string{
			rocksdb.MetaDataVersion: "1", rocksdb.MetaFlushedDecree: strconv.FormatInt(f.at.Decree, 10),
			rocksdb.MetaCompactFinish: "0", rocksdb.MetaUsageScenario: "normal",
		},
	})
	if err != nil {
		return nil, err
	}
	iter, err := engine.IterateSnapshot(f.snapshot, r.prefix, r.end)
	if err != nil {
		return nil, err
	}
	for ok := iter.First(); ok && err == nil; ok = iter.Next() {
		if err = ctx.Err(); err == nil {
			err = w.Put(iter.Key()[prefixSize:], iter.Value())
		}
	}
	if err = errors.Join(err, iter.Error(), iter.Close()); err != nil {
		w.Abort()
		return nil, err
	}
	return w.Finish()
}

// readBackupMetadata reads which checkpoint of a partition counts, and what it consists of. An errDamaged is for good.
func readBackupMetadata(ctx context.Context, service BlockService, dir string) (checkpoint string, meta backupMetadata, err error) {
	current, err := readBlock(ctx, service, path.Join(dir, "current_checkpoint"))
	if err != nil {
		return "", meta, err
	}
	checkpoint = path.Join(dir, path.Base(string(current)))
	text, err := readBlock(ctx, service, path.Join(checkpoint, "backup_metadata"))
	if err != nil {
		return "", meta, err
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		return "", meta, fmt.Errorf("%w: backup_metadata: %w", errDamaged, err)
	}
	return checkpoint, meta, nil
}

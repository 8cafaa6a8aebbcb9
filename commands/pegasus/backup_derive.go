package pegasus

import (
	"context"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// What can be known of a backup that runs: servers tell no progress, but what they have uploaded is there to be seen, and
// each tells the size of the largest file that it uploads.

// derived is how a backup stands, as far as that can be derived.
type derived struct {
	complete  bool // backup_info is there, which is written last
	parts     []partSeen
	uploading []uploadSeen
	silent    int    // live servers that did not answer
	away      string // a server that does a partition and is not alive
}

// partSeen is a partition on the service.
type partSeen struct {
	files       int
	bytes       int64
	done        bool  // current_checkpoint is there, which is written last
	total       int64 // bytes, as its backup_metadata lists them; 0 while that is not there
	checkpoints int
}

type uploadSeen struct {
	endpoint string
	largest  int64 // bytes
}

// percent is how much of a partition has arrived, -1 when nobody knows.
func (p partSeen) percent() int {
	switch {
	case p.done:
		return 100
	case p.total > 0:
		return int(min(p.bytes*100/p.total, 99))
	}
	return -1
}

// uploadsOf asks every live server what it uploads.
func uploadsOf(ctx context.Context, c backer) (uploading []uploadSeen, silent int, err error) {
	servers, err := aliveReplicaServers(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	sizes := make([]int64, len(servers))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, s := range servers {
		group.Go(func() error {
			var err error
			if sizes[i], err = c.LargestUpload(ctx, s.Endpoint); err != nil {
				sizes[i] = -1
			}
			return nil
		})
	}
	_ = group.Wait() // silence is counted
	for i, n := range sizes {
		switch {
		case n < 0:
			silent++
		case n > 0:
			uploading = append(uploading, uploadSeen{servers[i].Endpoint, n})
		}
	}
	return uploading, silent, ctx.Err()
}

// maxClusters bounds the folders that are looked through for a backup.
const maxClusters = 1000

// findBackupDir finds the folder of a backup below the typed path: there is one folder between, which is called like the
// cluster unless the servers' configuration (cold_backup_root) says otherwise. "" when it is not there.
func (s *coldCopy) findBackupDir(ctx context.Context, clusterName string, id int64) (string, error) {
	name := strconv.FormatInt(id, 10)
	dirs := []string{clusterName}
	for e, err := range s.store.Service.List(ctx, s.place()) {
		switch {
		case err != nil && spec.KindOf(err) == spec.NotFound:
			return "", nil
		case err != nil:
			return "", err
		case e.Dir && e.Name != clusterName && len(dirs) < maxClusters:
			dirs = append(dirs, e.Name)
		}
	}
	for _, dir := range dirs {
		there, err := storage.Exists(ctx, s.store.Service, s.place(dir, name))
		if err != nil {
			return "", err
		}
		if there {
			return s.place(dir, name), nil
		}
	}
	return "", nil
}

// newestOnService finds a backup of the table that is on the service and was not known before; 0 when there is none.
func (r *backupRun) newestOnService(ctx context.Context) (int64, error) {
	name, err := clusterName(ctx, r.c)
	if err != nil {
		return 0, err
	}
	newest := int64(0)
	for e, err := range r.to.store.Service.List(ctx, r.to.place(name)) {
		if err != nil {
			if spec.KindOf(err) == spec.NotFound {
				return 0, nil
			}
			return 0, err
		}
		id, err := strconv.ParseInt(e.Name, 10, 64)
		// Clocks differ: a backup whose id is of long before the request is another one.
		if err != nil || !e.Dir || slices.Contains(r.state.Known, id) || id < r.state.Asked.Add(-restartedLately).UnixMilli() {
			continue
		}
		there, err := storage.Exists(ctx, r.to.store.Service, path.Join(e.Path, r.folder()))
		if err != nil {
			return 0, err
		}
		if there {
			newest = max(newest, id)
		}
	}
	return newest, nil
}

// folder is what the folder of the table is called.
func (x *tableBackup) folder() string { return coldbackup.TableFolder(x.app.Name, x.app.ID) }

// derive looks at the service and asks the servers.
func (r *backupRun) derive(ctx context.Context) error {
	var err error
	if r.seen.uploading, r.seen.silent, err = uploadsOf(ctx, r.c); err != nil {
		return err
	}
	if r.to.store == nil {
		r.note(fmt.Sprint(r.seen.uploading))
		return nil
	}
	if r.state.Dir == "" {
		name, err := clusterName(ctx, r.c)
		if err == nil {
			r.state.Dir, err = r.to.findBackupDir(ctx, name, r.state.ID)
		}
		if err != nil || r.state.Dir == "" {
			return err
		}
	}
	info, err := readSoon(ctx, *r.to.store, path.Join(r.state.Dir, "backup_info"), math.MaxUint16)
	if err != nil {
		return err
	}
	r.seen.complete = info != nil
	if len(r.state.Done) != r.app.Partitions {
		r.state.Done = make([]bool, r.app.Partitions)
	}
	if err := r.seen.look(ctx, *r.to.store, path.Join(r.state.Dir, r.folder()), r.state.Done); err != nil {
		return err
	}
	files, bytes := r.seen.sum()
	r.note(fmt.Sprint(files, bytes, r.seen.uploading))
	return nil
}

// note remembers when something got further.
func (r *backupRun) note(mark string) {
	if mark != r.mark {
		r.mark, r.moved = mark, time.Now()
	}
}

func (d *derived) sum() (files int, bytes int64) {
	for _, p := range d.parts {
		files += p.files
		bytes += p.bytes
	}
	return files, bytes
}

// look looks at the partitions of a table that were not done before, and says which are now.
func (d *derived) look(ctx context.Context, s blockStore, dir string, done []bool) error {
	if len(d.parts) != len(done) {
		d.parts = make([]partSeen, len(done))
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range done {
		if done[i] && d.parts[i].done {
			continue
		}
		group.Go(func() error {
			p, err := lookAtPartition(ctx, s, path.Join(dir, strconv.Itoa(i)))
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			d.parts[i], done[i] = p, p.done
			return nil
		})
	}
	return group.Wait()
}

// lookAtPartition counts what there is of a partition. Of several checkpoints the one counts that is named; until then the
// one with the most in it.
func lookAtPartition(ctx context.Context, s blockStore, dir string) (p partSeen, err error) {
	entries, err := entriesOf(ctx, s, dir)
	if err != nil {
		return p, err
	}
	current := ""
	for _, e := range entries {
		if e.Name == "current_checkpoint" && !e.Dir {
			text, err := readSoon(ctx, s, path.Join(dir, e.Name), math.MaxUint16)
			if err != nil {
				return p, err
			}
			if current, err = coldbackup.ParseCurrent(text); err == nil {
				p.done = true
			}
		}
	}
	for _, e := range entries {
		if !e.Dir || !strings.HasPrefix(e.Name, "chkpt_") {
			continue
		}
		p.checkpoints++
		one, err := lookAtCheckpoint(ctx, s, path.Join(dir, e.Name))
		if err != nil {
			return p, err
		}
		if e.Name == current || current == "" && one.bytes >= p.bytes {
			p.files, p.bytes, p.total = one.files, one.bytes, one.total
		}
	}
	return p, nil
}

func lookAtCheckpoint(ctx context.Context, s blockStore, dir string) (p partSeen, err error) {
	entries, err := entriesOf(ctx, s, dir)
	for _, e := range entries {
		switch {
		case e.Dir:
		case e.Name == "backup_metadata":
			const most = 16 << 20
			text, err := readSoon(ctx, s, path.Join(dir, e.Name), most)
			if err != nil {
				return p, err
			}
			if list, err := coldbackup.ParseCheckpoint(text); err == nil {
				p.total = list.TotalSize
			}
		default:
			p.files++
			p.bytes += e.Size
		}
	}
	return p, err
}

// readSoon reads a small file; nil when it is not there, or not whole yet.
func readSoon(ctx context.Context, s blockStore, name string, limit int64) ([]byte, error) {
	text, err := storage.ReadFile(ctx, s.Service, name, limit)
	switch kind := spec.KindOf(err); {
	case err == nil:
		return text, nil
	case ctx.Err() != nil, kind == spec.Unavailable, kind == spec.Refused:
		return nil, err
	}
	return nil, nil
}

// entriesOf lists a directory; one that is not there is empty.
func entriesOf(ctx context.Context, s blockStore, dir string) ([]storage.Entry, error) {
	const most = 100_000
	var all []storage.Entry
	for e, err := range s.Service.List(ctx, dir) {
		switch {
		case err != nil && spec.KindOf(err) == spec.NotFound:
			return nil, nil
		case err != nil:
			return all, err
		case len(all) == most:
			return all, spec.Errorf(spec.Failed, "%s holds more than %d entries", dir, most)
		}
		all = append(all, e)
	}
	return all, nil
}

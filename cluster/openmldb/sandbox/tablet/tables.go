package tablet

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/sandbox/port"
)

// createTable makes an empty partition.
func (t *Tablet) createTable(_ context.Context, _ *port.Call, q *api.CreateTableRequest, a *api.CreateTableResponse) error {
	t.create(q.GetTableMeta()).into(&a.Code, &a.Msg)
	return nil
}

func (t *Tablet) create(m *api.TableMeta) status {
	if text := checkMeta(m); text != "" {
		return status{codeBadMeta, text}
	}
	id := metaID(m)
	if t.part(id.tid, id.pid) != nil {
		return tableExists
	}
	dir, known := t.dir(id, m.GetStorageMode())
	if !known {
		return status{codeNoRoot, "fail to find db root path"}
	}
	if hasData(dir) {
		return status{codeCreateFailed, "there is data of a partition that is not loaded"}
	}
	m = proto.CloneOf(m)
	if err := writeMeta(dir, m); err != nil {
		t.c.Log("tablet %s: write %s: %v", t.c.Endpoint, dir, err)
		return status{codeWriteFailed, "write data failed"}
	}
	p, err := t.newPartition(m, dir)
	if err != nil {
		return status{codeCreateFailed, err.Error()}
	}
	p.state = api.TableState_kTableNormal
	if !t.enter(p) {
		return tableExists
	}
	p.start()
	return ok
}

func hasData(dir string) bool {
	for _, name := range []string{binlogDir, snapshotDir} {
		if files, err := os.ReadDir(filepath.Join(dir, name)); err == nil && len(files) > 0 {
			return true
		}
	}
	return false
}

// start begins what a partition that can be used does by itself.
func (p *partition) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader {
		p.follow(p.meta.GetReplicas())
	}
}

// loadTable reads a partition into memory. The partition is there, loading, when the call is answered; one with a disk
// storage mode, a moment later.
func (t *Tablet) loadTable(_ context.Context, _ *port.Call, q *api.LoadTableRequest, a *api.GeneralResponse) error {
	t.beside(q.GetTaskInfo(), api.TaskType_kLoadTable, func() (func() bool, status) {
		return t.prepareLoad(q.GetTableMeta())
	}).general(a)
	return nil
}

func (t *Tablet) prepareLoad(asked *api.TableMeta) (run func() bool, s status) {
	if text := checkMeta(asked); text != "" {
		return nil, status{codeBadMeta, text}
	}
	id := metaID(asked)
	dir, known := t.dir(id, asked.GetStorageMode())
	if !known {
		return nil, status{codeNoRoot, "fail to get table db root path"}
	}
	if t.part(id.tid, id.pid) != nil {
		return nil, tableExists
	}
	m, err := mergeMeta(dir, asked)
	if err == nil {
		err = writeMeta(dir, m)
	}
	if err != nil {
		t.c.Log("tablet %s: description of %s: %v", t.c.Endpoint, dir, err)
		return nil, status{codeWriteFailed, "write data failed"}
	}
	if m.GetStorageMode() != common.StorageMode_kMemory {
		return func() bool {
			p, s := t.open(m, dir)
			return s.good() && t.load(p)
		}, ok
	}
	p, s := t.open(m, dir)
	if !s.good() {
		return nil, s
	}
	return func() bool { return t.load(p) }, ok
}

// open makes a partition that is loading known.
func (t *Tablet) open(m *api.TableMeta, dir string) (*partition, status) {
	p, err := t.newPartition(m, dir)
	if err != nil {
		t.c.Log("tablet %s opens %s: %v", t.c.Endpoint, dir, err)
		return nil, status{codeCreateFailed, err.Error()}
	}
	p.state = api.TableState_kTableLoading
	if !t.enter(p) {
		return nil, status{codeCreateFailed, "table exists"}
	}
	return p, ok
}

// loadBatch is how many entries are loaded between two looks at what else happens to the tablet.
const loadBatch = 1000

// load reads a partition's snapshot and then its binlog. A partition that cannot be read is not in memory afterwards; its
// files stay as they are. A slow tablet loads slowly.
func (t *Tablet) load(p *partition) bool {
	if !t.take(t.loads) {
		return false
	}
	defer func() { <-t.loads }()
	if err := p.load(); err != nil {
		t.c.Log("tablet %s loads %s: %v", t.c.Endpoint, p.id, err)
		if err := t.forget(p); err != nil {
			t.c.Log("tablet %s closes %s: %v", t.c.Endpoint, p.id, err)
		}
		return false
	}
	p.start()
	return true
}

func (p *partition) load() error {
	s, err := openSnapshot(p.dir, p.mode)
	if err != nil {
		return err
	}
	if err := p.loading(); err != nil {
		return err
	}
	n := 0
	add := func(e *entry) error {
		p.mu.Lock()
		p.apply(e)
		if e.index > s.offset {
			p.note(e)
		}
		p.mu.Unlock()
		if n++; n%loadBatch == 0 {
			return p.loading()
		}
		return nil
	}
	if err := s.read(add); err != nil {
		return err
	}
	last, err := p.log.replay(s.offset, add)
	if err != nil {
		return err
	}
	if err := p.loading(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offset, p.snapshot, p.state = last, s, api.TableState_kTableNormal
	return nil
}

var errEnded = errors.New("the tablet ends")

// loading waits as long as the tablet is slow or paused; an error when the partition is no longer wanted.
func (p *partition) loading() error {
	if !p.t.lag() {
		return errEnded
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.gone {
		return errGone
	}
	return nil
}

// dropTable takes a partition out of memory, and its files to the recycle bin.
func (t *Tablet) dropTable(_ context.Context, _ *port.Call, q *api.DropTableRequest, a *api.DropTableResponse) error {
	t.beside(q.GetTaskInfo(), api.TaskType_kDropTable, func() (func() bool, status) {
		p := t.part(uint32(q.GetTid()), uint32(q.GetPid()))
		if p == nil {
			return nil, noTable
		}
		p.mu.RLock()
		defer p.mu.RUnlock()
		if p.state == api.TableState_kMakingSnapshot {
			return nil, makingSnapshot
		}
		return func() bool { return t.drop(p) }, ok
	}).into(&a.Code, &a.Msg)
	return nil
}

func (t *Tablet) drop(p *partition) bool {
	if !t.pass() {
		return false
	}
	t.mu.Lock()
	known := t.parts[p.id] == p
	t.mu.Unlock()
	if !known {
		return false
	}
	err := errors.Join(t.forget(p), t.recycle(p.dir, p.id, p.mode, ""))
	if err != nil {
		t.c.Log("tablet %s drops %s: %v", t.c.Endpoint, p.id, err)
	}
	return err == nil
}

// truncateTable removes all rows. The offset stays what it is; an empty snapshot says so.
func (t *Tablet) truncateTable(
	_ context.Context, _ *port.Call, q *api.TruncateTableRequest, a *api.TruncateTableResponse,
) error {
	p := t.part(uint32(q.GetTid()), uint32(q.GetPid()))
	if p == nil {
		status{codeNoTable, "table not found"}.into(&a.Code, &a.Msg)
		return nil
	}
	p.truncate().into(&a.Code, &a.Msg)
	return nil
}

func (p *partition) truncate() status {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.gone:
		return status{codeNoTable, "table not found"}
	case p.state == api.TableState_kTableLoading:
		return status{codeLoading, "table is loading data"}
	case p.offset == 0:
		return ok
	case p.state == api.TableState_kMakingSnapshot:
		return makingSnapshot
	}
	s, err := p.writeSnapshot(nil, p.offset, p.term)
	if err != nil {
		p.t.c.Log("tablet %s truncates %s: %v", p.t.c.Endpoint, p.id, err)
		return status{codeWriteFailed, "write data failed"}
	}
	p.adopt(s)
	for _, x := range p.indexes {
		x.clear()
	}
	p.bytes = 0
	return ok
}

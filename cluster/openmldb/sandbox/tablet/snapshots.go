package tablet

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/sandbox/port"
)

// makeSnapshot writes a snapshot, up to an offset when one is given; without, only when enough was written since the last.
func (t *Tablet) makeSnapshot(_ context.Context, _ *port.Call, q *api.GeneralRequest, a *api.GeneralResponse) error {
	t.beside(q.GetTaskInfo(), api.TaskType_kMakeSnapshot, func() (func() bool, status) {
		p := t.part(uint32(q.GetTid()), uint32(q.GetPid()))
		if p == nil {
			return nil, status{codeNoSnapshot, "snapshot does not exist"}
		}
		p.mu.RLock()
		defer p.mu.RUnlock()
		if p.state != api.TableState_kTableNormal {
			return nil, notNormal
		}
		return func() bool { return t.snapshot(p, q.GetOffset()) }, ok
	}).general(a)
	return nil
}

// snapshot makes one; true when it was made, or need not be.
func (t *Tablet) snapshot(p *partition, end uint64) bool {
	if !t.take(t.snapshots) {
		return false
	}
	defer func() { <-t.snapshots }()
	if !t.pass() {
		return false
	}
	p.mu.Lock()
	if p.gone || p.state != api.TableState_kTableNormal || end > 0 && end <= p.snapshot.offset {
		p.mu.Unlock()
		return false
	}
	if end == 0 && p.offset < p.snapshot.offset+t.tune.threshold {
		p.mu.Unlock()
		return true
	}
	offset := p.offset
	if end > 0 {
		offset = min(end, offset)
	}
	p.state = api.TableState_kMakingSnapshot
	views, term := p.views(), p.termAt(offset)
	p.mu.Unlock()

	t.lag()
	s, err := p.writeSnapshot(rowsUpTo(views, offset), offset, term)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = api.TableState_kTableNormal
	if err != nil {
		t.c.Log("tablet %s: snapshot of %s: %v", t.c.Endpoint, p.id, err)
		return false
	}
	p.adopt(s)
	return true
}

// adopt takes over a new snapshot. The lock is held.
func (p *partition) adopt(s snapshot) {
	p.snapshot = s
	for len(p.terms) > 1 && p.terms[1].first <= s.offset+1 {
		p.terms = p.terms[1:]
	}
}

// termStart is where a term's entries begin.
type termStart struct{ term, first uint64 }

// note remembers the term of an entry that was appended or replayed. The lock is held.
func (p *partition) note(e *entry) {
	if n := len(p.terms); n == 0 || p.terms[n-1].term != e.term {
		p.terms = append(p.terms, termStart{e.term, e.index})
	}
}

// termAt is the term of the entry at an offset that the snapshot does not pass. The lock is held.
func (p *partition) termAt(offset uint64) uint64 {
	for _, s := range slices.Backward(p.terms) {
		if s.first <= offset {
			return s.term
		}
	}
	return p.snapshot.term
}

// pauseSnapshot keeps snapshots from being made, so that the one there is can be sent.
func (t *Tablet) pauseSnapshot(_ context.Context, _ *port.Call, q *api.GeneralRequest, a *api.GeneralResponse) error {
	t.setState(q, api.TaskType_kPauseSnapshot, func(p *partition) status {
		switch p.state {
		case api.TableState_kSnapshotPaused:
		case api.TableState_kTableNormal:
			p.state = api.TableState_kSnapshotPaused
		default:
			return notNormal
		}
		return ok
	}).general(a)
	return nil
}

// recoverSnapshot ends that.
func (t *Tablet) recoverSnapshot(_ context.Context, _ *port.Call, q *api.GeneralRequest, a *api.GeneralResponse) error {
	t.setState(q, api.TaskType_kRecoverSnapshot, func(p *partition) status {
		switch p.state {
		case api.TableState_kTableNormal:
		case api.TableState_kSnapshotPaused:
			p.state = api.TableState_kTableNormal
		default:
			return notPaused
		}
		return ok
	}).general(a)
	return nil
}

func (t *Tablet) setState(q *api.GeneralRequest, kind api.TaskType, set func(p *partition) status) status {
	return t.atOnce(q.GetTaskInfo(), kind, func() status {
		p := t.part(uint32(q.GetTid()), uint32(q.GetPid()))
		if p == nil {
			return noTable
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return set(p)
	})
}

// getManifest reads which snapshot a partition has, loaded or not.
func (t *Tablet) getManifest(_ context.Context, _ *port.Call, q *api.GetManifestRequest, a *api.GetManifestResponse) error {
	dir, known := t.dir(partID{q.GetTid(), q.GetPid()}, modeOf(q.StorageMode))
	if !known {
		noRoot.into(&a.Code, &a.Msg)
		return nil
	}
	m, found, err := readManifest(dir)
	if err != nil {
		status{codeError, "parse manifest failed"}.into(&a.Code, &a.Msg)
		return nil
	}
	if !found {
		m = &api.Manifest{Offset: proto.Uint64(0)}
	}
	a.Manifest = m
	ok.into(&a.Code, &a.Msg)
	return nil
}

// modeOf is the storage mode of a request, memory when it has none.
func modeOf(m *common.StorageMode) common.StorageMode {
	if m == nil {
		return common.StorageMode_kMemory
	}
	return *m
}

package tablet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/port"
)

// put writes a row.
func (t *Tablet) put(_ context.Context, _ *port.Call, q *api.PutRequest, a *api.PutResponse) error {
	if !t.c.Gate.Writes.Take(1) {
		return &rpc.Error{
			Code: rpc.CodeLimit, Text: fmt.Sprintf("Rejected by %s.Put's ConcurrencyLimiter", ServiceName),
		}
	}
	s := t.putRow(q)
	a.Code = proto.Int32(s.code)
	if s.text != "" {
		a.Msg = proto.String(s.text)
	}
	return nil
}

func (t *Tablet) putRow(q *api.PutRequest) status {
	if t.follows.Load() {
		return followerCluster
	}
	p := t.part(q.GetTid(), q.GetPid())
	if p == nil {
		return noTable
	}
	if limit := q.GetMemoryLimit(); limit > 0 {
		if used := t.memoryUsed.Load(); used > limit {
			return status{codeMemoryLimit, fmt.Sprintf("system memory usage %d%% exceeds the put's limit %d%%", used, limit)}
		}
	}
	e := &entry{value: q.GetValue(), dims: dimensionsOf(q.GetDimensions()), ts: uint64(q.GetTime()), hasTS: true}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.usable(true); !s.good() {
		return s
	}
	if !p.takesDimensions(e) {
		return status{codeBadDimension, "invalid dimension parameter"}
	}
	if q.GetCheckExists() {
		return p.checkExists(e)
	}
	if err := p.check(e); err != nil {
		return status{codePutFailed, fmt.Sprintf("%s: %v", p.id, err)}
	}
	if q.GetPutIfAbsent() || p.indexes[0].unique {
		switch exists := p.has(e); {
		case exists && q.GetPutIfAbsent():
			return status{codeOK, "exists but ignore"}
		case exists:
			return status{codePutFailed, "data exists"}
		}
	}
	e.term, e.index = p.term, p.offset+1
	if err := p.append(e); err != nil {
		t.c.Log("tablet %s: write to the binlog of %s: %v", t.c.Endpoint, p.id, err)
		return status{codeError, "fail to write binlog"}
	}
	return status{}
}

// takesDimensions says whether every dimension is of an index and has a key, and there is one.
func (p *partition) takesDimensions(e *entry) bool {
	for _, d := range e.dims {
		if uint64(d.idx) >= uint64(len(p.indexes)) || d.key == "" {
			return false
		}
	}
	return len(e.dims) > 0
}

// check says why a row cannot be put.
func (p *partition) check(e *entry) error {
	if len(e.value) < rowHead {
		return errors.New("invalid value")
	}
	if p.schemas[e.value[1]] == nil {
		return fmt.Errorf("invalid schema version %d", e.value[1])
	}
	ready := false
	for _, d := range e.dims {
		x, is := p.indexAt(d.idx)
		if !is {
			continue
		}
		ready = true
		if _, err := p.time(x, e); err != nil {
			return err
		}
	}
	if !ready {
		return errors.New("empty ts value map")
	}
	return nil
}

// has says whether a row that counts as the same is there: of the same bytes under one of its keys, and at the same time
// where a column orders the rows. A clustered index, the first one, has one row a key and time.
func (p *partition) has(e *entry) bool {
	for _, d := range e.dims {
		x, ready := p.indexAt(d.idx)
		if !ready {
			continue
		}
		ts, err := p.time(x, e)
		if err == nil && x.has(d.key, ts, e.value) {
			return true
		}
	}
	return false
}

func (x *index) has(key string, ts uint64, value []byte) bool {
	from := ts
	if x.tsName == "" {
		from = math.MaxUint64
	}
	for at, row := range x.under(key, from) {
		if x.tsName != "" && at.ts != ts {
			break
		}
		if x.unique || bytes.Equal(row.value, value) {
			return true
		}
	}
	return false
}

// checkExists answers for Put's check_exists, which writes nothing: is there a row of this key and time?
func (p *partition) checkExists(e *entry) status {
	if !p.indexes[0].unique {
		return status{codeBadMeta, "table type is not iot"}
	}
	for _, d := range e.dims {
		if d.idx != 0 {
			continue
		}
		for at := range p.indexes[0].under(d.key, e.ts) {
			if at.ts == e.ts {
				return status{codeOK, "exists"}
			}
			break
		}
		return status{codeNoKey, "NOT_FOUND: key not found"}
	}
	return status{codeError, fmt.Sprintf("INVALID_ARGUMENT: %s: cidx not found", p.id)}
}

// delete removes rows: of a key, of times, or both.
func (t *Tablet) delete(ctx context.Context, _ *port.Call, q *api.DeleteRequest, a *api.GeneralResponse) error {
	t.deleteRows(ctx, q).general(a)
	return nil
}

func (t *Tablet) deleteRows(ctx context.Context, q *api.DeleteRequest) status {
	if t.follows.Load() {
		return followerCluster
	}
	p := t.part(q.GetTid(), q.GetPid())
	if p == nil {
		return noTable
	}
	e, others, s := p.deletion(q)
	if !s.good() {
		return s
	}
	if others {
		if err := t.deleteElsewhere(ctx, p, e); err != nil {
			return status{codeDeleteFailed, err.Error()}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.usable(true); !s.good() {
		return s
	}
	e.term, e.index = p.term, p.offset+1
	if err := p.append(e); err != nil {
		t.c.Log("tablet %s: write to the binlog of %s: %v", t.c.Endpoint, p.id, err)
		return status{codeDeleteFailed, "delete failed"}
	}
	return ok
}

// deletion makes the entry that a request asks for. others says that rows are to be removed from other indexes, too,
// whose keys may be in other partitions.
func (p *partition) deletion(q *api.DeleteRequest) (e *entry, others bool, s status) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if s := p.usable(true); !s.good() {
		return nil, false, s
	}
	e = &entry{delete: true, endTS: q.EndTs, tsName: q.TsName, ts: q.GetTs(), hasTS: q.Ts != nil}
	notFound := status{codeNoIndex, "index not found"}
	switch {
	case len(q.GetDimensions()) > 0:
		e.dims = dimensionsOf(q.GetDimensions()[:1])
		if _, ready := p.indexAt(e.dims[0].idx); !ready {
			return nil, false, notFound
		}
	case q.GetIdxName() != "":
		x, ready := p.index(q.GetIdxName())
		if !ready {
			return nil, false, notFound
		}
		if q.Key != nil {
			e.dims = []dimension{{q.GetKey(), p.placeOfIndex(x)}}
		}
	}
	if len(e.dims) == 0 && !e.hasTS && e.endTS == nil {
		return nil, false, status{codeInvalidArgs, "invalid args"}
	}
	return e, q.EnableDecodeValue != nil && q.GetEnableDecodeValue() && p.reachesOthers(e), ok
}

func (p *partition) placeOfIndex(x *index) uint32 {
	for i := range p.indexes {
		if p.indexes[i] == x {
			return uint32(i)
		}
	}
	return 0
}

// reachesOthers says whether a delete leaves rows in other indexes that are those it removes from its own.
func (p *partition) reachesOthers(e *entry) bool {
	if len(e.dims) > 0 {
		return len(p.indexes) > 1
	}
	for _, x := range p.indexes {
		if e.tsName != nil && x.state == indexReady && x.tsName != *e.tsName {
			return true
		}
	}
	return false
}

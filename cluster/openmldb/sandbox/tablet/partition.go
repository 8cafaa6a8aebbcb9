package tablet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
)

// partition is a tablet's copy of a partition, in memory.
type partition struct {
	t    *Tablet
	id   partID
	dir  string
	mode common.StorageMode

	mu       sync.RWMutex
	meta     *api.TableMeta // replaced, never written to
	schemas  schemas
	indexes  []*index // by the idx of a Dimension
	waiting  []newTTL // set, and not yet in force
	bytes    uint64   // of the rows
	leader   bool
	state    api.TableState
	term     uint64
	log      *binlog
	offset   uint64      // of the last entry in the log
	terms    []termStart // of the entries after the snapshot
	snapshot snapshot
	keep     bool // SetExpire off
	gone     bool // dropped, or its tablet ended
	broken   error
	buf      []byte

	followers map[string]*follower
}

// newTTL is a TTL that the next collection puts in force.
type newTTL struct {
	index string // "" for all
	ttl   ttl
}

var (
	errNoIndexes = errors.New("fail to init table")
	errGone      = errors.New("the partition is not here any more")
)

// newPartition makes a partition of its description; nothing is read but where its binlog has what.
func (t *Tablet) newPartition(m *api.TableMeta, dir string) (*partition, error) {
	if len(m.GetColumnKey()) == 0 {
		return nil, errNoIndexes
	}
	p := &partition{
		t: t, id: metaID(m), dir: dir, mode: m.GetStorageMode(), meta: m, schemas: schemasOf(m),
		leader: m.Mode == nil || m.GetMode() == api.TableMode_kTableLeader, followers: map[string]*follower{},
	}
	segments := 8
	if n := int(m.GetSegCnt()); n > 0 {
		segments = min(n, 1024)
	}
	for _, k := range m.GetColumnKey() {
		p.indexes = append(p.indexes, newIndex(k, segments))
	}
	if m.GetMode() == api.TableMode_kTableLeader {
		p.term = m.GetTerm()
	}
	var err error
	p.log, err = openBinlog(filepath.Join(dir, binlogDir), t.tune.binlog)
	return p, err
}

func metaID(m *api.TableMeta) partID { return partID{uint32(m.GetTid()), uint32(m.GetPid())} }

// enter makes a partition known to the tablet; false when there is one already, or the tablet ends.
func (t *Tablet) enter(p *partition) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.parts[p.id] != nil || t.ctx.Err() != nil {
		return false
	}
	t.parts[p.id] = p
	return true
}

// forget takes a partition out of memory.
func (t *Tablet) forget(p *partition) error {
	t.mu.Lock()
	if t.parts[p.id] == p {
		delete(t.parts, p.id)
	}
	t.mu.Unlock()
	return p.close()
}

// close ends what a partition does. Whoever still has it finds it gone.
func (p *partition) close() error {
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.stopFollowers()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.close()
}

// usable says whether clients may use the partition; p is nil for one that is not here. The lock is held unless it is.
func (p *partition) usable(asLeader bool) status {
	switch {
	case p.gone:
		return noTable
	case asLeader && !p.leader:
		return isFollower
	case p.state == api.TableState_kTableLoading:
		return isLoading
	}
	return ok
}

// read finds a partition and locks it for reading; without one, or when it may not be used, nothing is locked.
func (t *Tablet) read(tid, pid uint32) (*partition, status) {
	p := t.part(tid, pid)
	if p == nil {
		return nil, noTable
	}
	p.mu.RLock()
	if s := p.usable(false); !s.good() {
		p.mu.RUnlock()
		return nil, s
	}
	return p, ok
}

// index finds a ready index by its name; the first one for "".
func (p *partition) index(name string) (*index, bool) {
	for _, x := range p.indexes {
		if name == "" || x.name == name {
			return x, x.state == indexReady
		}
	}
	return nil, false
}

// indexAt finds a ready index by its place.
func (p *partition) indexAt(idx uint32) (*index, bool) {
	if uint64(idx) >= uint64(len(p.indexes)) {
		return nil, false
	}
	return p.indexes[idx], p.indexes[idx].state == indexReady
}

// append writes entries to the log and applies them. The lock is held. After an error nothing was done.
func (p *partition) append(all ...*entry) error {
	if p.broken != nil || len(all) == 0 {
		return p.broken
	}
	b := p.buf[:0]
	for _, e := range all {
		var fits bool
		if b, fits = appendRecord(b, e); !fits {
			return fmt.Errorf("entry %d is longer than %d bytes", e.index, maxRecord)
		}
	}
	if p.buf = b; cap(b) > 1<<20 {
		p.buf = nil
	}
	if err := p.log.append(all[0].index, b); err != nil {
		if errors.Is(err, errDamaged) {
			p.broken = err
		}
		return err
	}
	for _, e := range all {
		p.offset = e.index
		p.note(e)
		p.apply(e)
	}
	for _, f := range p.followers {
		f.nudge()
	}
	return nil
}

// apply does what an entry says. What of a row no index can take is left out.
func (p *partition) apply(e *entry) {
	if e.delete {
		p.remove(e)
		return
	}
	for i, d := range e.dims {
		x, ready := p.indexAt(d.idx)
		if !ready || dimensionTwice(e.dims[:i], d.idx) {
			continue
		}
		if ts, err := p.time(x, e); err == nil {
			e.dims[i].key = x.insert(d.key, ts, e)
		}
	}
	if e.refs > 0 {
		p.bytes += uint64(len(e.value)) + rowOverhead
	}
}

func dimensionTwice(before []dimension, idx uint32) bool {
	for _, d := range before {
		if d.idx == idx {
			return true
		}
	}
	return false
}

// time is what orders a row in an index.
func (p *partition) time(x *index, e *entry) (uint64, error) {
	if x.tsName == "" {
		return e.ts, nil
	}
	if len(e.value) < rowHead {
		return 0, errors.New("invalid value")
	}
	s := p.schemas[e.value[1]]
	if s == nil {
		return 0, fmt.Errorf("invalid schema version %d", e.value[1])
	}
	c := s.at[x.tsName]
	if c.size == 0 || c.offset+c.size > len(e.value) || e.value[rowHead+c.bit/8]&(1<<(c.bit%8)) != 0 {
		return 0, errors.New("get ts failed")
	}
	ts := binary.LittleEndian.Uint64(e.value[c.offset:])
	if ts > math.MaxInt64 {
		return 0, fmt.Errorf("ts is negative %d", int64(ts))
	}
	return ts, nil
}

// remove does what a delete says.
func (p *partition) remove(e *entry) {
	if len(e.dims) > 0 {
		for _, d := range e.dims {
			if x, ready := p.indexAt(d.idx); ready {
				p.removeKey(x, d.key, e)
			}
		}
		return
	}
	for _, x := range p.indexes {
		if x.state != indexReady || x.tsName != "" && (e.tsName == nil || x.tsName != *e.tsName) {
			continue
		}
		for key := range x.keys {
			p.removeKey(x, key, e)
		}
	}
}

// removeKey removes a key's rows of the times that a delete is about: after endTS, up to ts.
func (p *partition) removeKey(x *index, key string, e *entry) {
	from, to := uint64(math.MaxUint64), e.endTS
	if e.hasTS {
		from = e.ts
	}
	var dead []place
	for at := range x.under(key, from) {
		if to != nil && at.ts <= *to {
			break
		}
		dead = append(dead, at)
	}
	p.drop(x, dead)
}

// drop takes rows out of an index.
func (p *partition) drop(x *index, dead []place) {
	for _, at := range dead {
		if e, gone := x.remove(at); gone {
			p.bytes -= uint64(len(e.value)) + rowOverhead
		}
	}
}

// setMeta replaces the description by a changed copy, and keeps it on the disk. The lock is held.
func (p *partition) setMeta(change func(m *api.TableMeta)) error {
	m := proto.CloneOf(p.meta)
	change(m)
	if err := writeMeta(p.dir, m); err != nil {
		return err
	}
	p.meta = m
	return nil
}

package nameserver

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
)

// replica is one copy of a partition.
type replica struct {
	tid, pid uint32
	endpoint string
}

// status is what a tablet said of a replica the last time that it said something.
type status struct {
	has                          bool
	offset, records, bytes, disk uint64
}

// watchStatuses asks the tablets regularly. What a dead one said last stays.
func (l *lead) watchStatuses() {
	for l.sleep(l.ctx, l.times.status) {
		l.askStatuses()
	}
}

// askStatuses asks all healthy tablets at once. One that does not answer in time is asked again the next time.
func (l *lead) askStatuses() {
	ctx, cancel := context.WithTimeout(l.ctx, max(l.times.status, time.Second))
	defer cancel()
	l.onEach(ctx, l.allHealthy(), func(ctx context.Context, endpoint string) error {
		var a api.GetTableStatusResponse
		if err := l.call(ctx, endpoint, "GetTableStatus", &api.GetTableStatusRequest{}, &a); err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.learn(endpoint, a.GetAllTableStatus())
		return nil
	})
}

// learn takes what a tablet said of all its partitions; l.mu is held.
func (l *lead) learn(endpoint string, said []*api.TableStatus) {
	has := map[replica]*api.TableStatus{}
	for _, s := range said {
		has[replica{s.GetTid(), s.GetPid(), endpoint}] = s
	}
	for _, t := range l.tables {
		for _, p := range t.GetTablePartition() {
			at := replica{t.GetTid(), p.GetPid(), endpoint}
			if member(p, endpoint) == nil {
				delete(l.statuses, at)
				continue
			}
			known := l.statuses[at]
			if known == nil {
				known = &status{}
				l.statuses[at] = known
			}
			s := has[at]
			if known.has = s != nil; known.has {
				known.offset, known.records = s.GetOffset(), s.GetRecordCnt()
				known.bytes, known.disk = s.GetRecordByteSize()+s.GetRecordIdxByteSize(), s.GetDiskused()
			}
		}
	}
}

// forget drops what was said of a table; l.mu is held.
func (l *lead) forget(tid uint32) {
	for at := range l.statuses {
		if at.tid == tid {
			delete(l.statuses, at)
		}
	}
}

// withStatus is a table with the numbers of its replicas; l.mu is held.
func (l *lead) withStatus(t *ns.TableInfo) *ns.TableInfo {
	t = proto.CloneOf(t)
	for _, p := range t.GetTablePartition() {
		for _, m := range p.GetPartitionMeta() {
			s := l.statuses[replica{t.GetTid(), p.GetPid(), m.GetEndpoint()}]
			if s == nil {
				continue
			}
			m.Offset, m.RecordCnt, m.RecordByteSize = proto.Uint64(s.offset), proto.Uint64(s.records), proto.Uint64(s.bytes)
			m.Diskused, m.TabletHasPartition = proto.Uint64(s.disk), proto.Bool(s.has)
			if m.GetIsLeader() && m.GetIsAlive() {
				p.RecordCnt, p.RecordByteSize, p.Diskused = m.RecordCnt, m.RecordByteSize, m.Diskused
			}
		}
	}
	return t
}

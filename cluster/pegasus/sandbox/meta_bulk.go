package sandbox

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Bulk loads as the meta server has them: kept, so that one that takes over goes on with them.

// maxRollbacks is how often a bulk load begins anew after trouble that may pass (Pegasus: bulk_load_max_rollback_times).
const maxRollbacks = 10

// bulkLoad is the last bulk load of a table.
type bulkLoad struct {
	ID                      int64
	AppID                   int32
	Provider, Cluster, Root string
	Behind                  bool
	Status                  wire.BulkLoadStatus
	Parts                   []wire.BulkLoadStatus
	Code                    string // ERR_OK, or why it failed
	Rollbacks               int
	Ingested                bool // some partition has begun to ingest
	Over                    bool // cleaned up

	states []map[nodeID]bulkReport // as the servers said last
}

func bulkKey(id int32) []byte { return binary.BigEndian.AppendUint32([]byte{'b'}, uint32(id)) }

// loading is the bulk load of a table that is not over; m.mu is held.
func (m *metaServer) loading(id int32) *bulkLoad {
	if b := m.bulks[id]; b != nil && !b.Over {
		return b
	}
	return nil
}

// keepBulk keeps a bulk load; m.mu is held.
func (m *metaServer) keepBulk(b *bulkLoad) bool {
	err := m.save(map[string]any{string(bulkKey(b.AppID)): b})
	if err != nil {
		m.log("keep the bulk load of table %d: %v", b.AppID, err)
	}
	return err == nil
}

func (m *metaServer) startBulkLoad(_ *inbound, q *wire.StartBulkLoadRequest, out *wire.HintResponse) string {
	m.mu.Lock()
	a, code, hint := m.mayBulkLoad(q)
	m.mu.Unlock()
	if code == wire.OK {
		code, hint = m.checkBulkInput(a, q)
	}
	if out.Err, out.Hint = code, hint; code != wire.OK {
		return ""
	}
	m.mu.Lock()
	old, code, hint := m.mayBulkLoad(q) // somebody else may have been faster
	if code != wire.OK {
		m.mu.Unlock()
		out.Err, out.Hint = code, hint
		return ""
	}
	next := *old
	next.BulkLoading = true
	b := &bulkLoad{
		ID: time.Now().UnixMilli(), AppID: next.ID, Provider: q.Provider, Cluster: q.Cluster, Root: q.Root, Behind: q.Behind, Code: wire.OK,
	}
	b.all(next.Partitions, wire.BulkDownloading)
	if !m.keepBulk(b) || m.setApp(&next) != nil {
		m.mu.Unlock()
		out.Err = wire.CodeFSInternal
		return ""
	}
	m.bulks[next.ID] = b
	m.level = wire.LevelSteady // and nobody puts it back
	clear(m.proposals)
	m.mu.Unlock()
	m.tell(func(n nodeLink) error { return n.updateApp(next) })
	m.kick()
	return ""
}

// all puts every partition, and the table, into one state.
func (b *bulkLoad) all(partitions int32, s wire.BulkLoadStatus) {
	b.Status, b.Parts = s, slices.Repeat([]wire.BulkLoadStatus{s}, int(partitions))
}

// mayBulkLoad says whether a bulk load may begin; m.mu is held.
func (m *metaServer) mayBulkLoad(q *wire.StartBulkLoadRequest) (a *app, code, hint string) {
	for id := range m.bulks {
		if m.loading(id) != nil {
			return nil, wire.CodeBusy, fmt.Sprintf("%s is being bulk loaded, one table at a time", m.apps[id].Name)
		}
	}
	a, code, hint = m.usable(q.AppName)
	switch {
	case a == nil:
		return nil, code, hint
	case m.splits[a.ID] != nil:
		return nil, wire.CodeSplitting, q.AppName + " is being split"
	case q.Behind && !a.behind():
		return nil, wire.CodeInconsistent, "inconsistent ingestion behind option"
	}
	return a, wire.OK, ""
}

// checkBulkInput looks at what is to be loaded.
func (m *metaServer) checkBulkInput(a *app, q *wire.StartBulkLoadRequest) (code, hint string) {
	service, known := m.net.provider(q.Provider)
	if !known {
		return wire.CodeInvalidParameters, "invalid file_provider_type"
	}
	if d, local := service.BlockService.(directory); local {
		if _, err := os.Stat(string(d)); err != nil {
			return wire.CodeFileOperation, "file_provider error"
		}
	}
	ctx, cancel := m.context()
	defer cancel()
	info, code := readBulkInfo(ctx, service, path.Join(q.Root, q.Cluster, q.AppName))
	switch {
	case code != wire.OK:
		return code, "bulk_load_info cannot be read"
	case info.AppID != a.ID || info.Partitions != a.Partitions:
		return wire.CodeInconsistent, "app_id or partition_count inconsistent"
	}
	return wire.OK, ""
}

func (m *metaServer) controlBulkLoad(_ *inbound, q *wire.ControlBulkLoadRequest, out *wire.BulkLoadResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, code, hint := m.usable(q.AppName)
	var b *bulkLoad
	if a != nil {
		b = m.loading(a.ID)
	}
	switch {
	case a == nil:
	case b == nil:
		code, hint = wire.CodeInactiveState, q.AppName+" is not being bulk loaded"
	case q.Control == wire.BulkPause && b.Status == wire.BulkDownloading:
		b.Status = wire.BulkPausing
	case q.Control == wire.BulkRestart && b.Status == wire.BulkPaused:
		b.all(int32(len(b.Parts)), wire.BulkDownloading)
	case q.Control == wire.BulkCancel && (b.Status == wire.BulkDownloading || b.Status == wire.BulkPaused), q.Control == wire.BulkForceCancel:
		b.all(int32(len(b.Parts)), wire.BulkCanceled)
	case q.Control < wire.BulkPause || q.Control > wire.BulkForceCancel:
		code, hint = wire.CodeInvalidParameters, fmt.Sprintf("there is no control %d", q.Control)
	default:
		code, hint = wire.CodeInvalidState, "its status is "+b.Status.String()
	}
	if code == wire.OK && !m.keepBulk(b) {
		code = wire.CodeFSInternal
	}
	if out.Err = code; hint != "" {
		out.Hint = &hint
	}
	m.kick()
	return ""
}

func (m *metaServer) queryBulkLoad(_ *inbound, q *wire.QueryBulkLoadRequest, out *wire.QueryBulkLoadResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out.AppName, out.Partitions, out.States = q.AppName, []wire.BulkLoadStatus{}, []map[wire.Address]wire.BulkLoadState{}
	a, code, hint := m.usable(q.AppName)
	if out.Err = code; a == nil {
		out.Hint = &hint
		return ""
	}
	out.MaxReplicas, out.Loading = int32(a.Replicas), new(a.BulkLoading)
	b := m.bulks[a.ID]
	if b == nil || b.Over {
		out.Hint = new(q.AppName + " is not being bulk loaded; this is how the last one ended")
	}
	if b == nil {
		return ""
	}
	out.Err, out.Status, out.Partitions = b.Code, b.Status, slices.Clone(b.Parts)
	if m.net.release() >= release26 {
		out.Hosts = []map[string]wire.BulkLoadState{}
	}
	for i := range b.Parts {
		states, hosts := map[wire.Address]wire.BulkLoadState{}, map[string]wire.BulkLoadState{}
		if i < len(b.states) {
			for id, r := range b.states[i] {
				states[m.wireAddress(id)], hosts[m.net.address(id)] = r.state(b.Status), r.state(b.Status)
			}
		}
		if out.States = append(out.States, states); out.Hosts != nil {
			out.Hosts = append(out.Hosts, hosts)
		}
	}
	return ""
}

// state is what clients are told of a replica: what matters in the state of the table.
func (r bulkReport) state(s wire.BulkLoadStatus) (out wire.BulkLoadState) {
	switch s {
	case wire.BulkDownloading, wire.BulkDownloaded:
		out.Progress, out.DownloadStatus = &r.Progress, &r.Code
	case wire.BulkIngesting:
		out.Ingest = &r.Ingest
	case wire.BulkPausing, wire.BulkPaused:
		out.Paused = &r.Paused
	default:
		out.CleanedUp = &r.CleanedUp
	}
	return out
}

func (m *metaServer) clearBulkLoad(_ *inbound, q *wire.ClearBulkLoadRequest, out *wire.HintResponse) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, code, hint := m.usable(q.AppName)
	switch {
	case a == nil:
	case m.loading(a.ID) != nil:
		code, hint = wire.CodeInvalidState, q.AppName+" is being bulk loaded"
	case m.bulks[a.ID] != nil:
		if err := m.save(nil, string(bulkKey(a.ID))); err != nil {
			code = wire.CodeFSInternal
			break
		}
		delete(m.bulks, a.ID)
	}
	out.Err, out.Hint = code, hint
	return ""
}

// tendBulkLoads brings every bulk load a step further.
func (m *metaServer) tendBulkLoads() {
	m.mu.Lock()
	var all []*bulkLoad
	for _, id := range slices.Sorted(maps.Keys(m.bulks)) {
		if b := m.loading(id); b != nil {
			all = append(all, b)
		}
	}
	m.mu.Unlock()
	for _, b := range all {
		m.tendBulkLoad(b)
	}
}

func (m *metaServer) tendBulkLoad(b *bulkLoad) {
	m.mu.Lock()
	status := b.Status
	if m.apps[b.AppID].Status != wire.AppAvailable {
		status = wire.BulkCanceled
	}
	for len(b.states) < len(b.Parts) {
		b.states = append(b.states, map[nodeID]bulkReport{})
	}
	m.mu.Unlock()
	switch status {
	case wire.BulkDownloading:
		m.eachPart(b, status, m.downloadPart, wire.BulkDownloaded)
	case wire.BulkDownloaded:
		m.bulkBecomes(b, status, func() { b.all(int32(len(b.Parts)), wire.BulkIngesting) })
	case wire.BulkIngesting:
		m.eachPart(b, status, m.ingestPart, wire.BulkSucceed)
	case wire.BulkPausing:
		m.pauseParts(b)
	case wire.BulkSucceed, wire.BulkFailed, wire.BulkCanceled:
		m.cleanUp(b)
	}
}

// partsOf is the number of partitions of a bulk load.
func (m *metaServer) partsOf(b *bulkLoad) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(b.Parts)
}

// bulkBecomes changes a bulk load unless its state is another one by now.
func (m *metaServer) bulkBecomes(b *bulkLoad, was wire.BulkLoadStatus, change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.Status != was || m.store == nil {
		return
	}
	change()
	if m.keepBulk(b) {
		m.kick()
	}
}

// outcome is what has become of a step of one partition.
type outcome struct {
	done    bool
	trouble bool   // all begins anew
	code    string // "" unless it is the end of the bulk load
}

// eachPart has a step taken for every partition that is not through; when all are, the table is.
func (m *metaServer) eachPart(b *bulkLoad, status wire.BulkLoadStatus, step func(*bulkLoad, group) outcome, next wire.BulkLoadStatus) {
	through := true
	for i := range m.partsOf(b) {
		m.mu.Lock()
		g, left := m.groups[wire.GPID{App: b.AppID, Partition: int32(i)}], b.Status == status && b.Parts[i] != next
		m.mu.Unlock()
		if !left {
			continue
		}
		switch o := step(b, g); {
		case o.code != "":
			m.bulkBecomes(b, status, func() {
				b.all(int32(len(b.Parts)), wire.BulkFailed)
				b.Code = o.code
			})
			return
		case o.trouble:
			m.rollBack(b, status)
			return
		case o.done:
			m.bulkBecomes(b, status, func() { b.Parts[i] = next })
		default:
			through = false
		}
	}
	if through {
		m.bulkBecomes(b, status, func() { b.Status = next })
	}
}

// rollBack begins anew, not for ever.
func (m *metaServer) rollBack(b *bulkLoad, was wire.BulkLoadStatus) {
	m.bulkBecomes(b, was, func() {
		if b.Rollbacks++; b.Rollbacks <= maxRollbacks {
			b.all(int32(len(b.Parts)), wire.BulkDownloading)
			return
		}
		b.all(int32(len(b.Parts)), wire.BulkFailed)
		if b.Code = wire.CodeRetryExhausted; b.Ingested {
			b.Code = wire.CodeIngestionFailed
		}
	})
}

// order tells a server what to do for a partition, and notes what it says.
func (m *metaServer) order(b *bulkLoad, pid wire.GPID, id nodeID, step bulkStep) (bulkReport, error) {
	n, err := m.net.node(id)
	if err != nil {
		return bulkReport{}, err
	}
	m.mu.Lock()
	dir := path.Join(b.Root, b.Cluster, m.apps[b.AppID].Name, fmt.Sprint(pid.Partition))
	m.mu.Unlock()
	r, err := n.bulk(bulkOrder{PID: pid, Load: b.ID, Provider: b.Provider, Dir: dir, Behind: b.Behind, Step: step})
	if err != nil {
		return r, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b.states[pid.Partition][id] = r
	return r, nil
}

func (g *group) complete() bool { return g.Primary != noNode && 1+len(g.Secondaries) >= g.Max }

// downloadPart has every member download by itself. A group that is not complete is waited for.
func (m *metaServer) downloadPart(b *bulkLoad, g group) outcome {
	if !g.complete() {
		return outcome{}
	}
	all := outcome{done: true}
	for _, id := range g.members() {
		r, err := m.order(b, g.PID, id, bulkDownload)
		switch {
		case err == nil && r.Code != wire.OK && r.Code != wire.CodeBusy:
			return outcome{code: r.Code}
		case err == nil && r.Trouble:
			return outcome{trouble: true}
		}
		all.done = all.done && err == nil && r.downloaded()
	}
	return all
}

// ingestPart has the primary bring the rows in, when no member has too much to do.
func (m *metaServer) ingestPart(b *bulkLoad, g group) outcome {
	if !g.complete() {
		return outcome{trouble: true}
	}
	m.mu.Lock()
	begun := b.states[g.PID.Partition][g.Primary].Ingest == wire.IngestRunning
	first := !b.Ingested
	busy := !begun && slices.ContainsFunc(g.members(), func(id nodeID) bool { return m.ingesting(b, id) >= ingestsAtOnce })
	m.mu.Unlock()
	if busy {
		return outcome{}
	}
	if first {
		m.bulkBecomes(b, wire.BulkIngesting, func() { b.Ingested = true })
	}
	r, err := m.order(b, g.PID, g.Primary, bulkIngest)
	switch {
	case err != nil || r.Trouble || !r.downloaded():
		return outcome{trouble: true}
	case r.Ingest == wire.IngestFailed:
		return outcome{code: wire.CodeIngestionFailed}
	}
	return outcome{done: r.Ingest == wire.IngestSucceed}
}

// ingesting counts the partitions that a server is a member of and that are being ingested; m.mu is held.
func (m *metaServer) ingesting(b *bulkLoad, id nodeID) (n int) {
	for i, states := range b.states {
		g := m.groups[wire.GPID{App: b.AppID, Partition: int32(i)}]
		if g.has(id) && b.Parts[i] == wire.BulkIngesting && states[g.Primary].Ingest == wire.IngestRunning {
			n++
		}
	}
	return n
}

func (m *metaServer) pauseParts(b *bulkLoad) {
	through := true
	for i := range m.partsOf(b) {
		pid := wire.GPID{App: b.AppID, Partition: int32(i)}
		m.mu.Lock()
		g := m.groups[pid]
		m.mu.Unlock()
		for _, id := range g.members() {
			r, err := m.order(b, pid, id, bulkPause)
			through = through && (err != nil || r.Paused)
		}
	}
	if through {
		m.bulkBecomes(b, wire.BulkPausing, func() { b.all(int32(len(b.Parts)), wire.BulkPaused) })
	}
}

// cleanUp has all servers forget the files. One that does not run has forgotten them when it starts again.
func (m *metaServer) cleanUp(b *bulkLoad) {
	for i := range m.partsOf(b) {
		for _, id := range m.nodes {
			if _, err := m.net.node(id); err != nil {
				continue
			}
			if _, err := m.order(b, wire.GPID{App: b.AppID, Partition: int32(i)}, id, bulkCleanUp); err != nil {
				return
			}
		}
	}
	m.mu.Lock()
	next := *m.apps[b.AppID]
	next.BulkLoading = false
	b.Over = true
	if !m.keepBulk(b) || m.setApp(&next) != nil {
		b.Over = false
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	m.tell(func(n nodeLink) error { return n.updateApp(next) })
}

package sandbox

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// metaServer is the running meta server: tables, the groups of their partitions, and who is alive. Tables and groups
// are in its store before anybody is told of them; the level and who is alive are not kept.
type metaServer struct {
	name    string // of the cluster
	address string
	net     network
	nodes   []nodeID // all replica servers there are
	log     func(format string, args ...any)
	started time.Time
	metas   []string // all meta servers of the cluster
	// settings can be changed by remote commands, see settings.go.
	settings metaSettings
	store    zookeeper // nil once it leads no longer
	answers  map[string]method
	stop     chan struct{}
	tasks    sync.WaitGroup
	kicked   chan struct{} // something changed that the guardian should look at

	rounds sync.Mutex // held while the guardian is at work

	mu       sync.Mutex
	level    wire.MetaLevel
	apps     map[int32]*app
	groups   map[wire.GPID]group
	splits   map[int32]*splitState   // of tables that are being split, see meta_split.go
	dups     map[wire.GPID]*dupState // of partitions of tables that are duplicated, see meta_dup.go
	backups  map[int32][]*backup     // of tables, see meta_backup.go
	policies map[string]*policy      // by name, see meta_policy.go
	bulks    map[int32]*bulkLoad     // by table, see meta_bulk.go
	// restores are how partitions are that come from a backup, see meta_restore.go.
	restores map[wire.GPID]restorePart
	abroad   map[int32]bool // duplications for which a follower is being asked
	founded  map[int32]bool // duplications whose follower is ready for writes
	alive    map[nodeID]bool
	gone     map[nodeID]time.Time // since when a node is missed that is still taken for alive
	died     map[nodeID]time.Time // when a dead node died
	// proposals wait to be carried out, in order; see placement.go.
	proposals map[wire.GPID][]proposal
	black     map[nodeID]bool // no secondaries are placed there
	// recovering means that the metadata is lost; returned are servers that have not been told of all tables.
	recovering bool
	returned   map[nodeID]bool
}

var _ metaLink = (*metaServer)(nil)

// Keys in the meta server's store.
func appKey(id int32) []byte { return binary.BigEndian.AppendUint32([]byte{'a'}, uint32(id)) }

func groupKey(pid wire.GPID) []byte { return tagged('g', pid) }

const appType = "pegasus"

// startMetaServer has a meta server take the lead, with what the store holds. running says which replica servers it
// hears at this moment.
func startMetaServer(name, address string, store zookeeper, net network, running map[nodeID]bool, log func(string, ...any)) (*metaServer, error) {
	m := &metaServer{
		store: store, settings: newMetaSettings(),
		name: name, address: address, net: net, log: log, started: time.Now(), stop: make(chan struct{}),
		kicked: make(chan struct{}, 1), level: wire.LevelSteady, apps: map[int32]*app{}, groups: map[wire.GPID]group{},
		alive: map[nodeID]bool{}, gone: map[nodeID]time.Time{}, died: map[nodeID]time.Time{},
		proposals: map[wire.GPID][]proposal{}, splits: map[int32]*splitState{}, dups: map[wire.GPID]*dupState{}, backups: map[int32][]*backup{}, policies: map[string]*policy{}, restores: map[wire.GPID]restorePart{}, bulks: map[int32]*bulkLoad{}, abroad: map[int32]bool{}, founded: map[int32]bool{}, returned: map[nodeID]bool{},
	}
	for id, runs := range running {
		m.nodes = append(m.nodes, id)
		if m.alive[id] = runs; !runs {
			m.died[id] = m.started
			continue
		}
		m.returned[id] = true
	}
	slices.Sort(m.nodes)
	m.answers = m.methods()
	if err := m.load(); err != nil {
		return nil, err
	}
	m.tasks.Go(func() {
		m.rounds.Lock()
		m.catchUp()
		m.rounds.Unlock()
		m.guard()
	})
	m.tasks.Go(m.runPolicies)
	m.kick()
	return m, nil
}

func (m *metaServer) load() error {
	err := m.store.load(func(key, value []byte) (err error) {
		switch key[0] {
		case 'a':
			a := &app{}
			err = json.Unmarshal(value, a)
			m.apps[a.ID] = a
		case 'g':
			var g group
			err = json.Unmarshal(value, &g)
			m.groups[g.PID] = g
		case 'b':
			b := &bulkLoad{}
			err = json.Unmarshal(value, b)
			m.bulks[b.AppID] = b
		case 'p':
			p := &policy{}
			err = json.Unmarshal(value, p)
			m.policies[p.Name] = p
		case 'u':
			s := newDupState()
			err = json.Unmarshal(value, s)
			if len(key) == prefixSize {
				m.dups[wire.GPID{App: int32(binary.BigEndian.Uint32(key[1:])), Partition: int32(binary.BigEndian.Uint32(key[5:]))}] = s
			}
		case lostKey[0]:
			m.recovering = m.recovering || bytes.Equal(key, lostKey)
		}
		return err
	})
	m.findSplits()
	return err
}

// retire ends the lead: nothing is changed any more. It may be called again.
func (m *metaServer) retire() {
	m.mu.Lock() // a primary may be asking
	ends := m.store != nil
	m.store = nil
	m.mu.Unlock()
	if ends {
		close(m.stop)
	}
	m.tasks.Wait()
}

// save keeps values that can be written as JSON, and deletes others, all or none; m.mu is held.
func (m *metaServer) save(values map[string]any, gone ...string) error {
	if m.store == nil {
		return errDead
	}
	texts := make(map[string][]byte, len(values))
	for key, value := range values {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		texts[key] = text
	}
	return m.store.save(texts, gone...)
}

// setApp keeps a table and tells it to the replica servers; m.mu is held.
func (m *metaServer) setApp(a *app) error {
	a.Version++
	if err := m.save(map[string]any{string(appKey(a.ID)): a}); err != nil {
		return err
	}
	m.apps[a.ID] = a
	return nil
}

// named finds the table of that name that is not dropped; m.mu is held.
func (m *metaServer) named(name string) *app {
	for _, a := range m.apps {
		if a.Name == name && a.Status != wire.AppDropped {
			return a
		}
	}
	return nil
}

// createApp creates a table whose partitions get their replicas afterwards. The code is the meta server's own error.
func (m *metaServer) createApp(name string, o wire.CreateAppOptions) (id int32, code string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.level <= wire.LevelFreezed {
		return 0, wire.CodeStateFreezed
	}
	if o.Partitions <= 0 || o.Partitions > maxPartitions || o.Replicas < 1 || o.Replicas > 5 || int(o.Replicas) > m.countAlive() {
		return 0, wire.CodeInvalidParameters
	}
	for _, key := range createChecked {
		if value, given := o.Envs[key]; given && checkEnv(key, value) != nil {
			return 0, wire.CodeInvalidParameters
		}
	}
	if old := m.named(name); old != nil {
		_, follows := o.Envs[envMasterCluster]
		switch {
		case old.Status == wire.AppCreating:
			return 0, wire.CodeBusyCreating
		case !o.SuccessIfExist && follows:
			return m.follow(old, o.Envs)
		case !o.SuccessIfExist:
			return 0, wire.CodeAppExist
		case old.Partitions != o.Partitions || old.Replicas != int(o.Replicas) || old.Type != o.AppType ||
			old.Stateful != o.Stateful || !maps.Equal(old.Envs, o.Envs):
			return 0, wire.CodeInvalidParameters
		}
		return old.ID, wire.OK
	}
	a := &app{
		ID: 1, Name: name, Type: o.AppType, Status: wire.AppAvailable, Partitions: o.Partitions, Init: o.Partitions,
		Replicas: int(o.Replicas), Stateful: o.Stateful, Envs: maps.Clone(o.Envs), Created: time.Now().Unix(),
	}
	a.AtomicIdempotent = m.net.release() >= release26 && o.AtomicIdempotent != nil && *o.AtomicIdempotent
	for id := range m.apps {
		a.ID = max(a.ID, id+1)
	}
	if err := m.addApp(a); err != nil {
		m.log("create table %s: %v", name, err)
		return 0, "ERR_FS_INTERNAL"
	}
	m.kick()
	return a.ID, wire.OK
}

// maxPartitions is what the sandbox carries; Pegasus has no limit of its own.
const maxPartitions = 4096

func (m *metaServer) addApp(a *app) error {
	values := map[string]any{string(appKey(a.ID)): a}
	groups := make([]group, a.Partitions)
	for i := range groups {
		groups[i] = group{PID: wire.GPID{App: a.ID, Partition: int32(i)}, Max: a.Replicas, Primary: noNode, Count: a.Partitions}
		values[string(groupKey(groups[i].PID))] = groups[i]
	}
	if err := m.save(values); err != nil {
		return err
	}
	m.apps[a.ID] = a
	for _, g := range groups {
		m.groups[g.PID] = g
	}
	return nil
}

// defaultReserve is how long a dropped table can be recalled (Pegasus: hold_seconds_for_dropped_app).
const defaultReserve = 604800

func (m *metaServer) dropApp(name string, o wire.DropAppOptions) (code string) {
	m.mu.Lock()
	old := m.named(name)
	if old == nil {
		m.mu.Unlock()
		if o.SuccessIfNotExist {
			return wire.OK
		}
		return wire.CodeAppNotExist
	}
	if m.splits[old.ID] != nil {
		m.mu.Unlock()
		return wire.CodeSplitting
	}
	a := *old
	a.Status, a.Dropped = wire.AppDropped, time.Now().Unix()
	a.ExpiresAt = a.Dropped + defaultReserve
	if o.ReserveSeconds != nil && *o.ReserveSeconds > 0 {
		a.ExpiresAt = a.Dropped + *o.ReserveSeconds
	}
	err := m.setApp(&a)
	m.mu.Unlock()
	if err != nil {
		m.log("drop table %s: %v", name, err)
		return "ERR_FS_INTERNAL"
	}
	m.tell(func(n nodeLink) error { return errors.Join(n.updateApp(a), n.forget(a.ID)) })
	return wire.OK
}

// tell tells something to every replica server that runs; those that do not are told what holds when they start.
func (m *metaServer) tell(what func(nodeLink) error) {
	for _, id := range m.nodes {
		if n, err := m.net.node(id); err == nil {
			_ = what(n)
		}
	}
}

// updateEnvs changes a table's envs. The hint says what was wrong, or what was done.
func (m *metaServer) updateEnvs(name string, change func(envs map[string]string) (hint string)) (code, hint string) {
	m.mu.Lock()
	old := m.named(name)
	if old == nil {
		m.mu.Unlock()
		return wire.CodeInvalidParameters, fmt.Sprintf("there is no table %q", name)
	}
	a := *old
	a.Envs = maps.Clone(old.Envs)
	if a.Envs == nil {
		a.Envs = map[string]string{}
	}
	hint = change(a.Envs)
	err := m.setApp(&a)
	m.mu.Unlock()
	if err != nil {
		m.log("update envs of %s: %v", name, err)
		return "ERR_FS_INTERNAL", ""
	}
	m.tell(func(n nodeLink) error { return n.updateApp(a) })
	return wire.OK, hint
}

// available says whether a partition's table can be used.
func (m *metaServer) available(pid wire.GPID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.apps[pid.App]
	return a != nil && a.Status == wire.AppAvailable
}

func (m *metaServer) countAlive() int {
	count := 0
	for _, alive := range m.alive {
		if alive {
			count++
		}
	}
	return count
}

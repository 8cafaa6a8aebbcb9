package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"shardsh/cluster/pegasus/wire"
)

// What a replica server knows of tables. It is in its store, so that a meta server that has lost everything can ask for
// it; a table that was dropped is remembered as one.

func appInfoKey(id int32) []byte { return binary.BigEndian.AppendUint32([]byte{'i'}, uint32(id)) }

// loadApps reads what the store has of tables.
func (s *replicaServer) loadApps() error {
	iter, err := s.store.Iterate([]byte{'i'}, []byte{'i' + 1})
	if err != nil {
		return err
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		a := &app{}
		if err := json.Unmarshal(iter.Value(), a); err != nil {
			return errors.Join(fmt.Errorf("what is known of a table is damaged: %w", err), iter.Close())
		}
		s.apps[a.ID] = a
	}
	return errors.Join(iter.Error(), iter.Close())
}

// know keeps what the server hears of a table, unless it knows something newer; s.mu is held.
func (s *replicaServer) know(a *app) error {
	if old := s.apps[a.ID]; old != nil && old.Version >= a.Version {
		return nil
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	b := s.store.NewBatch()
	if err := b.Set(appInfoKey(a.ID), text, nil); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := s.store.Apply(b); err != nil {
		return err
	}
	s.apps[a.ID] = a
	return nil
}

func (s *replicaServer) app(id int32) *app {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.apps[id]; a != nil {
		return a
	}
	return &app{ID: id, Name: fmt.Sprint(id)}
}

// heldApps lists the tables of which the server has replicas, those of dropped ones too.
func (s *replicaServer) heldApps() []*app {
	s.disks.mu.Lock()
	ids := map[int32]bool{}
	for pid := range s.disks.on {
		ids[pid.App] = true
	}
	s.disks.mu.Unlock()
	var all []*app
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		all = append(all, s.app(id))
	}
	return all
}

func (s *replicaServer) queryAppInfo(_ *inbound, _ *wire.QueryNodeRequest, out *wire.QueryAppInfoResponse) string {
	out.Err, out.Apps = wire.OK, []wire.AppInfo{}
	for _, a := range s.heldApps() {
		out.Apps = append(out.Apps, s.net.release().info(a))
	}
	return ""
}

package pegasus

import (
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Each node tells how far its own replicas are; one that refuses leaves the meta server's number, one that is silent
// costs no more than its patience.
func TestReplicasTellTheirOwnDecrees(t *testing.T) {
	b := newBox(t, 1)
	primary, behind, refuses, hangs := newServer(t), newServer(t), newServer(t), newServer(t)
	own := func(s *server, decree int64) {
		always(s, &wire.QueryReplicaInfo, wire.QueryReplicaInfoResponse{Err: wire.OK, Replicas: []wire.ReplicaInfo{
			{PID: wire.GPID{App: 2, Partition: 0}, LastCommitted: decree},
		}})
	}
	own(primary, 12)
	own(behind, 7)
	refuses.reject(wire.QueryReplicaInfo.Name, wire.CodeObjectNotFound)
	hangs.silent(wire.QueryReplicaInfo.Name)
	list := wire.ListNodesResponse{Err: wire.OK}
	for _, s := range []*server{primary, behind, refuses, hangs} {
		list.Nodes = append(list.Nodes, wire.NodeInfo{Status: wire.NodeAlive, Node: s.address()})
	}
	always(b.meta, &wire.ListNodes, list)
	b.configure(func(a *wire.QueryConfigResponse) {
		a.Configs[0].Primary, a.Configs[0].LastCommitted = primary.address(), 5
		a.Configs[0].Secondaries = []wire.Address{behind.address(), refuses.address(), hangs.address()}
	})
	d := open(t, 20*time.Second, b.meta.endpoint)
	want := map[string]int64{primary.endpoint: 12, behind.endpoint: 7, refuses.endpoint: 5, hangs.endpoint: 5}
	started := time.Now()
	for r, err := range d.Replicas(t.Context(), boxTable) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Offset == nil || *r.Offset != want[r.Endpoint] {
			t.Errorf("%s: offset %v, want %d", r.Endpoint, r.Offset, want[r.Endpoint])
		}
		delete(want, r.Endpoint)
	}
	if len(want) > 0 || time.Since(started) > 10*time.Second {
		t.Errorf("missing %v after %s", want, time.Since(started))
	}
}

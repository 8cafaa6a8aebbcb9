package pegasus

import (
	"context"
	"sync"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// follower answers every call as a meta server that does not lead. Only query config has a place for the leader.
func follower(t *testing.T, leader *server) *server {
	s := newServer(t)
	on(s, &wire.QueryConfig, func(wire.Header, *wire.QueryConfigRequest) *wire.QueryConfigResponse {
		a := &wire.QueryConfigResponse{Err: wire.CodeForward}
		if leader != nil {
			a.Configs = []wire.Partition{{Primary: leader.address()}}
		}
		return a
	})
	always(s, &wire.ListNodes, wire.ListNodesResponse{Err: wire.CodeForward})
	always(s, &wire.ListApps, wire.ListAppsResponse{Err: wire.CodeForward})
	always(s, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.CodeForward})
	always(s, &wire.CreateApp, wire.CreateAppResponse{Err: wire.CodeForward})
	return s
}

// The leader named in a refusal is followed, even when it is on no list, and remembered.
func TestForward(t *testing.T) {
	b := newBox(t, 1)
	f := follower(t, b.meta)
	d := open(t, 5*time.Second, f.endpoint)
	for range 3 {
		if _, err := d.Partitions(t.Context(), boxTable); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.calls(wire.QueryConfig.Name); n != 1 {
		t.Errorf("the follower was asked %d times", n)
	}
	if n := f.calls(wire.ListNodes.Name); n != 0 {
		t.Errorf("the follower was asked for the nodes %d times", n)
	}
}

// Where a refusal names nobody, the others are asked.
func TestForwardWithoutAddress(t *testing.T) {
	b := newBox(t, 1)
	f1, f2 := follower(t, nil), follower(t, nil)
	d := open(t, 5*time.Second, f1.endpoint, f2.endpoint, b.meta.endpoint)
	for range 2 {
		if _, err := d.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := f1.calls(wire.ListNodes.Name); n != 1 {
		t.Errorf("the follower was asked %d times", n)
	}
}

// The leader steps down: the next call finds the new one, and a change moves on because it was refused.
func TestLeaderChanges(t *testing.T) {
	b1, b2 := newBox(t, 1), newBox(t, 1)
	always(b1.meta, &wire.CreateApp, wire.CreateAppResponse{Err: wire.OK, AppID: 1})
	always(b2.meta, &wire.CreateApp, wire.CreateAppResponse{Err: wire.OK, AppID: 2})
	d := open(t, 5*time.Second, b1.meta.endpoint, b2.meta.endpoint)
	app := NewApp{Name: "t", Partitions: 4, Replicas: 3}
	if id, err := d.CreateApp(t.Context(), app); err != nil || id != 1 {
		t.Fatalf("%d %v", id, err)
	}
	always(b1.meta, &wire.CreateApp, wire.CreateAppResponse{Err: wire.CodeForward})
	always(b1.meta, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.CodeForward})
	if id, err := d.CreateApp(t.Context(), app); err != nil || id != 2 {
		t.Fatalf("%d %v", id, err)
	}
	b2.meta.stop()
	waitLost(t, d, b2.meta.endpoint)
	always(b1.meta, &wire.CreateApp, wire.CreateAppResponse{Err: wire.OK, AppID: 3})
	always(b1.meta, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.OK})
	if id, err := d.CreateApp(t.Context(), app); err != nil || id != 3 {
		t.Fatalf("%d %v", id, err)
	}
}

// While nobody leads, a read waits for the election.
func TestElection(t *testing.T) {
	b := newBox(t, 1)
	f := follower(t, nil)
	var mu sync.Mutex
	asked := 0
	on(b.meta, &wire.ListNodes, func(wire.Header, *wire.ListNodesRequest) *wire.ListNodesResponse {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked < 3 {
			return &wire.ListNodesResponse{Err: wire.CodeForward}
		}
		return &wire.ListNodesResponse{Err: wire.OK}
	})
	d := open(t, 20*time.Second, f.endpoint, b.meta.endpoint)
	if _, err := d.Nodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	// And not for ever.
	d = open(t, 300*time.Millisecond, f.endpoint)
	within(t, 3*time.Second, func() {
		_, err := d.Nodes(t.Context())
		wantError(t, err, spec.Unavailable, f.endpoint, wire.CodeForward, "not the leader")
	})
}

// A first meta server that is silent costs its head start only.
func TestHedge(t *testing.T) {
	b := newBox(t, 1)
	dead := newServer(t)
	dead.silent(wire.ListNodes.Name)
	d := open(t, 20*time.Second, dead.endpoint, b.meta.endpoint)
	within(t, 10*time.Second, func() {
		if _, err := d.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDeadMetas(t *testing.T) {
	dead, silent := newServer(t), newServer(t)
	dead.stop()
	silent.mu.Lock()
	silent.other = func(*client, *wire.Request) []byte { return nil }
	silent.mu.Unlock()
	rejecting := newServer(t)
	rejecting.reject(wire.ListApps.Name, wire.CodeHandlerNotFound)
	d := open(t, 400*time.Millisecond, dead.endpoint, silent.endpoint, rejecting.endpoint)
	within(t, 4*time.Second, func() {
		_, err := d.Tables(t.Context())
		wantError(t, err, spec.Unavailable, dead.endpoint+": ", "refused", silent.endpoint+": no answer in time",
			rejecting.endpoint+": "+wire.CodeHandlerNotFound, "check the addresses")
	})
	// Refused connections need no timeout at all.
	d = open(t, time.Hour, dead.endpoint)
	within(t, 10*time.Second, func() {
		_, err := d.Tables(t.Context())
		wantError(t, err, spec.Unavailable, dead.endpoint)
		_, err = d.CreateApp(t.Context(), NewApp{Name: "t", Partitions: 1, Replicas: 1})
		wantError(t, err, spec.Unavailable, dead.endpoint)
	})
}

// A change is sent once, to the leader, and never a second time when its answer does not come.
func TestChangesAreSentOnce(t *testing.T) {
	b, other := newBox(t, 1), newBox(t, 1)
	b.meta.silent(wire.CreateApp.Name)
	d := open(t, 500*time.Millisecond, b.meta.endpoint, other.meta.endpoint)
	within(t, 4*time.Second, func() {
		_, err := d.CreateApp(t.Context(), NewApp{Name: "t", Partitions: 4, Replicas: 3})
		wantError(t, err, spec.UnknownOutcome, b.meta.endpoint, "create table t")
	})
	if n := b.meta.calls(wire.CreateApp.Name) + other.meta.calls(wire.CreateApp.Name); n != 1 {
		t.Errorf("sent %d times", n)
	}
	b.meta.handle(wire.DropApp.Name, func(c *client, _ *wire.Request) []byte { c.socket.Close(); return nil })
	other.meta.handle(wire.DropApp.Name, func(c *client, _ *wire.Request) []byte { c.socket.Close(); return nil })
	err := d.DropApp(t.Context(), "t", 0)
	wantError(t, err, spec.UnknownOutcome)
	if n := b.meta.calls(wire.DropApp.Name) + other.meta.calls(wire.DropApp.Name); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

func TestMetaRefusals(t *testing.T) {
	b := newBox(t, 1)
	d := open(t, 5*time.Second, b.meta.endpoint)
	ctx := context.Background()
	always(b.meta, &wire.CreateApp, wire.CreateAppResponse{Err: wire.CodeAppExist})
	_, err := d.CreateApp(ctx, NewApp{Name: "t", Partitions: 4, Replicas: 3})
	wantError(t, err, spec.Failed, "create table t", b.meta.endpoint, wire.CodeAppExist)
	always(b.meta, &wire.DropApp, wire.ErrResponse{Err: wire.CodeAppNotExist})
	wantError(t, d.DropApp(ctx, "t", 0), spec.NotFound, "ls lists")
	always(b.meta, &wire.UpdateAppEnv, wire.HintResponse{Err: wire.CodeInvalidParameters, Hint: "no env called k"})
	wantError(t, d.SetEnvs(ctx, "t", []string{"k"}, []string{"v"}), spec.Failed, "no env called k", wire.CodeInvalidParameters)
	wantError(t, d.SetEnvs(ctx, "t", []string{"k"}, nil), spec.Usage)
	wantError(t, d.DelEnvs(ctx, "t", nil), spec.Usage)
	_, err = d.Apps(ctx, "broken")
	wantError(t, err, spec.Usage, "available")
	_, err = d.CreateApp(ctx, NewApp{Name: "t"})
	wantError(t, err, spec.Usage)
	always(b.meta, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.OK, Keys: []string{"a", "b"}, Values: []string{"c"}})
	_, err = d.ClusterInfo(ctx)
	wantError(t, err, spec.Failed, "2 keys, 1 values", b.meta.endpoint)
	for name, change := range map[string]func(*wire.QueryConfigResponse){
		"twice":   func(a *wire.QueryConfigResponse) { a.Configs[1].PID.Partition = 0 },
		"beyond":  func(a *wire.QueryConfigResponse) { a.Configs[1].PID.Partition = 9 },
		"missing": func(a *wire.QueryConfigResponse) { a.Configs = a.Configs[:1] },
		"none":    func(a *wire.QueryConfigResponse) { a.Configs, a.Partitions = nil, 0 },
	} {
		b := newBox(t, 2)
		b.configure(change)
		d := open(t, 5*time.Second, b.meta.endpoint)
		_, err := d.Partitions(ctx, boxTable)
		wantError(t, err, spec.Failed, "makes no sense", b.meta.endpoint)
		_, err = d.Set(ctx, boxTable, []byte(name), nil, nil, 0)
		wantError(t, err, spec.Failed, "makes no sense")
	}
}

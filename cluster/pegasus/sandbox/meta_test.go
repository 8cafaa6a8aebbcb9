package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/wire"
)

func (u *user) creating(name string, o wire.CreateAppOptions) string {
	u.t.Helper()
	if o.AppType == "" {
		o.AppType, o.Stateful = appType, true
	}
	return ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: name, Options: o}).Err
}

func TestCreate(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	good := wire.CreateAppOptions{Partitions: 4, Replicas: 3}
	with := func(change func(*wire.CreateAppOptions)) wire.CreateAppOptions {
		o := good
		change(&o)
		return o
	}
	bad := map[string]wire.CreateAppOptions{
		"no partitions":     with(func(o *wire.CreateAppOptions) { o.Partitions = 0 }),
		"negative":          with(func(o *wire.CreateAppOptions) { o.Partitions = -1 }),
		"no replicas":       with(func(o *wire.CreateAppOptions) { o.Replicas = 0 }),
		"six replicas":      with(func(o *wire.CreateAppOptions) { o.Replicas = 6 }),
		"more than nodes":   with(func(o *wire.CreateAppOptions) { o.Replicas = 4 }),
		"an env's value":    with(func(o *wire.CreateAppOptions) { o.Envs = map[string]string{"rocksdb.num_levels": "11"} }),
		"too many of it":    with(func(o *wire.CreateAppOptions) { o.Partitions = 1 << 30 }),
		"there, not the sa": {Partitions: 8, Replicas: 3, SuccessIfExist: true},
	}
	for name, o := range bad {
		if got := u.creating("demo2", o); name != "there, not the sa" && got != wire.CodeInvalidParameters {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := u.creating("demo", good); got != wire.CodeAppExist {
		t.Errorf("a table that is there: %s", got)
	}
	same := with(func(o *wire.CreateAppOptions) { o.SuccessIfExist = true })
	if got := ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: "demo", Options: with(func(o *wire.CreateAppOptions) {
		*o = same
		o.AppType, o.Stateful = appType, true
	})}); got.Err != wire.OK || got.AppID != 2 {
		t.Errorf("the same again: %+v", got)
	}
	same.Partitions = 8
	if got := u.creating("demo", same); got != wire.CodeInvalidParameters {
		t.Errorf("another one of the name: %s", got)
	}
	id := u.create("new", 16, map[string]string{"rocksdb.allow_ingest_behind": "true"})
	for i, p := range u.config("new").Configs {
		if p.PID != (wire.GPID{App: id, Partition: int32(i)}) || p.Ballot < 1 || p.MaxReplicas != 3 || len(p.LastDrops) != 0 {
			t.Errorf("partition %d: %+v", i, p)
		}
	}
}

func TestQueryConfig(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	if a := u.config("nothing"); a.Err != wire.CodeObjectNotFound {
		t.Errorf("an unknown table: %+v", a)
	}
	a := ask(u, &wire.QueryConfig, wire.QueryConfigRequest{AppName: "TableA", Indices: []int32{6, 2, 99, -1}})
	if len(a.Configs) != 2 || a.Configs[0].PID.Partition != 6 || a.Configs[1].PID.Partition != 2 || a.Partitions != 8 {
		t.Errorf("chosen partitions: %+v", a)
	}
}

func TestDrop(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	p := u.config("demo").Configs[0]
	drop := func(name string, o wire.DropAppOptions) string {
		return ask(u, &wire.DropApp, wire.DropAppRequest{AppName: name, Options: o}).Err
	}
	if got := drop("nothing", wire.DropAppOptions{}); got != wire.CodeAppNotExist {
		t.Errorf("an unknown table: %s", got)
	}
	if got := drop("nothing", wire.DropAppOptions{SuccessIfNotExist: true}); got != wire.OK {
		t.Errorf("an unknown table, which is fine: %s", got)
	}
	reserve := int64(100)
	if got := drop("demo", wire.DropAppOptions{ReserveSeconds: &reserve}); got != wire.OK {
		t.Fatal(got)
	}
	if a := u.config("demo"); a.Err != wire.CodeObjectNotFound {
		t.Errorf("a dropped table: %+v", a)
	}
	if _, err := try(u, p.Primary.String(), &wire.Get, p.PID, key("h", "s")); err == nil || err.Error() != wire.CodeObjectNotFound {
		t.Errorf("a row of a dropped table: %v", err)
	}
	gone := ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppDropped}).Apps
	if len(gone) != 1 || gone[0].Name != "demo" || gone[0].ExpireSecond-gone[0].DropSecond != reserve || gone[0].DropSecond == 0 {
		t.Errorf("dropped tables: %+v", gone)
	}
	if id := u.create("demo", 2, nil); id != 3 {
		t.Errorf("the name is free again, the id is %d", id)
	}
	if all := ask(u, &wire.ListApps, wire.ListAppsRequest{}).Apps; len(all) != 3 {
		t.Errorf("all tables: %+v", all)
	}
}

func TestEnvs(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	set := func(table string, pairs ...string) wire.HintResponse {
		q := wire.UpdateAppEnvRequest{AppName: table, Op: wire.EnvSet}
		for i := 0; i+1 < len(pairs); i += 2 {
			q.Keys, q.Values = append(q.Keys, pairs[i]), append(q.Values, pairs[i+1])
		}
		return ask(u, &wire.UpdateAppEnv, q)
	}
	envs := func() map[string]string {
		return ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable}).Apps[1].Envs
	}
	for _, pair := range [][2]string{
		{"no.such.env", "1"},
		{"default_ttl", "-1"},
		{"default_ttl", "x"},
		{"rocksdb.usage_scenario", "fast"},
		{"replica.deny_client_request", "reconfig"},
		{"replica.write_throttling", "10"},
		{"replica.write_throttling", "1*delay*1,2*delay*2"},
		{"replica.write_throttling", "x*delay*1"},
		{"replica.slow_query_threshold", "19"},
		{"rocksdb.write_buffer_size", "1"},
	} {
		if a := set("demo", pair[0], pair[1]); a.Err != wire.CodeInvalidParameters || !strings.Contains(a.Hint, pair[0]) {
			t.Errorf("%s=%s: %+v", pair[0], pair[1], a)
		}
	}
	if a := set("demo", "default_ttl", "1", "no.such.env", "1"); a.Err != wire.CodeInvalidParameters || len(envs()) != 0 {
		t.Errorf("one bad env of two: %+v, envs %v", a, envs())
	}
	if a := set("nothing", "default_ttl", "1"); a.Err != wire.CodeInvalidParameters || a.Hint == "" {
		t.Errorf("an unknown table: %+v", a)
	}
	if a := set("demo", "manual_compact.disabled", "true", "manual_compact.once.target_level", "-1", "replica.write_throttling", "20K*delay*100,1M*reject*200"); a.Err != wire.OK {
		t.Errorf("good envs: %+v", a)
	}
	prefix := "manual_compact.once"
	if a := ask(u, &wire.UpdateAppEnv, wire.UpdateAppEnvRequest{AppName: "demo", Op: wire.EnvClear, ClearPrefix: &prefix}); a.Err != wire.OK || len(envs()) != 2 {
		t.Errorf("clear by prefix: %+v, envs %v", a, envs())
	}
	del := wire.UpdateAppEnvRequest{AppName: "demo", Op: wire.EnvDelete, Keys: []string{"manual_compact.disabled", "default_ttl"}}
	if a := ask(u, &wire.UpdateAppEnv, del); a.Err != wire.OK || !strings.Contains(a.Hint, "manual_compact.disabled") || strings.Contains(a.Hint, "default_ttl") {
		t.Errorf("delete: %+v", a)
	}
	if got := envs(); len(got) != 1 || got["replica.write_throttling"] == "" {
		t.Errorf("envs left: %v", got)
	}
	if a := ask(u, &wire.UpdateAppEnv, wire.UpdateAppEnvRequest{AppName: "demo", Op: wire.EnvSet}); a.Err != wire.CodeInvalidParameters {
		t.Errorf("setting nothing: %+v", a)
	}
}

func TestClusterCalls(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	info := ask(u, &wire.ClusterInfo, struct{}{})
	want := "meta_servers primary_meta_server zookeeper_hosts zookeeper_root meta_function_level balance_operation_count " +
		"primary_replica_count_stddev total_replica_count_stddev cluster_name"
	if strings.Join(info.Keys, " ") != want || len(info.Values) != 9 || info.Values[8] != "onebox" || info.Values[4] != "steady" {
		t.Errorf("cluster_info: %v", info)
	}
	nodes := ask(u, &wire.ListNodes, wire.ListNodesRequest{}).Nodes
	if len(nodes) != 3 || nodes[0].Node.String() != u.c.nodeAt[0] || nodes[0].Status != wire.NodeAlive {
		t.Errorf("nodes: %v", nodes)
	}
	if dead := ask(u, &wire.ListNodes, wire.ListNodesRequest{Status: wire.NodeUnalive}).Nodes; len(dead) != 0 {
		t.Errorf("dead nodes: %v", dead)
	}
	for _, address := range append([]string{u.c.metaAt}, u.c.nodeAt...) {
		for name, want := range map[string]string{"server-info": "sandbox", "nonsense": "unknown command 'nonsense'", "help": "server-info"} {
			if text, err := try(u, address, &wire.CallCommand, wire.GPID{}, wire.Command{Name: name}); err != nil || !strings.Contains(text, want) {
				t.Errorf("%s on %s: %q, %v", name, address, text, err)
			}
		}
		if a, err := try(u, address, &wire.Negotiate, wire.GPID{}, wire.Negotiation{Status: wire.AuthListMechanisms}); err != nil || a.Status != wire.AuthDisable {
			t.Errorf("negotiation with %s: %+v, %v", address, a, err)
		}
	}
	replicas, err := try(u, u.c.nodeAt[1], &wire.QueryReplicaInfo, wire.GPID{}, wire.QueryNodeRequest{})
	primaries := slices.DeleteFunc(slices.Clone(replicas.Replicas), func(r wire.ReplicaInfo) bool { return r.Status != wire.ReplicaPrimary })
	if err != nil || len(replicas.Replicas) != 12 || len(primaries) != 4 {
		t.Errorf("replicas of a node: %d, %d of them primaries, %v", len(replicas.Replicas), len(primaries), err)
	}
	apps, err := try(u, u.c.nodeAt[1], &wire.QueryAppInfo, wire.GPID{}, wire.QueryNodeRequest{})
	if err != nil || len(apps.Apps) != 2 || apps.Apps[0].Name != "TableA" || apps.Apps[0].Partitions != 8 {
		t.Errorf("tables of a node: %+v, %v", apps, err)
	}
}

func TestMetaLevel(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	level := func(l wire.MetaLevel) string {
		a := ask(u, &wire.ControlMeta, wire.ControlMetaRequest{Level: l})
		return fmt.Sprint(a.Err, " ", a.OldLevel)
	}
	if got := level(wire.LevelInvalid); got != "ERR_OK steady" {
		t.Error(got)
	}
	if got := level(wire.LevelFreezed); got != "ERR_OK steady" {
		t.Error(got)
	}
	if got := level(wire.LevelInvalid); got != "ERR_OK freezed" {
		t.Error(got)
	}
	if got := u.creating("t", wire.CreateAppOptions{Partitions: 4, Replicas: 3}); got != wire.CodeStateFreezed {
		t.Errorf("create at freezed: %s", got)
	}
	if got := level(77); got != "ERR_INVALID_PARAMETERS freezed" {
		t.Error(got)
	}
}

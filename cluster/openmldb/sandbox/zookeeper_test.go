//go:build integration

package sandbox

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/sandbox/coord"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// On a real ZooKeeper everybody finds the cluster there, and it fails over by the sessions that end there.
func TestZooKeeper(t *testing.T) {
	server := os.Getenv("SHARDSH_TEST_ZOOKEEPER")
	if server == "" {
		t.Fatal("SHARDSH_TEST_ZOOKEEPER is not set: this test needs a ZooKeeper, see .ci/servers/README.md")
	}
	root := fmt.Sprintf("/sandbox%d/openmldb", time.Now().UnixNano())
	settings := map[string]string{"zk": server + root}
	dir := t.TempDir()
	c := run(t, dir, settings)
	if got := c.Address(); got != "zk://"+server+root {
		t.Errorf("address %s", got)
	}
	own, err := (&coord.ZooKeeper{Servers: []string{server}, Path: root, Timeout: 4 * time.Second}).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	names, err := own.Children(root + "/leader")
	if err != nil || len(names) != 2 || !strings.HasPrefix(names[0], "lock_request") {
		t.Errorf("leader: %v, %v", names, err)
	}
	if names, err := own.Children(root + "/nodes"); err != nil || !slices.Equal(names, c.tabletAt[:tablets]) {
		t.Errorf("nodes: %v, %v", names, err)
	}
	u := newUser(t, c)
	u.do(c.Pause(t.Context(), c.nsAt[0]))
	u.eventually("the other nameserver leads", func() bool { return c.ns[1].Leads() })
	u.do(c.Start(t.Context(), c.nsAt[0]))
	victim := c.tabletAt[1]
	u.do(c.Kill(t.Context(), victim))
	u.eventually("it is failed over", func() bool { return !strings.Contains(leaders(c, u.flow()), "tablet2") })
	u.do(c.Start(t.Context(), victim))
	u.becomesWhole()
	u.over()
	u.eventually("the nameserver that was paused stands in line again", func() bool {
		names, err := own.Children(root + "/leader")
		return err == nil && len(names) == 2
	})

	if other, err := start(t.Context(), sandbox.Config{Name: "openmldb", Dir: t.TempDir(), Net: netOf(t), Settings: settings}); spec.KindOf(err) != spec.Refused {
		t.Errorf("a second cluster at the same place: %v, %v", other, err)
	}
	if names, err := own.Children(root + "/leader"); err != nil || len(names) != 2 { // it has touched nothing
		t.Errorf("leader: %v, %v", names, err)
	}
	if names, err := own.Children(root + "/nodes"); err != nil || !slices.Equal(names, c.tabletAt[:tablets]) {
		t.Errorf("nodes: %v, %v", names, err)
	}
	u.order("CreateDatabase", &ns.CreateDatabaseRequest{Db: proto.String("d")})
	u.close()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = run(t, dir, settings)
	u = newUser(t, c)
	u.order("UseDatabase", &ns.UseDatabaseRequest{Db: proto.String("d")})
	u.becomesWhole()
}

// netOf takes a network for the time of a test.
func netOf(t *testing.T) *sandbox.Network {
	t.Helper()
	network, err := sandbox.TakeNetwork(1, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = network.Close() })
	return network
}

// Two clusters on one ZooKeeper find each other.
func TestPair(t *testing.T) {
	server := os.Getenv("SHARDSH_TEST_ZOOKEEPER")
	if server == "" {
		t.Fatal("SHARDSH_TEST_ZOOKEEPER is not set: this test needs a ZooKeeper, see .ci/servers/README.md")
	}
	base := fmt.Sprintf("/pair%d", time.Now().UnixNano())
	leading := newUser(t, run(t, "", map[string]string{"zk": server + base + "/a"}))
	following := newUser(t, run(t, "", map[string]string{"zk": server + base + "/b"}))
	s := proto.String
	leading.order("SwitchMode", &ns.SwitchModeRequest{Sm: ns.ServerMode_kLEADER.Enum()})
	leading.order("AddReplicaCluster", &ns.ClusterAddress{Alias: s("b"), ZkEndpoints: &server, ZkPath: s(base + "/b")})
	leading.refused(400, "replica cluster alias duplicate", "AddReplicaCluster", &ns.ClusterAddress{Alias: s("b"), ZkEndpoints: &server, ZkPath: s(base + "/b")})
	var all ns.ShowReplicaClusterResponse
	leading.must("ShowReplicaCluster", &ns.GeneralRequest{}, &all)
	if len(all.GetReplicas()) != 1 || all.GetReplicas()[0].GetState() != "kClusterHealthy" || all.GetReplicas()[0].GetReplica().GetAlias() != "b" {
		t.Errorf("replica clusters: %v", &all)
	}
	leading.refused(410, "zone not empty", "SwitchMode", &ns.SwitchModeRequest{Sm: ns.ServerMode_kNORMAL.Enum()})
	following.refused(453, "is follower cluster", "CreateDatabase", &ns.CreateDatabaseRequest{Db: s("d")})
	leading.order("RemoveReplicaCluster", &ns.RemoveReplicaOfRequest{Alias: s("b")})
	following.order("CreateDatabase", &ns.CreateDatabaseRequest{Db: s("d")})
	leading.order("SwitchMode", &ns.SwitchModeRequest{Sm: ns.ServerMode_kNORMAL.Enum()})
}

package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// A sandbox that is opened again has what it had, on whatever addresses it finds itself.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, network := runOn(t, sandbox.Config{Name: "openmldb", Dir: dir, Log: t.Logf})
	u := newUser(t, c)
	u.autoFailover(false)
	u.order("CreateDatabase", &ns.CreateDatabaseRequest{Db: proto.String("d")})
	u.order("CreateTable", create("d", "t", 3, 2))
	u.do(u.put("card1", firstRow+5e9))
	u.do(c.Break(t.Context(), "tablet.task:make-snapshot", 1))
	u.order("MakeSnapshotNS", &ns.MakeSnapshotNSRequest{Name: proto.String("flow"), Pid: proto.Uint32(0)})
	failed := u.over()
	u.order("SetSdkEndpoint", &ns.SetSdkEndpointRequest{ServerName: &c.tabletAt[0], SdkEndpoint: proto.String("host:1")})
	u.order("UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: proto.String("flow"), Endpoint: &c.tabletAt[1], Pid: proto.Uint32(1), IsAlive: proto.Bool(false)})
	u.eventually("followers have the row", func() bool { return whole(u.table("d", "t"), u.table(demoDB, "orders")) })
	u.eventually("who is alive has what the leader has", func() bool { return level(u.flow()) })
	before := lines(c, u.flow())
	rows := u.count(leaderAt(u.flow(), 0), 0, "card1") + u.count(leaderAt(u.flow(), 1), 1, "card1")
	u.close()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	was := c.nsAt[0]

	for round := range 2 {
		c, next := runOn(t, sandbox.Config{Name: "openmldb", Dir: dir, Log: t.Logf})
		if round == 0 { // the first network is held until the second one was taken
			if err := network.Close(); err != nil || c.nsAt[0] == was {
				t.Errorf("it is on %s again, %v", was, err)
			}
		}
		u := newUser(t, c)
		var conf ns.ConfGetResponse
		u.must("ConfGet", &ns.ConfGetRequest{}, &conf)
		if conf.GetConf()[0].GetValue() != "false" {
			t.Errorf("settings: %v", &conf)
		}
		u.eventually("flow is as it was", func() bool {
			now := lines(c, u.flow())
			for i := range now { // the offset of the one that is not alive is not known
				if strings.Contains(now[i], " no ") {
					now[i] = before[i]
				}
			}
			return slices.Equal(now, before)
		})
		if n := u.count(leaderAt(u.flow(), 0), 0, "card1") + u.count(leaderAt(u.flow(), 1), 1, "card1"); n != rows || n != 11 {
			t.Errorf("%d rows of card1, %d before", n, rows)
		}
		u.eventually("the others are whole", func() bool { return whole(u.table("d", "t"), u.table(demoDB, "orders")) })
		if got := u.ops(); len(got) != 1 || got[0].GetOpId() != failed[0].GetOpId() || got[0].GetStatus() != "kFailed" {
			t.Errorf("operations: %v", got)
		}
		var sdk ns.ShowSdkEndpointResponse
		u.must("ShowSdkEndpoint", &ns.ShowSdkEndpointRequest{}, &sdk)
		if len(sdk.GetTablets()) != 1 || sdk.GetTablets()[0].GetEndpoint() != c.tabletAt[0] {
			t.Errorf("SDK endpoints: %v", &sdk)
		}
		u.close()
		if err := errors.Join(c.Close(), next.Close()); err != nil {
			t.Error(err)
		}
	}
}

// The names and operations of 2018, as the documents' session has them.
func TestRelease2018(t *testing.T) {
	t.Parallel()
	c := runAs(t, release2018)
	u := newUser(t, c)
	if all := u.all(); len(all) != 2 {
		t.Errorf("tables: %v", all)
	}
	var tablets ns.ShowTabletResponse
	u.must("ShowTablet", &ns.ShowTabletRequest{}, &tablets)
	if got := tablets.GetTablets()[0]; got.GetState() != "kTabletHealthy" || got.RealEndpoint != nil {
		t.Errorf("tablet: %v", got)
	}
	victim := c.tabletAt[0]
	leader := leaderAt(u.flow(), 0)
	if leader != victim {
		victim = leader
	}
	u.do(c.Kill(t.Context(), victim))
	u.eventually("it is kTabletOffline", func() bool {
		u.must("ShowTablet", &ns.ShowTabletRequest{}, &tablets)
		return slices.ContainsFunc(tablets.GetTablets(), func(s *ns.TabletStatus) bool { return s.GetState() == "kTabletOffline" })
	})
	u.eventually("it is failed over", func() bool { return leaderAt(u.flow(), 0) != victim })
	u.do(c.Start(t.Context(), victim))
	u.becomesWhole()
	kinds := map[string]int{}
	for _, o := range u.over() {
		if o.GetName() == "flow" {
			kinds[o.GetOpType()]++
		}
		if o.ForReplicaCluster != nil {
			t.Errorf("a field of later years: %v", o)
		}
	}
	for _, kind := range []string{"kUpdateTableAliveOP", "kChangeLeaderOP", "kOfflineReplicaOP", "kRecoverTableOP", "kReAddReplicaOP"} {
		if kinds[kind] == 0 {
			t.Errorf("there is no %s among %v", kind, kinds)
		}
	}
	u.autoFailover(false)
	n := len(u.ops())
	u.order("UpdateTableAliveStatus", &ns.UpdateTableAliveRequest{Name: proto.String("flow"), Endpoint: &victim, IsAlive: proto.Bool(false)})
	got := opLines(u.over()[n:], "flow")
	if !slices.Equal(got, []string{"kUpdateTableAliveOP 0 kDone", "kUpdateTableAliveOP 1 kDone"}) {
		t.Errorf("updatetablealive: %q", got)
	}
	if all := lines(c, u.flow()); !strings.Contains(strings.Join(all, "\n"), " no ") {
		t.Errorf("flow is %q", all)
	}
}

// Settings that cannot be are refused before anything is made.
func TestSettings(t *testing.T) {
	for _, settings := range []map[string]string{
		{"zk": "10.1.2.3:2181"}, {"zk": "127.0.0.1"}, {"zk": "127.0.0.1:2181/a//b"}, {"strict": "perhaps"}, {"other": "1"},
	} {
		dir := t.TempDir()
		if c, err := start(t.Context(), sandbox.Config{Name: "openmldb", Dir: dir, Settings: settings}); spec.KindOf(err) != spec.Usage {
			t.Errorf("%v: %v, %v", settings, c, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
			t.Errorf("%v: %v, %v", settings, files, err)
		}
	}
	s, err := readSettings(map[string]string{"zk": "zk://127.0.0.1:2181,localhost:2182/a/b/"}, "")
	if err != nil || s.root != "/a/b" || !slices.Equal(s.zk, []string{"127.0.0.1:2181", "localhost:2182"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if (&cluster{settings: s}).Address() != "zk://127.0.0.1:2181,localhost:2182/a/b" {
		t.Error("the address differs")
	}
}

// A port that somebody has leaves the directory as it was.
func TestPortTaken(t *testing.T) {
	network, err := sandbox.TakeNetwork(1, "")
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	at, err := network.Address(tabletHost+2, tabletPort)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(at, "127.0.0.1:") {
		t.Skip("with one loopback address every cluster gets free ports")
	}
	taken, err := net.Listen("tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	if c, err := start(t.Context(), sandbox.Config{Name: "openmldb", Dir: dir, Net: network}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v, %v", c, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 0 {
		t.Errorf("%v, %v", files, err)
	}
}

// The two calls that the store's own scripts make over HTTP.
func TestScripts(t *testing.T) {
	t.Parallel()
	c := run(t, "", nil)
	post := func(at, path, body string) map[string]any {
		t.Helper()
		q, err := http.NewRequest(http.MethodPost, "http://"+at+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "sdefault")
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		if err != nil || a.StatusCode != 200 {
			t.Fatalf("%s: %s %s, %v", path, a.Status, text, err)
		}
		var got map[string]any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("%s: %s, %v", path, text, err)
		}
		return got
	}
	got := post(c.nsAt[0], "/NameServer/ShowTable", `{"db":"demo_db","name":"orders"}`)
	tables, _ := got["table_info"].([]any)
	if len(tables) != 1 || got["code"] != json.Number("0") {
		t.Fatalf("ShowTable: %v", got)
	}
	orders, _ := tables[0].(map[string]any)
	if orders["name"] != "orders" || orders["storage_mode"] != nil || orders["tid"] != json.Number("8") {
		t.Errorf("orders: %v", orders)
	}
	u := newUser(t, c)
	u.onTablet(c.tabletAt[0], "DropTable", &api.DropTableRequest{Tid: proto.Int32(99), Pid: proto.Int32(0)}, &api.DropTableResponse{})
	got = post(c.tabletAt[0], "/TabletServer/LoadTable", `{"table_meta":{"name":"none","tid":99,"pid":0,"seg_cnt":8,"mode":"kTableLeader"}}`)
	if got["code"] == nil {
		t.Errorf("LoadTable: %v", got)
	}
}

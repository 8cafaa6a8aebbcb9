//go:build integration && !windows

package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// keeper is the ZooKeeper that the run has started, and the root of one cluster in it.
type keeper struct {
	t      *testing.T
	server string
	root   string
	conn   *zk.Conn
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	k := &keeper{t: t, server: os.Getenv("SHARDSH_TEST_ZOOKEEPER"), root: fmt.Sprintf("/%s%d/box", t.Name(), time.Now().UnixNano())}
	if k.server == "" {
		t.Fatal("SHARDSH_TEST_ZOOKEEPER is not set: this test needs a ZooKeeper, see .ci/servers/README.md")
	}
	conn, events, err := zk.Connect([]string{k.server}, 4*time.Second, zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for range events {
		}
	}()
	t.Cleanup(conn.Close)
	k.conn = conn
	return k
}

// ephemerals lists the nodes below a path that end with their sessions, and counts all.
func (k *keeper) ephemerals(at string) (paths []string, nodes int) {
	k.t.Helper()
	exists, stat, err := k.conn.Exists(at)
	if err != nil {
		k.t.Fatal(at, err)
	}
	if !exists {
		return nil, 0
	}
	if stat.EphemeralOwner != 0 {
		return []string{at}, 1
	}
	names, _, err := k.conn.Children(at)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		k.t.Fatal(at, err)
	}
	nodes = 1
	for _, name := range names {
		some, n := k.ephemerals(at + "/" + name)
		paths, nodes = append(paths, some...), nodes+n
	}
	return paths, nodes
}

func (k *keeper) serve(dir string) *served {
	k.t.Helper()
	return serveAs(k.t, dir, "--zk", k.server+k.root, "openmldb")
}

// rows runs one line that answers a table.
func rows[T any](s *served, line string) []T {
	s.t.Helper()
	return parsed[T](s.t, line, s.must(line+"\n"))
}

func parsed[T any](t *testing.T, line, out string) (all []T) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return all
}

type (
	nsRow      struct{ Endpoint, Role string }
	stepRow    struct{ Step, Object, Outcome, Detail string }
	replicaRow struct {
		Name, DB, Endpoint, Role string
		Pid                      int
		Alive                    bool `json:"is_alive"`
	}
	opRow struct {
		ID     int    `json:"op_id"`
		Type   string `json:"op_type"`
		Name   string
		Pid    int
		Status string
	}
)

// roles are the endpoints of the nameserver that leads and of those that wait.
func (s *served) roles() (leader string, standby []string) {
	s.t.Helper()
	for _, n := range rows[nsRow](s, "showns") {
		if n.Role == "leader" {
			leader = n.Endpoint
		} else {
			standby = append(standby, n.Endpoint)
		}
	}
	return leader, standby
}

// off answers the replicas on a tablet that do not count as alive, as "db/name/pid".
func off(all []replicaRow, tablet string) (places []string) {
	for _, r := range all {
		if !r.Alive && strings.HasSuffix(r.Endpoint, tablet) {
			places = append(places, strings.TrimPrefix(fmt.Sprintf("%s/%s/%d", r.DB, r.Name, r.Pid), "/"))
		}
	}
	slices.Sort(places)
	return places
}

const showAll = "showtable --hidden"

// TestNameserverDiesWhileItRecovers: shells find the cluster in a real ZooKeeper; the leading nameserver dies in the
// middle of a recovery, and they follow its successor to the end, which is told truly, partition by partition.
func TestNameserverDiesWhileItRecovers(t *testing.T) {
	k := newKeeper(t)
	dir := t.TempDir()
	s := k.serve(dir)
	if config, err := os.ReadFile(s.config); err != nil || !strings.Contains(string(config), "openmldb = zk://"+k.server+k.root+"\n") {
		t.Fatalf("%v: %s", err, config)
	}
	first, standby := s.roles()
	if first == "" || len(standby) != 1 {
		t.Fatalf("%s leads, %v wait", first, standby)
	}
	other := s.open() // a shell that was there before
	other.enter("showtablet")
	asked := func(who string) func() bool {
		return func() bool { return strings.Contains(other.err.String(), who+" nameserver.ShowTablet") }
	}
	eventually(t, "the other shell asks the leader", asked(first))

	s.must("confset auto_failover false --yes\n")
	for _, step := range rows[stepRow](s, "offlineendpoint .32:8541 --yes") {
		if step.Outcome != "done" {
			t.Errorf("offlineendpoint: %+v", step)
		}
	}
	out := off(rows[replicaRow](s, showAll), ".32:8541")
	if len(out) < 4 {
		t.Fatalf("only %v is out of service", out)
	}

	s.must("sandbox break ns.op:3 --yes\n")
	steps := rows[stepRow](s, "recoverendpoint .32:8541 --yes")
	if leader, standby := s.roles(); leader == first || slices.Contains(standby, first) {
		t.Fatalf("%s leads and %v wait: nobody died in the middle of it", leader, standby)
	}
	var told []string
	for _, step := range steps[1:] {
		// The successor knows nothing of what was over before its time: at least the last operation is named.
		if step.Outcome != "done" || !strings.Contains(step.Detail, ".32:8541 is alive") || !strings.Contains(step.Detail, ": op ") {
			t.Errorf("%+v", step)
		}
		told = append(told, step.Object)
	}
	slices.Sort(told)
	if !slices.Equal(told, out) {
		t.Errorf("told of %v, and %v were out of service", told, out)
	}
	if left := off(rows[replicaRow](s, showAll), ""); len(left) > 0 {
		t.Errorf("not alive: %v", left)
	}
	for _, op := range rows[opRow](s, "showopstatus") {
		if op.Status != "kDone" {
			t.Errorf("%+v", op)
		}
	}
	second, _ := s.roles()
	other.enter("showtablet")
	eventually(t, "the other shell asks the successor", asked(second))

	s.must("sandbox start " + first + "\n")
	eventually(t, "the dead one waits for its turn", func() bool {
		leader, standby := s.roles()
		return leader == second && slices.Equal(standby, []string{first})
	})
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if left, nodes := k.ephemerals(k.root); len(left) > 0 || nodes < 10 {
		t.Errorf("of %d nodes these are left of sessions: %v", nodes, left)
	}
	if _, err := s.shell("showtablet\n"); err == nil || !strings.Contains(err.Error(), k.root) {
		t.Errorf("nobody is there: %v", err)
	}
}

// TestPartitionThatIsNotRecovered: with nobody to take over, what was not done is not said to be.
func TestPartitionThatIsNotRecovered(t *testing.T) {
	k := newKeeper(t)
	s := k.serve(t.TempDir())
	leader, standby := s.roles()
	s.must("confset auto_failover false --yes\nofflineendpoint .32:8541 --yes\n")
	out := off(rows[replicaRow](s, showAll), ".32:8541")
	s.must("sandbox kill " + standby[0] + "\nsandbox break ns.op:3 --yes\n")
	const line = "recoverendpoint .32:8541 --yes"
	text, err := s.shell(line + "\n")
	if err == nil || !strings.HasPrefix(err.Error(), "exit status 6:") {
		t.Fatalf("%v: %s", err, text)
	}
	steps := parsed[stepRow](t, line, text)
	s.must("sandbox start " + leader + "\n")
	eventually(t, "it goes on where it was", func() bool { return len(off(rows[replicaRow](s, showAll), "")) == 0 })
	unknown := 0
	for _, step := range steps[1:] {
		if !slices.Contains(out, step.Object) || step.Outcome != "done" && step.Outcome != "unknown" && step.Outcome != "not run" {
			t.Errorf("%+v", step)
		}
		if step.Outcome == "unknown" {
			unknown++
		}
	}
	if unknown != 1 {
		t.Errorf("of one partition nobody could say what became of it: %+v", steps)
	}
}

// TestKilledOnZooKeeper: a sandbox that is killed leaves sessions, which end by themselves; the next run does not wait
// for somebody to clean up, and has every row.
func TestKilledOnZooKeeper(t *testing.T) {
	k := newKeeper(t)
	dir := t.TempDir()
	s := k.serve(dir)
	before := s.must("count flow card0\n")
	s.kill()
	if left, _ := k.ephemerals(k.root); len(left) == 0 {
		t.Error("a killed process ended its sessions")
	}
	s = k.serve(dir)
	if after := s.must("count flow card0\n"); after != before {
		t.Errorf("count is %s and was %s", after, before)
	}
	s.kill()
	eventually(t, "the sessions of the killed end", func() bool {
		left, _ := k.ephemerals(k.root)
		return len(left) == 0
	})
}

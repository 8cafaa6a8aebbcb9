package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"

	"shardsh/cluster/pegasus/wire"
)

// lineOn is the program with one line to run on a cluster.
func lineOn(t testing.TB, address, format, line string) (cmd *exec.Cmd, errs *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	cmd = exec.Command(program, "--cluster", address, "-o", format, "-e", line)
	cmd.Env, cmd.Dir, errs = append(os.Environ(), isolated(dir)...), dir, &bytes.Buffer{}
	cmd.Stderr = errs
	return cmd, errs
}

// answers runs a line, demands its exit code, and reads its JSON.
func answers[T any](t *testing.T, f *fleet, line string, exit int) (got T) {
	t.Helper()
	cmd, errs := lineOn(t, f.address(), "json", line)
	out, err := cmd.Output()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exit {
		t.Fatalf("%s: %v, want exit %d: %s", line, err, exit, errs)
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return got
}

// allow fails when a word made other calls than these, or more of them.
func (f *fleet) allow(t *testing.T, word string, most map[string]int) {
	t.Helper()
	for call, n := range f.counted() {
		if n > most[call] {
			t.Errorf("%s called %s %d times; at most %d", word, call, n, most[call])
		}
	}
}

// few are the calls that describe the cluster, however large it is.
func (f *fleet) few(more map[string]int) map[string]int {
	most := map[string]int{
		wire.ListApps.Name: 3, wire.ListNodes.Name: 3, wire.ClusterInfo.Name: 3, wire.ControlMeta.Name: 1, wire.CallCommand.Name: 1,
	}
	maps.Copy(most, more)
	return most
}

// examined are doctor's: each table's partitions and backups, each node's disks, and none to a node for its decrees.
func (f *fleet) examined() map[string]int {
	return map[string]int{
		wire.QueryConfig.Name: f.tables, wire.QueryBackup.Name: f.tables, wire.QueryPolicy.Name: 1, wire.QueryDisk.Name: f.shape.nodes,
	}
}

// TestFleet: every replica of many tables is listed as it is, and no word costs a call for each partition.
func TestFleet(t *testing.T) {
	f := newFleet(t, shape{tables: 20, nodes: 40, seed: 1})
	perTable := map[string]int{wire.QueryConfig.Name: f.tables}
	perBoth := map[string]int{wire.QueryConfig.Name: f.tables, wire.QueryReplicaInfo.Name: f.shape.nodes}

	f.counted()
	tables := answers[[]fleetTable](t, f, "ls", 0)
	f.allow(t, "ls", f.few(nil))
	for i, a := range f.apps {
		if want := (fleetTable{a.ID, a.Name, int(a.Partitions)}); i >= len(tables) || tables[i] != want {
			t.Fatalf("table %d is not listed as %+v", i, want)
		}
	}

	detailed := answers[fleetDetails](t, f, "ls -d", 0)
	f.allow(t, "ls -d", f.few(perTable))
	if got := detailed.Summary.Healthy; len(detailed.General) != f.tables || got != f.tables {
		t.Errorf("ls -d lists %d tables, %d of them healthy; want %d", len(detailed.General), got, f.tables)
	}

	answers[[]map[string]any](t, f, "nodes -d", 0)
	f.allow(t, "nodes -d", f.few(perTable))

	rows := answers[[]fleetRow](t, f, "showtable", 0)
	f.allow(t, "showtable", f.few(perBoth))
	f.compare(t, rows)

	d := answers[fleetDoctor](t, f, "doctor", 0)
	f.allow(t, "doctor", f.few(f.examined()))
	want := fleetVerdict{true, 40, 40, f.tables, f.partitions(), "any 1 of 40 nodes"}
	if d.Verdict != want {
		t.Errorf("the verdict is %+v, want %+v", d.Verdict, want)
	}
	if worst := f.worstPair(); len(d.Losses) == 0 || d.Losses[0].Partitions != worst {
		t.Errorf("the worst loss is %+v, want %d partitions", d.Losses, worst)
	}
}

// TestFleetNodeDown: doctor counts what a dead node leaves behind, and a dead node costs no call for each partition.
func TestFleetNodeDown(t *testing.T) {
	f := newFleet(t, shape{tables: 10, nodes: 20, down: 1, seed: 2})
	f.counted()
	d := answers[fleetDoctor](t, f, "doctor", 7)
	f.allow(t, "doctor", f.few(f.examined()))
	want := fleetVerdict{false, 20, 19, f.tables, f.partitions(), "nothing: each node listed below is needed"}
	if d.Verdict != want {
		t.Errorf("the verdict is %+v, want %+v", d.Verdict, want)
	}
	found := map[string]string{}
	for _, finding := range d.Findings {
		found[finding.Kind+" "+finding.Object] = finding.What
	}
	for i, configs := range f.configs {
		short := 0
		for _, c := range configs {
			if len(c.Secondaries) < copies-1 {
				short++
			}
		}
		prefix := fmt.Sprintf("%d of %d partitions: fewer live replicas", short, len(configs))
		if what, is := found["few_replicas "+f.apps[i].Name]; is != (short > 0) || is && what[:len(prefix)] != prefix {
			t.Errorf("%s: %q, want %q", f.apps[i].Name, what, prefix)
		}
	}
	if found["node_down "+f.addresses[0].String()] == "" {
		t.Errorf("the dead node is not among %v", found)
	}
}

type fleetTable struct {
	ID         int32  `json:"app_id"`
	Name       string `json:"app_name"`
	Partitions int    `json:"partition_count"`
}

type fleetDetails struct {
	General []fleetTable `json:"general_info"`
	Summary struct {
		Healthy int `json:"fully_healthy_app_count"`
	} `json:"summary"`
}

type fleetRow struct {
	Table     string `json:"name"`
	ID        int32  `json:"tid"`
	Partition int32  `json:"pid"`
	Endpoint  string `json:"endpoint"`
	Role      string `json:"role"`
	Alive     bool   `json:"is_alive"`
	Offset    int64  `json:"offset"`
	Ballot    int64  `json:"ballot"`
}

type fleetVerdict struct {
	Healthy    bool   `json:"healthy"`
	Nodes      int    `json:"nodes"`
	Alive      int    `json:"alive"`
	Tables     int    `json:"tables"`
	Partitions int    `json:"partitions"`
	MayFail    string `json:"may_fail"`
}

type fleetDoctor struct {
	Verdict  fleetVerdict `json:"verdict"`
	Findings []struct {
		Kind   string `json:"finding"`
		Object string `json:"object"`
		What   string `json:"what"`
	} `json:"findings"`
	Losses []struct {
		Nodes      []string `json:"nodes"`
		Partitions int      `json:"partitions"`
	} `json:"must_not_fail_together"`
}

// compare demands a row for every replica, in order.
func (f *fleet) compare(t *testing.T, rows []fleetRow) {
	t.Helper()
	var want []fleetRow
	for i, configs := range f.configs {
		for _, c := range configs {
			row := fleetRow{Table: f.apps[i].Name, ID: c.PID.App, Partition: c.PID.Partition, Alive: true, Ballot: c.Ballot}
			for n, address := range append([]wire.Address{c.Primary}, c.Secondaries...) {
				row.Role, row.Endpoint = "secondary", address.String()
				if n == 0 {
					row.Role = "primary"
				}
				row.Offset = f.decree(address, c.PID)
				want = append(want, row)
			}
		}
	}
	if len(rows) != len(want) {
		t.Fatalf("showtable has %d rows, want %d", len(rows), len(want))
	}
	for i := range want {
		if rows[i] != want[i] {
			t.Fatalf("row %d is %+v, want %+v", i, rows[i], want[i])
		}
	}
}

func (f *fleet) decree(on wire.Address, gpid wire.GPID) int64 {
	held := f.held[slices.Index(f.addresses, on)]
	return held[slices.IndexFunc(held, func(r wire.ReplicaInfo) bool { return r.PID == gpid })].LastCommitted
}

// worstPair is the most partitions that lose two of their three copies when two nodes fail.
func (f *fleet) worstPair() (worst int) {
	on := make([]map[wire.GPID]bool, len(f.held))
	for n, held := range f.held {
		on[n] = map[wire.GPID]bool{}
		for _, r := range held {
			on[n][r.PID] = true
		}
	}
	for a := range on {
		for b := range a {
			both := 0
			for gpid := range on[a] {
				if on[b][gpid] {
					both++
				}
			}
			worst = max(worst, both)
		}
	}
	return worst
}

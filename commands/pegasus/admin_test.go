package pegasus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// state runs the Check of a plan's first step.
func state(t *testing.T, p *spec.Plan) spec.State {
	t.Helper()
	s, err := p.Steps[0].Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCreateFindsWhatIsThere(t *testing.T) {
	envs := "business.info=x y,default_ttl=0"
	for _, c := range []struct {
		name  string
		table string
		flags map[string]string
		want  spec.StateKind
		why   string
	}{
		{"new", "logs", nil, spec.Todo, ""},
		{"a dropped table's name is free", "gone", nil, spec.Todo, ""},
		{"same", "demo", map[string]string{"envs": envs}, spec.Done, "id 2"},
		{"same, but -f", "demo", map[string]string{"envs": envs, "fail-if-exist": "true"}, spec.Blocked, "exists already"},
		{"partitions differ", "demo", map[string]string{"envs": envs, "partition-count": "8"}, spec.Blocked, "4 partitions of 3 replicas"},
		{"replicas differ", "demo", map[string]string{"envs": envs, "replica-count": "1"}, spec.Blocked, "4 partitions of 3 replicas"},
		{"settings differ", "demo", map[string]string{"envs": "default_ttl=0"}, spec.Blocked, "business.info"},
		{"too few nodes", "logs", map[string]string{"replica-count": "4"}, spec.Blocked, "4 replicas need as many nodes, and 3 alive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := newFake().plan(t, "create", c.flags, c.table)
			if err != nil {
				t.Fatal(err)
			}
			got := state(t, p)
			if got.Kind != c.want || !strings.Contains(got.Why, c.why) {
				t.Errorf("state %d %q, want %d and %q in it", got.Kind, got.Why, c.want, c.why)
			}
			if p.Class() != spec.Alter || len(p.Steps) != 2 || p.Steps[0].Undo != "drop "+c.table {
				t.Errorf("class %s, %d steps, undo %q", p.Class(), len(p.Steps), p.Steps[0].Undo)
			}
		})
	}
}

func TestCreateOfUnknownOutcomeReadsBack(t *testing.T) {
	f := newFake()
	f.createFn = func(a driver.NewApp) (int32, error) {
		if a.SuccessIfExists {
			t.Error("-f did not reach the meta server")
		}
		f.apps = append(f.apps, driver.App{ID: 7, Name: a.Name, Status: "CREATING", Partitions: a.Partitions, Replicas: a.Replicas})
		return 0, &spec.Error{Kind: spec.UnknownOutcome}
	}
	p, err := f.plan(t, "create", map[string]string{"fail-if-exist": "true"}, "logs")
	if err != nil {
		t.Fatal(err)
	}
	if got := state(t, p); got.Kind != spec.Todo {
		t.Fatalf("before: %+v", got)
	}
	if err := p.Steps[0].Apply(t.Context(), &report{}); spec.KindOf(err) != spec.UnknownOutcome {
		t.Fatalf("apply: %v", err)
	}
	if got := state(t, p); got.Kind != spec.Done {
		t.Errorf("what was created is not recognised as ours: %+v", got)
	}
}

func TestCreateNoWaitHasOneStep(t *testing.T) {
	f := newFake()
	call := f.call(t, "create", nil, "logs")
	call.Wait = -1
	p, err := call.Command.Change(t.Context(), call)
	if err != nil || len(p.Steps) != 1 {
		t.Fatalf("%d steps, %v", len(p.Steps), err)
	}
}

func TestReadyStepWaits(t *testing.T) { synctest.Test(t, readyStepWaits) }

func readyStepWaits(t *testing.T) {
	f := newFake()
	f.polls = func(n int) ([]driver.Partition, error) {
		switch n {
		case 1:
			return nil, &spec.Error{Code: "ERR_BUSY_CREATING"}
		case 2:
			return nil, &spec.Error{Kind: spec.Unavailable}
		case 3:
			return nil, nil
		case 4:
			return []driver.Partition{partition(0, "a:1", "b:1"), partition(1, "b:1", "c:1", "a:1")}, nil
		}
		return []driver.Partition{partition(0, "a:1", "b:1", "c:1"), partition(1, "b:1", "c:1", "a:1")}, nil
	}
	r := &report{}
	step := readyStep(f, "demo", 0)
	if err := step.Apply(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want := []string{"0/0 partitions", "0/0 partitions", "1/2 partitions", "2/2 partitions"}
	if diff := cmp.Diff(want, r.progress); diff != "" || r.detail != "2 of 2 ready" {
		t.Errorf("detail %q, progress %s", r.detail, diff)
	}
}

func TestReadyStepGivesUp(t *testing.T) {
	never := func(int) ([]driver.Partition, error) { return []driver.Partition{partition(0, "a:1")}, nil }
	gone := func(int) ([]driver.Partition, error) {
		return nil, &spec.Error{Kind: spec.Unavailable, Op: "no meta server"}
	}
	refused := func(int) ([]driver.Partition, error) { return nil, &spec.Error{Kind: spec.Failed, Op: "no"} }
	for _, c := range []struct {
		name  string
		after time.Duration // when Ctrl-C is pressed, 0 for never
		limit time.Duration
		polls func(int) ([]driver.Partition, error)
		want  spec.ErrorKind
		text  string
	}{
		{"the time is over", 0, time.Minute, never, spec.Unavailable, "0 of 1 ready"},
		{"Ctrl-C", time.Hour, 0, never, spec.Interrupted, "0 of 1 ready"},
		{"no meta server", 0, 0, gone, spec.Unavailable, "no meta server"},
		{"refused", 0, 0, refused, spec.Failed, "no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.polls = c.polls
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.after > 0 {
					time.AfterFunc(c.after, cancel)
				}
				started := time.Now()
				err := readyStep(f, "demo", c.limit).Apply(ctx, &report{})
				if err == nil || spec.KindOf(err) != c.want || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%s: %v", spec.KindOf(err), err)
				}
				if bound := max(c.after, c.limit); bound > 0 && time.Since(started) != bound {
					t.Errorf("after %s, not %s", time.Since(started), bound)
				}
			})
		})
	}
}

func TestDrop(t *testing.T) {
	f := newFake()
	p, err := f.plan(t, "drop", map[string]string{"reserve-seconds": "3600"}, "demo")
	if err != nil {
		t.Fatal(err)
	}
	if p.Class() != spec.Destroy || p.Name != "demo" || p.Steps[0].Undo != "recall 2" {
		t.Errorf("class %s, name %q, undo %q", p.Class(), p.Name, p.Steps[0].Undo)
	}
	if note := p.Notes[0]; !strings.Contains(note, "4 partitions of 3 replicas") || !strings.Contains(note, "1h0m0s") {
		t.Errorf("note %q", note)
	}
	if got := state(t, p); got.Kind != spec.Todo {
		t.Errorf("before: %+v", got)
	}
	if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"demo 1h0m0s"}, f.dropped); diff != "" {
		t.Error(diff)
	}
	if got := state(t, p); got.Kind != spec.Done {
		t.Errorf("after: %+v", got)
	}
	f.apps = append(f.apps, driver.App{ID: 9, Name: "demo", Status: "AVAILABLE"})
	if got := state(t, p); got.Kind != spec.Blocked || !strings.Contains(got.Why, "id 9, not 2") {
		t.Errorf("a namesake: %+v", got)
	}
	if _, err := f.plan(t, "drop", nil, "nowhere"); spec.KindOf(err) != spec.NotFound {
		t.Errorf("an unknown table: %v", err)
	}
}

func TestDropSaysWhatElseIsLost(t *testing.T) {
	f := newFake()
	f.apps[0].Duplicating, f.apps[0].BulkLoading = true, true
	p, err := f.plan(t, "drop", nil, "demo")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(p.Notes, "\n")
	for _, want := range []string{"7 days", "duplicated", "bulk load"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
}

func TestEnvsUndo(t *testing.T) {
	for _, c := range []struct {
		name, word string
		args       []string
		class      spec.Class
		undo       string
	}{
		{"new", "set_app_envs", []string{"rocksdb.usage_scenario", "bulk_load"}, spec.Alter, "del_app_envs --table demo rocksdb.usage_scenario"},
		{"old", "set_app_envs", []string{"default_ttl", "60"}, spec.Risky, "set_app_envs --table demo default_ttl 0"},
		{
			"both", "set_app_envs",
			[]string{"default_ttl", "60", "rocksdb.num_levels", "6"},
			spec.Risky,
			"set_app_envs --table demo default_ttl 0; del_app_envs --table demo rocksdb.num_levels",
		},
		{"not plain", "set_app_envs", []string{"business.info", "z"}, spec.Alter, ""},
		{
			"deny", "set_app_envs",
			[]string{"replica.deny_client_request", "reconfig*all"},
			spec.Risky,
			"del_app_envs --table demo replica.deny_client_request",
		},
		{
			"throttle", "set_app_envs",
			[]string{"replica.read_throttling_by_size", "1*reject*1"},
			spec.Risky,
			"del_app_envs --table demo replica.read_throttling_by_size",
		},
		{"del", "del_app_envs", []string{"default_ttl", "k"}, spec.Alter, "set_app_envs --table demo default_ttl 0"},
		{"del what is not plain", "del_app_envs", []string{"business.info"}, spec.Alter, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			before := map[string]string{"business.info": "x y", "default_ttl": "0"}
			p, err := f.plan(t, c.word, nil, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := state(t, p); got.Kind != spec.Todo {
				t.Errorf("before: %+v", got)
			}
			if p.Class() != c.class || p.Steps[0].Undo != c.undo {
				t.Errorf("class %s, undo %q", p.Class(), p.Steps[0].Undo)
			}
			if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil {
				t.Fatal(err)
			}
			if got := state(t, p); got.Kind != spec.Done {
				t.Errorf("after: %+v", got)
			}
			if c.undo == "" {
				return
			}
			for line := range strings.SplitSeq(c.undo, "; ") {
				words := strings.Fields(line)
				undo, err := f.plan(t, words[0], map[string]string{"table": words[2]}, words[3:]...)
				if err != nil {
					t.Fatal(err)
				}
				if err := undo.Steps[0].Apply(t.Context(), &report{}); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(before, f.apps[0].Envs); diff != "" {
				t.Errorf("the undo line did not undo it: %s", diff)
			}
		})
	}
}

func TestDelOfNothingIsNoPlan(t *testing.T) {
	p, err := newFake().plan(t, "del_app_envs", nil, "k", "replica.\x1b[2J")
	if err != nil || len(p.Steps) != 0 {
		t.Fatalf("%d steps, %v", len(p.Steps), err)
	}
	if diff := cmp.Diff([]string{`"k" is not set`, `"replica.\x1b[2J" is not set`}, p.Notes); diff != "" {
		t.Error(diff)
	}
}

func TestServerInfo(t *testing.T) {
	f := newFake()
	f.servers = []driver.Server{
		{Endpoint: "m:1", Role: driver.RoleMeta, Alive: true},
		{Endpoint: "a:1", Role: driver.RoleReplica, Alive: true},
		{Endpoint: "d:1", Role: driver.RoleReplica},
	}
	f.answers = map[string]any{"m:1": "2.5.0", "a:1": "2.4.0", "x:1": "1.0"}
	check := func(flags map[string]string, want []string, kind spec.ErrorKind, fails bool) {
		t.Helper()
		table, err := f.query(t, "server_info", flags)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := cells(t, table)
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Error(diff)
		}
		if fails != (err != nil) || fails && spec.KindOf(err) != kind {
			t.Errorf("ended with %v", err)
		}
	}
	check(nil, []string{
		"m:1|meta-server|true|server-info 2.5.0", "a:1|replica-server|true|server-info 2.4.0", "d:1|replica-server|false|not alive, not asked",
	}, 0, false)
	check(map[string]string{"type": "meta-server"}, []string{"m:1|meta-server|true|server-info 2.5.0"}, 0, false)
	check(map[string]string{"list": "x:1"}, []string{"x:1|<nil>|true|server-info 1.0"}, 0, false)
	f.answers["a:1"] = errors.New("no route")
	check(map[string]string{"list": "a:1, m:1"},
		[]string{"a:1|<nil>|false|no route", "m:1|<nil>|true|server-info 2.5.0"}, spec.PartlyDone, true)
	f.answers["m:1"] = &spec.Error{Kind: spec.Unavailable}
	check(map[string]string{"type": "meta-server"}, []string{"m:1|meta-server|false|"}, spec.Unavailable, true)
}

func TestHealth(t *testing.T) {
	f := newFake()
	f.partitions["solo"] = []driver.Partition{{Primary: "a:1", MaxReplicas: 1}}
	f.apps = append(f.apps, driver.App{ID: 3, Name: "solo", Status: "AVAILABLE", Partitions: 1, Replicas: 1})
	table, err := f.query(t, "ls", map[string]string{"detailed": "true", "all": "true"})
	if err != nil {
		t.Fatal(err)
	}
	if rows, _ := cells(t, table); len(rows) != 3 {
		t.Errorf("general: %q", rows)
	}
	healthy, _ := cells(t, table.More[0])
	summary, _ := cells(t, table.More[1])
	want := [][]string{{"2|demo|4|1|3|2|1", "3|solo|1|1|0|0|0"}, {"2|1|1|1|1"}}
	if diff := cmp.Diff(want, [][]string{healthy, summary}); diff != "" {
		t.Error(diff)
	}

	if table, err = f.query(t, "app", map[string]string{"detailed": "true"}); err != nil {
		t.Fatal(err)
	}
	var verdicts []any
	for row := range table.More[0].Rows {
		verdicts = append(verdicts, row[len(row)-1])
	}
	if diff := cmp.Diff([]any{"fully_healthy", "unhealthy", "write_unhealthy", "read_unhealthy"}, verdicts); diff != "" {
		t.Error(diff)
	}
	spread, _ := cells(t, table.More[1])
	counts, _ := cells(t, table.More[2])
	want = [][]string{{"a:1|1|1|2", "b:1|1|1|2", "c:1|1|2|3"}, {"1|3|2|1"}}
	if diff := cmp.Diff(want, [][]string{spread, counts}); diff != "" {
		t.Error(diff)
	}
}

func TestLsSkipsWhatIsDroppedMeanwhile(t *testing.T) {
	f := newFake()
	all, err := allPartitions(t.Context(), f, []driver.App{{Name: "vanished"}, {Name: "demo"}})
	if err != nil || all[0] != nil || all[1] == nil {
		t.Fatalf("%v %v", all, err)
	}
	if rows, _ := cells(t, healthTables([]driver.App{{Name: "vanished"}, {Name: "demo", ID: 2}}, all)[0]); len(rows) != 1 {
		t.Errorf("%q", rows)
	}
}

func TestNodes(t *testing.T) {
	f := newFake()
	table, err := f.query(t, "nodes", map[string]string{"detailed": "true", "status": "alive"})
	if err != nil {
		t.Fatal(err)
	}
	rows, _ := cells(t, table)
	if diff := cmp.Diff([]string{"a:1|ALIVE|2|1|1", "b:1|ALIVE|2|1|1", "c:1|ALIVE|3|1|2"}, rows); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"4 nodes, 3 alive, 1 unalive"}, table.Notes()); diff != "" {
		t.Error(diff)
	}
}

func TestClusterInfoKeepsItsColumns(t *testing.T) {
	f := newFake()
	f.info = []cluster.Setting{
		{Key: "cluster_name", Value: "onebox"}, {Key: "New key\x1b", Value: "1"}, {Key: "meta_servers", Value: "m:1"},
	}
	table, err := f.query(t, "cluster_info", nil)
	if err != nil || !table.Single {
		t.Fatalf("%v, single %t", err, table != nil && table.Single)
	}
	var names []string
	for _, c := range table.Columns {
		names = append(names, c.Name)
	}
	if diff := cmp.Diff(append(slices.Clone(clusterInfoKeys), "new_key_"), names); diff != "" {
		t.Error(diff)
	}
	rows, _ := cells(t, table)
	if diff := cmp.Diff([]string{"m:1|<nil>|<nil>|<nil>|<nil>|<nil>|<nil>|<nil>|onebox|1"}, rows); diff != "" {
		t.Error(diff)
	}
}

package pegasus

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// copyFake is a cluster whose rows are not looked at.
type copyFake struct{ *countingFake }

func (copyFake) RowSource(string, driver.RowSourceOptions) (*driver.RowSource, error) {
	return nil, spec.Errorf(spec.Failed, "rows are not to be read")
}

func (copyFake) RowSink(string, driver.RowSinkOptions) *driver.RowSink { return nil }

// copyEnv has two clusters, and one that is of another store.
type copyEnv struct {
	commands.Env // never called: nil
	from, to     copyFake
}

func (e *copyEnv) Open(_ context.Context, name string) (cluster.Driver, error) {
	switch name {
	case "onebox", "ClusterA":
		return e.from, nil
	case "onebox2":
		return e.to, nil
	case "openmldb":
		return struct{ cluster.Driver }{}, nil
	}
	return nil, spec.Errorf(spec.Usage, "no cluster is called %s", name)
}

func newCopyEnv() *copyEnv {
	e := &copyEnv{from: copyFake{newCounting()}, to: copyFake{newCounting()}}
	e.from.apps = []driver.App{{
		ID: 2, Name: "demo", Status: "AVAILABLE", Partitions: 4, Replicas: 3, Created: time.Unix(1700000000, 0),
		Envs: map[string]string{"rocksdb.usage_scenario": "normal", denyEnv: "timeout*write", "replica.read_throttling": "100*reject*10"},
	}}
	e.to.apps = []driver.App{{
		ID: 7, Name: "copy", Status: "AVAILABLE", Partitions: 2, Replicas: 3, Created: time.Unix(1700000001, 0),
		Envs: map[string]string{"default_ttl": "60", denyEnv: "reconfig*all"},
	}}
	e.to.partitions = map[string][]driver.Partition{"copy": {partition(0, "a:1", "b:1", "c:1"), partition(1, "")}}
	for _, f := range []copyFake{e.from, e.to} {
		f.nodes = f.nodes[:2]
	}
	figures := func(partition int, rows, mb float64) map[driver.ReplicaID]map[string]float64 {
		return map[driver.ReplicaID]map[string]float64{{App: 2, Partition: partition}: {keysFigure: rows, diskCounter: mb}}
	}
	e.from.samples = map[string][]*driver.Sample{
		"a:1": {{Replicas: figures(0, 1000, 3)}}, "b:1": {{Replicas: figures(1, 500, 2)}},
	}
	return e
}

func (e *copyEnv) plan(t *testing.T, flags map[string]string) (*spec.Plan, error) {
	t.Helper()
	c := CopyData(e)
	call := &spec.Call{Command: &c, Cluster: "onebox", Table: "demo", Flags: map[string][]string{
		"target-cluster-name": {"onebox2"}, "target-app-name": {"copy"},
	}}
	for key, value := range flags {
		call.Flags[key] = []string{value}
	}
	return c.Change(t.Context(), call)
}

func stepTexts(p *spec.Plan) (all []string) {
	for _, s := range p.Steps {
		all = append(all, s.Text)
	}
	return all
}

func TestCopyDataPlan(t *testing.T) {
	e := newCopyEnv()
	e.to.counts = []driver.PartitionCount{{Partition: 0}, {Partition: 1, Rows: 1}}
	p, err := e.plan(t, map[string]string{"partitions": "0,2-3", "max-rate": "5MB/s", "hash-key-filter-type": "prefix", "hash-key-filter-pattern": "u", "verify": "true"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		`copy demo of onebox to copy of onebox2, rows, "u" at the start of the hash key, partitions 0,2-3`,
		`compare demo of onebox with copy of onebox2, rows, "u" at the start of the hash key, partitions 0,2-3`,
	}, stepTexts(p)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"demo of onebox has 4 partitions, 1 without a primary, which will be waited for, 2 short of replicas, about 1000 rows in the partitions chosen, 3 MB on disk",
		"demo of onebox has replica.read_throttling 100*reject*10: the copy will be no faster, and other clients feel it",
		"copy of onebox2 has 2 partitions, 1 without a primary, which will be waited for",
		"copy of onebox2 has replica.deny_client_request reconfig*all: its servers turn every write away, and the copy waits until that is gone",
		"copy of onebox2 has default_ttl 60: rows without a time to live get one of so many seconds",
		"copy of onebox2 has rows: those of the same keys are overwritten; -n keeps them",
	}, p.Notes); diff != "" {
		t.Error(diff)
	}
	job := p.Steps[0].Job
	if p.Class() != spec.Alter || job.Name != "copy" || job.Rate != (spec.Rate{Bytes: 5e6}) || p.Steps[1].Job.Rate != job.Rate {
		t.Errorf("%s, %+v", p.Class(), job)
	}
	if diff := cmp.Diff(map[string]string{
		"source": "onebox/demo, id 2, created 2023-11-14T22:13:20Z", "target": "onebox2/copy, id 7, created 2023-11-14T22:13:21Z",
		"partitions": "0,2-3", "filters": `prefix "u"  ""  ""`, "options": "no_ttl false, no_overwrite false, no_value false",
	}, job.Identity); diff != "" {
		t.Error(diff)
	}
}

func TestCopyDataCreates(t *testing.T) {
	e := newCopyEnv()
	var made driver.NewApp
	e.to.createFn = func(a driver.NewApp) (int32, error) { made = a; return 8, nil }
	e.to.nodes = e.to.nodes[:0]
	for _, at := range []string{"a:1", "b:1", "c:1"} {
		e.to.nodes = append(e.to.nodes, cluster.Node{Endpoint: at, Alive: true})
	}
	p, err := e.plan(t, map[string]string{"target-app-name": "new", "create": "true"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"create new of onebox2 with 4 partitions of 3 replicas and the settings of demo, unless it is there",
		"wait until every partition of new is ready",
		"copy demo of onebox to new of onebox2",
	}, stepTexts(p)); diff != "" {
		t.Error(diff)
	}
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "the new table does not get replica.deny_client_request") {
		t.Error(notes)
	}
	state, err := p.Steps[0].Check(t.Context())
	if err != nil || state.Kind != spec.Todo {
		t.Fatal(state, err)
	}
	if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(driver.NewApp{Name: "new", Partitions: 4, Replicas: 3, SuccessIfExists: true, Envs: map[string]string{
		"rocksdb.usage_scenario": "normal", "replica.read_throttling": "100*reject*10",
	}}, made); diff != "" {
		t.Error(diff)
	}
	before := p.Steps[2].Job.Identity
	// It is planned again to be resumed: the table is there by then, whatever its shape.
	e.from.samples = nil
	e.to.apps = append(e.to.apps, driver.App{ID: 8, Name: "new", Status: "AVAILABLE", Partitions: 16, Replicas: 1})
	e.to.partitions["new"] = nil
	p, err = e.plan(t, map[string]string{"target-app-name": "new", "create": "true"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, p.Steps[2].Job.Identity); diff != "" {
		t.Error(diff)
	}
	if state, err = p.Steps[0].Check(t.Context()); err != nil || state.Kind != spec.Done || state.Why != "it is there, id 8, with 16 partitions of 1 replica" {
		t.Error(state, err)
	}
	if !strings.Contains(p.Notes[0], "how many rows is not known: ") {
		t.Error(p.Notes)
	}
}

func TestCopyDataRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		flags map[string]string
		kind  spec.ErrorKind
		why   string
	}{
		"itself":              {map[string]string{"target-cluster-name": "ClusterA", "target-app-name": "demo"}, spec.Usage, "the table in use itself"},
		"no such table":       {map[string]string{"target-app-name": "none"}, spec.NotFound, "has no table none"},
		"no such cluster":     {map[string]string{"target-cluster-name": "none"}, spec.Usage, "no cluster"},
		"another store":       {map[string]string{"target-cluster-name": "openmldb"}, spec.Unable, "no Pegasus cluster"},
		"a strange name":      {map[string]string{"target-app-name": "a b"}, spec.Usage, ""},
		"batch of one":        {map[string]string{"max-batch-count": "1"}, spec.Usage, "-b must be"},
		"no writes":           {map[string]string{"max-multi-set-concurrency": "0"}, spec.Usage, "-m must be"},
		"too large answers":   {map[string]string{"scan-option-batch-size": "1001"}, spec.Usage, "1001"},
		"values without them": {map[string]string{"no-value": "true", "value-filter-type": "exact", "value-filter-pattern": "x"}, spec.Usage, "-v looks at values"},
		"together and alone":  {map[string]string{"use-multi-set": "true", "no-overwrite": "true"}, spec.Usage, "-u"},
		"geo":                 {map[string]string{"geo-data": "true"}, spec.Unable, "index of places"},
		"kept and compared":   {map[string]string{"verify": "true", "no-overwrite": "true"}, spec.Usage, "--verify"},
		"pattern, no type":    {map[string]string{"hash-key-filter-pattern": "x"}, spec.Usage, "go together"},
		"no such partition":   {map[string]string{"partition": "4"}, spec.Usage, "no partition 4"},
		"no such partitions":  {map[string]string{"partitions": "0-4"}, spec.Usage, "no partition 4"},
		"both":                {map[string]string{"partitions": "0-3", "partition": "1"}, spec.Usage, "choose the same"},
		"no patience":         {map[string]string{"patience": "0"}, spec.Usage, "no time to wait"},
		"no time":             {map[string]string{"timeout-ms": "0"}, spec.Usage, "no time to wait"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := newCopyEnv().plan(t, c.flags)
			if err == nil || spec.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v, %+v", err, p)
			}
		})
	}
	e := newCopyEnv()
	e.to.apps[0].Duplicating = true
	if _, err := e.plan(t, map[string]string{"no-overwrite": "true"}); spec.KindOf(err) != spec.Refused {
		t.Error(err)
	}
	if p, err := e.plan(t, map[string]string{"use-multi-set": "true", "no-ttl": "true"}); err != nil || !strings.Contains(strings.Join(p.Notes, "\n"), "all rows get one") {
		t.Error(err)
	}
}

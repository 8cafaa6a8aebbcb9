package openmldb

import (
	"context"
	"slices"
	"strings"
	"testing"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
	"shardsh/commands/spec"
)

// copyFake is a cluster whose rows are not looked at.
type copyFake struct{ *fake }

func (copyFake) CopySource(driver.TableName, driver.CopySourceOptions) *driver.CopySource { return nil }

func (copyFake) CopySink(driver.TableName, driver.CopySinkOptions) *driver.CopySink { return nil }

func (f copyFake) Describe(_ context.Context, name driver.TableName) (*driver.Table, error) {
	for i := range f.tables {
		if f.tables[i].TableName == name {
			return &f.tables[i], nil
		}
	}
	return nil, spec.Errorf(spec.NotFound, "there is no table %s", name)
}

func (f copyFake) Databases(context.Context) ([]string, error) { return []string{"shop"}, nil }

// copyEnv has two clusters, and one that is of another store.
type copyEnv struct {
	*fake
	from, to copyFake
}

func (e *copyEnv) Open(_ context.Context, name string) (cluster.Driver, error) {
	switch name {
	case "here":
		return e.from, nil
	case "there":
		return e.to, nil
	}
	return struct{ cluster.Driver }{}, nil
}

func (f copyFake) Find(_ context.Context, text, _ string) (driver.TableName, error) {
	return driver.TableName{Name: text}, nil
}

func newCopyEnv() *copyEnv {
	e := &copyEnv{from: copyFake{small()}, to: copyFake{small()}}
	e.fake = e.from.fake
	for _, f := range []copyFake{e.from, e.to} {
		t := &f.tables[0]
		records := uint64(50)
		for p := range t.Parts {
			for r := range t.Parts[p].Replicas {
				t.Parts[p].Replicas[r].Records = &records
			}
		}
		for i, name := range []string{"card", "ts"} {
			t.Schema.Columns = append(t.Schema.Columns, wire.Column{Name: name, Type: []types.DataType{types.DataType_kString, types.DataType_kTimestamp}[i]})
			t.Columns = append(t.Columns, driver.Column{Name: name, Type: []string{"string", "timestamp"}[i]})
		}
	}
	e.to.tables[0].ID = 9
	return e
}

func copyLine(flags map[string]string) *spec.Call {
	word := CopyData(nil)
	call := callOf(word, "flow")
	call.Cluster = "here"
	call.Flags = map[string][]string{"target-cluster-name": {"there"}, "target-table-name": {"flow"}, "patience": {"10m"}}
	for k, v := range flags {
		call.Flags[k] = []string{v}
	}
	return call
}

func TestCopyPlan(t *testing.T) {
	e := newCopyEnv()
	e.to.tables[0].Indexes[0].TTL.Minutes = 60
	for _, f := range []copyFake{e.from, e.to} {
		x := &f.tables[0]
		x.Indexes[0].TimeColumn = "ts"
	}
	here := &e.from.tables[0]
	here.Indexes = append(here.Indexes, driver.Index{Name: "put", Columns: []string{"card"}, TTL: driver.TTL{Type: "kLatestTime", Versions: 5}})
	here.Parts[1].Replicas[1].Alive = false // t33, which leads
	p := planOf(t, CopyData(e), copyLine(map[string]string{"verify": "true"}))
	if len(p.Steps) != 2 || p.Steps[0].Job == nil || p.Steps[1].Job == nil || p.Steps[1].Class != spec.Read {
		t.Fatalf("%+v", p.Steps)
	}
	for _, want := range []string{
		"flow of here has 2 partitions, 1 without a leader, which will be waited for, about 50 rows",
		"rows are read by index card of flow, from which none expires",
		"index put orders rows by the time they were put, which index card does not tell: there they get the time of ts; --index put keeps it",
		"auto_failover of there is off",
		"flow of there is not empty: those copied are added",
		"flow of there has no index put",
		"by its own TTL, 60min, and not by 0min",
	} {
		if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, want) }) {
			t.Errorf("no note says %q: %q", want, p.Notes)
		}
	}
	// An index that drops rows which another one keeps.
	p = planOf(t, CopyData(e), copyLine(map[string]string{"index": "put"}))
	for _, want := range []string{
		"rows that have expired from it and not from card (0min) are left out", "index card does not tell the time of a put",
	} {
		if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, want) }) {
			t.Errorf("no note says %q: %q", want, p.Notes)
		}
	}
}

func TestCopyPlanCreate(t *testing.T) {
	e := newCopyEnv()
	e.to.tables = nil
	e.to.down("t31:1")
	p := planOf(t, CopyData(e), copyLine(map[string]string{"create": "true", "target-table-name": "lab/flow"}))
	var texts []string
	for _, s := range p.Steps {
		texts = append(texts, s.Text)
		if s.Undo != "" {
			t.Errorf("%s: the line that undoes it, %s, would be of another cluster", s.Text, s.Undo)
		}
	}
	want := []string{
		"create database lab", "create lab/flow of there with 2 columns, 2 partitions and 2 replicas, as flow has them", "copy flow of here to lab/flow of there",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("%q", texts)
	}
	if !slices.ContainsFunc(p.Notes, func(n string) bool {
		return strings.Contains(n, "there has 2 healthy tablets: the new table gets so many replicas, not 3")
	}) {
		t.Errorf("%q", p.Notes)
	}
}

func TestCopyRefused(t *testing.T) {
	for want, line := range map[string]struct {
		change func(*copyEnv)
		flags  map[string]string
	}{
		"there has no table flow":      {change: func(e *copyEnv) { e.to.tables = nil }},
		"column 2 is ts of flow":       {change: func(e *copyEnv) { e.to.tables[0].Schema.Columns[1].Name = "at" }},
		"the partition key is":         {change: func(e *copyEnv) { e.to.tables[0].PartitionKey = []string{"card"} }},
		"the same table":               {change: func(e *copyEnv) { e.to.tables[0].ID = 4 }},
		"has no index card":            {change: func(e *copyEnv) { e.to.tables[0].Indexes[0].Name = "c" }, flags: map[string]string{"verify": "true"}},
		"one of the store's own":       {flags: map[string]string{"target-table-name": "__INTERNAL_DB/flow"}},
		"is no OpenMLDB cluster":       {flags: map[string]string{"target-cluster-name": "elsewhere"}},
		"--from is not before --to":    {flags: map[string]string{"from": "7", "to": "7"}},
		"there is no partition 2":      {flags: map[string]string{"partitions": "1-2"}},
		`has no index "mcc"`:           {flags: map[string]string{"index": "mcc"}},
		"0s is no time to wait":        {flags: map[string]string{"patience": "0s"}},
		"no time to wait for an answe": {flags: map[string]string{"timeout-ms": "0"}},
	} {
		e := newCopyEnv()
		if line.change != nil {
			line.change(e)
		}
		_, err := CopyData(e).Change(t.Context(), copyLine(line.flags))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

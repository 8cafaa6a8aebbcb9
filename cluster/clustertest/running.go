package clustertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

func (s Suite) info(t *testing.T) {
	info, err := s.open(t, s.Address, long).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.System != s.System.Name || info.Leader == "" || !slices.Contains(info.Metadata, info.Leader) {
		t.Errorf("%+v: the leader is not among the metadata servers, or the system is not %s", info, s.System.Name)
	}
	for _, setting := range info.Settings {
		if setting.Key == "" {
			t.Errorf("a setting has no name: %+v", info.Settings)
		}
	}
}

func (s Suite) nodes(t *testing.T) {
	nodes, err := s.open(t, s.Address, long).Nodes(t.Context())
	if err != nil || len(nodes) == 0 {
		t.Fatalf("%d nodes, %v", len(nodes), err)
	}
	for i, n := range nodes {
		if n.Endpoint == "" || n.State == "" || !n.Alive || n.RealEndpoint == n.Endpoint {
			t.Errorf("%+v", n)
		}
		if i > 0 && nodes[i-1].Endpoint >= n.Endpoint {
			t.Errorf("%s stands before %s", nodes[i-1].Endpoint, n.Endpoint)
		}
		if n.Age != nil && *n.Age < 0 {
			t.Errorf("%s is %v old", n.Endpoint, *n.Age)
		}
	}
}

// tables answers the tables, in the order they must be in.
func tables(t *testing.T, d cluster.Driver) []cluster.Table {
	t.Helper()
	all, err := d.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for i, table := range all {
		if table.Name == "" || table.Partitions <= 0 || table.Replicas <= 0 || names[table.FullName()] {
			t.Errorf("%+v", table)
		}
		names[table.FullName()] = true
		if i > 0 && all[i-1].ID >= table.ID {
			t.Errorf("table %d stands before %d", all[i-1].ID, table.ID)
		}
	}
	return all
}

func (s Suite) replicas(t *testing.T) {
	d := s.open(t, s.Address, long)
	all := tables(t, d)
	if len(all) == 0 {
		t.Fatal("the cluster has no table")
	}
	nodes, err := d.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	alive := map[string]bool{}
	for _, n := range nodes {
		alive[n.Endpoint] = n.Alive
	}
	rows, err := collect(d.Replicas(t.Context(), ""))
	if err != nil {
		t.Fatal(err)
	}
	rest := rows
	for _, table := range all {
		own, err := collect(d.Replicas(t.Context(), table.FullName()))
		if err != nil {
			t.Fatalf("%s: %v", table.FullName(), err)
		}
		if len(own) > len(rest) {
			t.Fatalf("%s has %d replicas alone, and %d are left among all", table.FullName(), len(own), len(rest))
		}
		for i, r := range own {
			if place(rest[i]) != place(r) {
				t.Errorf("%s: %+v alone, and %+v among all", table.FullName(), place(r), place(rest[i]))
			}
		}
		rest = rest[len(own):]
		checkTable(t, table, own, alive)
	}
	if len(rest) > 0 {
		t.Errorf("%d replicas belong to no table", len(rest))
	}
	for range d.Replicas(t.Context(), "") {
		break // whoever stops early leaves nothing behind
	}
}

// where is a replica without the numbers that grow while one looks.
type where struct {
	table     string
	id        int64
	partition int
	endpoint  string
	role      cluster.Role
	leads     bool
}

func place(r cluster.Replica) where {
	return where{r.FullName(), r.TableID, r.Partition, r.Endpoint, r.Role, r.Leads}
}

// checkTable checks the order and the numbers of a table's replicas.
func checkTable(t *testing.T, table cluster.Table, rows []cluster.Replica, alive map[string]bool) {
	t.Helper()
	for partition := range table.Partitions {
		n := 0
		for n < len(rows) && rows[n].Partition == partition {
			n++
		}
		if n == 0 {
			t.Errorf("%s/%d: there is no row in its place", table.FullName(), partition)
			return
		}
		checkPartition(t, table, rows[:n], alive)
		rows = rows[n:]
	}
	if len(rows) > 0 {
		t.Errorf("%s: %d rows are too many, the first of partition %d", table.FullName(), len(rows), rows[0].Partition)
	}
}

func checkPartition(t *testing.T, table cluster.Table, rows []cluster.Replica, alive map[string]bool) {
	t.Helper()
	seen := map[string]bool{}
	for i, r := range rows {
		name := table.FullName() + "/" + r.Endpoint
		if r.Table != table.Name || r.DB != table.DB || r.TableID != table.ID {
			t.Errorf("%s: %+v is of another table", name, place(r))
		}
		if r.Leads && i > 0 || r.Endpoint == "" && (i > 0 || r.Leads || r.Alive) {
			t.Errorf("%s: %+v in place %d", name, place(r), i)
		}
		if r.Endpoint != "" {
			if seen[r.Endpoint] {
				t.Errorf("%s is there twice", name)
			}
			seen[r.Endpoint] = true
		}
		if r.Alive && !alive[r.Endpoint] {
			t.Errorf("%s is alive, and its node is not", name)
		}
		if r.Role == "" || r.Needed < 1 || r.Needed > max(r.Wanted, 1) || r.Wanted != table.Replicas {
			t.Errorf("%s: role %q, wanted %d, needed %d, and the table wants %d", name, r.Role, r.Wanted, r.Needed, table.Replicas)
		}
	}
	if rows[0].Have != len(seen) {
		t.Errorf("%s/%d has %d replicas by its rows, and %d by its number", table.FullName(), rows[0].Partition, len(seen), rows[0].Have)
	}
}

func (s Suite) unknownTable(t *testing.T) {
	d := s.open(t, s.Address, long)
	const name = "no_such_table"
	_, err := collect(d.Replicas(t.Context(), name))
	wantError(t, "Replicas", err, []spec.ErrorKind{spec.NotFound}, name)
	if a, ok := d.(cluster.TableAdmin); ok {
		wantError(t, "DropTable", a.DropTable(t.Context(), name, 0), []spec.ErrorKind{spec.NotFound}, name)
	}
	if a, ok := d.(cluster.TableSettings); ok {
		_, err := a.GetTableSettings(t.Context(), name)
		wantError(t, "GetTableSettings", err, []spec.ErrorKind{spec.NotFound}, name)
		wantError(t, "SetTableSettings", a.SetTableSettings(t.Context(), name, s.Settings), []spec.ErrorKind{spec.NotFound}, name)
		_, err = a.DeleteTableSettings(t.Context(), name, []string{"k"})
		wantError(t, "DeleteTableSettings", err, []spec.ErrorKind{spec.NotFound}, name)
	}
}

// Every call on the wire is traced, with the context of whoever asked.
func (s Suite) traces(t *testing.T) {
	type key struct{}
	var mu sync.Mutex
	var lines []cluster.Trace
	stray := 0
	o := s.Options
	o.Trace = func(ctx context.Context, line cluster.Trace) {
		mu.Lock()
		defer mu.Unlock()
		if lines = append(lines, line); ctx.Value(key{}) == nil {
			stray++
		}
	}
	d := s.openWith(t, s.Address, o)
	for _, c := range calls() {
		if err := c.do(context.WithValue(t.Context(), key{}, true), d); err != nil && spec.KindOf(err) != spec.NotFound {
			t.Errorf("%s: %v", c.name, err)
		}
		mu.Lock()
		if len(lines) == 0 {
			t.Errorf("%s: nothing was traced", c.name)
		}
		for _, line := range lines {
			if line.Peer == "" || line.Method == "" || line.Code == "" || line.Took < 0 {
				t.Errorf("%s: %+v", c.name, line)
			}
		}
		lines = nil
		mu.Unlock()
	}
	if stray > 0 {
		t.Errorf("%d calls were traced without the context of whoever asked", stray)
	}
}

func (s Suite) concurrent(t *testing.T) {
	d := s.open(t, s.Address, long)
	var group sync.WaitGroup
	for range 8 {
		for _, c := range calls() {
			group.Go(func() {
				if err := c.do(t.Context(), d); err != nil && spec.KindOf(err) != spec.NotFound {
					t.Errorf("%s: %v", c.name, err)
				}
			})
		}
	}
	group.Wait()
}

// abilities holds a driver to what it claims. What it does not claim has an error of its own.
func (s Suite) abilities(t *testing.T) {
	checks := map[string]func(*testing.T, cluster.Driver){
		"tables": s.tableAdmin, "table settings": s.tableSettings, "examination": s.examination, "node ages": s.nodeAges,
		"databases": s.databases, "forecast": s.forecast,
	}
	for _, a := range cluster.Abilities() {
		t.Run(strings.ReplaceAll(a.Name, " ", "_"), func(t *testing.T) {
			d := s.open(t, s.Address, long)
			if a.Has(d) != a.Has(s.System.Zero) {
				t.Error("the system's zero driver claims another thing")
			}
			if !a.Has(d) {
				err := cluster.NotAble(s.System.Name, a, []cluster.System{s.System})
				wantError(t, a.Name, err, []spec.ErrorKind{spec.Unable}, a.Name)
				return
			}
			check := checks[a.Name]
			if check == nil {
				t.Fatal("the suite does not know this ability: add a check")
			}
			check(t, d)
		})
	}
}

func (s Suite) tableAdmin(t *testing.T, d cluster.Driver) {
	a := d.(cluster.TableAdmin)
	find := func() (cluster.Table, bool) {
		for _, table := range tables(t, d) {
			if table.Name == s.NewTable.Name {
				return table, true
			}
		}
		return cluster.Table{}, false
	}
	if _, there := find(); there {
		t.Fatalf("the cluster has a table %s already", s.NewTable.Name)
	}
	id, err := a.CreateTable(t.Context(), s.NewTable)
	if err != nil {
		t.Fatal(err)
	}
	var made cluster.Table
	eventually(t, "the table is listed", func() (there bool, err error) {
		made, there = find()
		return there, nil
	})
	if made.ID != id || made.Partitions != s.NewTable.Partitions || made.Replicas != s.NewTable.Replicas {
		t.Errorf("%+v was made as table %d of %+v", made, id, s.NewTable)
	}
	if _, err := a.CreateTable(t.Context(), s.NewTable); spec.KindOf(err) == spec.UnknownOutcome || err == nil {
		t.Errorf("created twice: %v", err)
	}
	eventually(t, "the table is dropped", func() (bool, error) {
		err := a.DropTable(t.Context(), made.FullName(), 0)
		return err == nil, err
	})
	eventually(t, "the table is gone", func() (bool, error) { _, there := find(); return !there, nil })
	wantError(t, "dropped twice", a.DropTable(t.Context(), made.FullName(), 0), []spec.ErrorKind{spec.NotFound, spec.Unavailable}, made.Name)
}

func (s Suite) tableSettings(t *testing.T, d cluster.Driver) {
	a := d.(cluster.TableSettings)
	table := tables(t, d)[0].FullName()
	before, err := a.GetTableSettings(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.SetTableSettings(t.Context(), table, s.Settings); err != nil {
		t.Fatal(err)
	}
	after, err := a.GetTableSettings(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"no such setting"}
	for key, value := range s.Settings {
		if keys = append(keys, key); after[key] != value {
			t.Errorf("%s is %q after it was set to %q", key, after[key], value)
		}
	}
	gone, err := a.DeleteTableSettings(t.Context(), table, keys)
	if err != nil || len(gone) != len(s.Settings) {
		t.Errorf("%v are gone of %v, %v", gone, keys, err)
	}
	last, err := a.GetTableSettings(t.Context(), table)
	if err != nil || len(last) != len(before) {
		t.Errorf("%v at the end, %v before, %v", last, before, err)
	}
}

func (s Suite) examination(t *testing.T, d cluster.Driver) {
	a := d.(cluster.Examiner)
	found, err := a.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Kind == "" || f.Object == "" || f.What == "" || strings.ContainsAny(f.What+f.Help, "\n\x1b") {
			t.Errorf("%+v", f)
		}
	}
	for _, kind := range []cluster.FindingKind{cluster.NodeDown, cluster.NoLeader, cluster.NoWrites, cluster.FewReplicas} {
		if help := a.Remedy(cluster.Finding{Kind: kind, Object: "thing"}); help == "" {
			t.Errorf("nothing helps against %s", kind)
		}
	}
	if help := a.Remedy(cluster.Finding{Kind: "unheard_of"}); help != "" {
		t.Errorf("%q helps against what nobody knows", help)
	}
}

func (s Suite) forecast(t *testing.T, d cluster.Driver) {
	nodes, err := d.Nodes(t.Context())
	if err != nil || len(nodes) == 0 {
		t.Fatalf("%v, %v", nodes, err)
	}
	for _, down := range [][]string{nil, {nodes[0].Endpoint}, {"127.0.0.1:1"}} {
		all, err := d.(cluster.Forecaster).Forecast(t.Context(), down)
		if err != nil || len(all) == 0 {
			t.Errorf("with %v down: %v, %v", down, all, err)
		}
		for _, p := range all {
			if p.If == "" || p.Then == "" || strings.ContainsAny(p.If+p.Then, "\n\x1b") {
				t.Errorf("%+v", p)
			}
		}
	}
}

func (s Suite) nodeAges(t *testing.T, d cluster.Driver) {
	nodes, err := d.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var endpoints []string
	for _, n := range nodes {
		endpoints = append(endpoints, n.Endpoint)
	}
	ages, err := d.(cluster.NodeAges).Ages(t.Context(), append(endpoints, "127.0.0.1:1"))
	if err != nil || len(ages) == 0 {
		t.Fatalf("%v, %v", ages, err)
	}
	for endpoint, age := range ages {
		if !slices.Contains(endpoints, endpoint) || age < 0 {
			t.Errorf("%s is %v old", endpoint, age)
		}
	}
}

func (s Suite) databases(t *testing.T, d cluster.Driver) {
	names, err := d.(interface {
		Databases(ctx context.Context) ([]string, error)
	}).Databases(t.Context())
	if err != nil || !slices.IsSorted(names) {
		t.Errorf("%v, %v", names, err)
	}
}

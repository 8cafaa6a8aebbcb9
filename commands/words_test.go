package commands

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// store is a cluster in memory without node ages, and its own Env.
type store struct {
	cluster.Driver
	nodes    []cluster.Node
	replicas []cluster.Replica
	held     []Held
	err      error
	asked    string
}

func (s *store) Open(context.Context, string) (cluster.Driver, error) { return s, nil }
func (*store) Blocks() []Block                                        { return nil }

func (*store) Block(context.Context, string) (storage.Service, error) {
	return nil, spec.Errorf(spec.NotFound, "there is no block service")
}

func (s *store) Holds(string) ([]Held, error)                  { return s.held, nil }
func (s *store) Nodes(context.Context) ([]cluster.Node, error) { return s.nodes, s.err }

func (s *store) Replicas(_ context.Context, table string) iter.Seq2[cluster.Replica, error] {
	s.asked = table
	return func(yield func(cluster.Replica, error) bool) {
		for _, r := range s.replicas {
			if !yield(r, nil) {
				return
			}
		}
		if s.err != nil {
			yield(cluster.Replica{}, s.err)
		}
	}
}

// agedStore also tells ages.
type agedStore struct {
	store
	ages  map[string]time.Duration
	err   error
	asked []string
}

func (s *agedStore) Open(context.Context, string) (cluster.Driver, error) { return s, nil }

func (s *agedStore) Ages(_ context.Context, endpoints []string) (map[string]time.Duration, error) {
	s.asked = endpoints
	return s.ages, s.err
}

func answer(t *testing.T, env Env, name string, args ...string) (*spec.Table, []string, error) {
	t.Helper()
	for _, c := range Words(env) {
		if c.Name != name {
			continue
		}
		table, err := c.Query(t.Context(), &spec.Call{Command: &c, Cluster: "onebox", Table: "used", Args: args})
		if err != nil {
			return nil, nil, err
		}
		var lines []string
		for row, err := range table.Rows {
			if err != nil {
				return table, lines, err
			}
			if len(row) != len(table.Columns) {
				t.Fatalf("%d cells in %d columns", len(row), len(table.Columns))
			}
			lines = append(lines, strings.Trim(fmt.Sprintf("%v", row), "[]"))
		}
		return table, lines, nil
	}
	t.Fatalf("no word %s", name)
	return nil, nil, nil
}

func TestShowTable(t *testing.T) {
	ttl, compression, offset, ballot := time.Minute, "kNoCompress", int64(7), int64(3)
	s := &store{replicas: []cluster.Replica{
		{
			Table: "flow", TableID: 4, Partition: 1, Endpoint: "a:1", Role: "leader", Alive: true,
			TTL: &ttl, Compression: &compression, Offset: &offset, Records: &offset, Memory: &offset, Ballot: &ballot,
		},
		{Table: "flow", TableID: 4, Partition: 2, Role: "primary"},
	}}
	_, lines, err := answer(t, s, "showtable", "flow")
	want := []string{
		"flow 4 1 a:1 leader 1m0s true kNoCompress 7 7 7 3",
		"flow 4 2 <nil> primary <nil> false <nil> <nil> <nil> <nil> <nil>",
	}
	if diff := cmp.Diff(want, lines); diff != "" || err != nil || s.asked != "flow" {
		t.Error(s.asked, err, diff)
	}
	s.err = errors.New("gone")
	_, lines, err = answer(t, s, "showtable")
	if len(lines) != 2 || !errors.Is(err, s.err) || s.asked != "" {
		t.Errorf("%d rows of %q, then %v", len(lines), s.asked, err)
	}
}

func TestShowTablet(t *testing.T) {
	known := 3 * time.Hour
	nodes := []cluster.Node{
		{Endpoint: "a:1", RealEndpoint: "10.0.0.1:1", Alive: true, State: "kTabletHealthy", Age: &known},
		{Endpoint: "b:1", Alive: true, State: "ALIVE"},
		{Endpoint: "c:1", State: "UNALIVE"},
	}
	_, lines, err := answer(t, &store{nodes: nodes}, "showtablet")
	want := []string{"a:1 kTabletHealthy 3h0m0s 10.0.0.1:1", "b:1 ALIVE <nil> <nil>", "c:1 UNALIVE <nil> <nil>"}
	if diff := cmp.Diff(want, lines); diff != "" || err != nil {
		t.Error(err, diff)
	}

	aged := &agedStore{store: store{nodes: nodes}, ages: map[string]time.Duration{"b:1": time.Minute}}
	_, lines, err = answer(t, aged, "showtablet")
	want[1] = "b:1 ALIVE 1m0s <nil>"
	if diff := cmp.Diff(want, lines); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if diff := cmp.Diff([]string{"b:1"}, aged.asked); diff != "" {
		t.Errorf("only the live one without an age is asked: %s", diff)
	}

	aged.err = errors.New("no route")
	table, lines, err := answer(t, aged, "showtablet")
	if err != nil || len(lines) != 3 || table.Notes()[0] != "some ages are missing: no route" {
		t.Errorf("%q %v", lines, err)
	}
}

package commands

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// patient is a cluster of three nodes with one table of two partitions.
func patient() *store {
	s := &store{}
	for _, e := range []string{"n31:1", "n32:1", "n33:1"} {
		s.nodes = append(s.nodes, cluster.Node{Endpoint: e, Alive: true, State: "ALIVE"})
	}
	for p := range 2 {
		for i, n := range s.nodes {
			s.replicas = append(s.replicas, cluster.Replica{
				Table: "TableA", Partition: p, Endpoint: n.Endpoint, Alive: true, Leads: i == p, Wanted: 3, Have: 3, Needed: 2,
			})
		}
	}
	return s
}

func (s *store) kill(endpoint string) {
	for i := range s.nodes {
		if s.nodes[i].Endpoint == endpoint {
			s.nodes[i].Alive, s.nodes[i].State = false, "UNALIVE"
		}
	}
	for i := range s.replicas {
		if s.replicas[i].Endpoint == endpoint {
			s.replicas[i].Alive = false
		}
	}
}

func TestDoctor(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*store)
		args    []string
		healthy bool
		says    []string
	}{
		{"well", func(*store) {}, nil, true, []string{"any 1 of 3 nodes", "[n31:1 n32:1]", "TableA/0, TableA/1"}},
		{"a node down", func(s *store) { s.kill("n32:1") }, nil, false, []string{
			"node_down", "n32:1", "2 of 2 partitions: fewer live replicas than wanted (0, 1)", "no leader", "nothing: each node listed below is needed",
		}},
		{"two nodes down", func(s *store) { s.kill("n32:1"); s.kill("n33:1") }, nil, false, []string{
			"too few live replicas to take writes", "nothing: some partitions do not take writes now",
		}},
		{"if one were down", func(*store) {}, []string{"n33:1"}, false, []string{"2 of 2 partitions: fewer live replicas", "nothing: each node"}},
		{"if one were down, named by its host", func(*store) {}, []string{"n33"}, false, []string{"2 of 2 partitions: fewer live replicas"}},
		{"left by a killed shell", func(s *store) {
			s.held = []Held{{Setting: "meta level", Was: "lively", During: "steady"}, {Setting: "x", Was: "a", During: "b", Active: true}, {Setting: "y", Was: "c", During: "d", Kept: true}}
		}, nil, false, []string{
			"held_setting", "meta level a killed shell left it at steady; it was lively true holds restore",
			"x a plan that is running holds it at b; it was a false holds\n", "y it is kept at d on purpose; it was c false holds restore",
		}},
		{"kept on purpose", func(s *store) { s.held = []Held{{Setting: "y", Was: "c", During: "d", Kept: true}} }, nil, true, []string{"y it is kept"}},
	} {
		s := patient()
		c.change(s)
		table, err := diagnose(t, s, c.args...)
		if c.healthy != (err == nil) || err != nil && spec.KindOf(err) != spec.AnsweredNo {
			t.Errorf("%s: %v", c.name, err)
		}
		text := allText(t, table)
		for _, want := range c.says {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in:\n%s", c.name, want, text)
			}
		}
		if c.name != "two nodes down" && c.name != "a node down" && strings.Contains(text, "no leader") {
			t.Errorf("%s: claims a missing leader:\n%s", c.name, text)
		}
	}
	if _, err := diagnose(t, patient(), "n99:1"); spec.KindOf(err) != spec.NotFound {
		t.Errorf("a node nobody knows: %v", err)
	}
}

// mute is a cluster that does not say which nodes it has, and may say why.
type mute struct {
	*store
	why []cluster.Finding
}

func (m mute) Open(context.Context, string) (cluster.Driver, error) { return m, nil }
func (m mute) Examine(context.Context) ([]cluster.Finding, error)   { return m.why, nil }
func (m mute) Remedy(cluster.Finding) string                        { return "" }

// A node that the metadata server takes for alive and that does not answer is counted as what it is.
func TestDoctorCountsTheSilentAsDown(t *testing.T) {
	s := patient()
	m := mute{s, []cluster.Finding{{Kind: cluster.NodeSilent, Object: "n32:1", What: "no answer", Bad: true}}}
	c := Doctor(m)
	table, err := c.Query(t.Context(), &spec.Call{Command: &c, Cluster: "onebox", Flags: map[string][]string{}})
	if spec.KindOf(err) != spec.AnsweredNo {
		t.Fatal(err)
	}
	text := allText(t, table)
	for _, want := range []string{"false 3 2 1 2", "nothing: each node listed below is needed", "no leader", "node_silent n32:1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

// Where the metadata server answers that it cannot serve, the store's own reason is the verdict.
func TestDoctorIsToldWhy(t *testing.T) {
	m := mute{patient(), []cluster.Finding{{Kind: "metadata_lost", Object: "metadata", What: "it is lost", Help: "recover", Bad: true}}}
	m.err = &spec.Error{Kind: spec.Unavailable, Code: "ERR_UNDER_RECOVERY"}
	c := Doctor(m)
	call := &spec.Call{Command: &c, Cluster: "onebox", Flags: map[string][]string{}}
	table, err := c.Query(t.Context(), call)
	if spec.KindOf(err) != spec.AnsweredNo {
		t.Fatal(err)
	}
	if text := allText(t, table); !strings.Contains(text, "metadata_lost metadata it is lost true recover") || !strings.Contains(text, "nobody knows") {
		t.Error(text)
	}
	m.why = nil
	for _, env := range []Env{m, mute{&store{err: &spec.Error{Kind: spec.Unavailable}}, []cluster.Finding{{Bad: true}}}} {
		c = Doctor(env)
		if _, err := c.Query(t.Context(), call); spec.KindOf(err) != spec.Unavailable {
			t.Errorf("nobody answers: %v", err)
		}
	}
}

// diagnose runs doctor, as if some nodes were down.
func diagnose(t *testing.T, s *store, ifDown ...string) (*spec.Table, error) {
	t.Helper()
	c := Doctor(s)
	call := &spec.Call{Command: &c, Cluster: "onebox", Flags: map[string][]string{}}
	if len(ifDown) > 0 {
		call.Flags["if-down"] = ifDown
	}
	return c.Query(t.Context(), call)
}

// allText is every cell of a result.
func allText(t *testing.T, table *spec.Table) string {
	t.Helper()
	var b strings.Builder
	for _, section := range append([]*spec.Table{table}, table.More...) {
		for row, err := range section.Rows {
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&b, row...)
		}
	}
	return b.String()
}

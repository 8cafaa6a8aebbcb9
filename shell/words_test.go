package shell

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"shardsh/commands/spec"
)

// TestDescriptors holds every word, of every store and of the loop, to the same form.
func TestDescriptors(t *testing.T) {
	b := newBench(t)
	all := append(Words(b.Shell), builtins(b.Shell)...)
	known := map[string]bool{}
	for _, c := range all {
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			systems := c.Systems
			if len(systems) == 0 {
				systems = []string{""}
			}
			for _, system := range systems {
				if key := fmt.Sprint(system, "/", name, "/", c.Identify, c.AtLocation); known[key] {
					t.Errorf("%s is there twice, with nothing to tell which is meant", name)
				} else {
					known[key], known[name] = true, true
				}
			}
		}
	}
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			if (c.Query == nil) == (c.Change == nil) {
				t.Error("not exactly one of Query and Change")
			}
			if !slices.Contains(spec.Topics, c.Topic) {
				t.Errorf("topic %q", c.Topic)
			}
			if c.Summary == "" || strings.HasSuffix(c.Summary, ".") || c.Long != "" && !strings.HasSuffix(c.Long, ".") {
				t.Errorf("summary %q, long %q", c.Summary, c.Long)
			}
			for _, other := range c.SeeAlso {
				if !known[other] || other == c.Name {
					t.Errorf("see also %s", other)
				}
			}
			checkExamples(t, c)
			checkFlags(t, c)
		})
	}
}

func checkExamples(t *testing.T, c spec.Command) {
	for _, e := range c.Examples {
		if (!strings.Contains(e.Line, c.Name) && len(e.Setup) == 0) || e.Says == "" || strings.Contains(e.Line, "\n") {
			t.Errorf("example %+v", e)
		}
	}
}

func checkFlags(t *testing.T, c spec.Command) {
	taken := map[string]bool{}
	for _, f := range c.Flags {
		if f.Help == "" || taken[f.Name] || taken[f.Short] && f.Short != "" {
			t.Errorf("flag %+v", f)
		}
		taken[f.Name], taken[f.Short] = true, true
		if f.Kind == spec.ArgEnum && f.Default != "" && !slices.Contains(f.Values, f.Default) {
			t.Errorf("flag %s: default %q", f.Name, f.Default)
		}
	}
	for i, a := range c.Args {
		if last := i == len(c.Args)-1; a.Repeated && !last || a.Optional && !last && !c.Args[i+1].Optional || a.Help == "" {
			t.Errorf("argument %+v", a)
		}
	}
}

// One name may have two descriptors of the same system, told apart by a flag or by a flag's value.
func TestIdentifyingFlags(t *testing.T) {
	action := spec.Flag{Name: "detect-action", Short: "c", Values: []string{"start", "query"}, Kind: spec.ArgEnum}
	change := spec.Command{Name: "w", Summary: "change", Flags: []spec.Flag{action, {Name: "d", Short: "d"}}}
	query := change
	query.Summary, query.Identify = "query", "detect-action=query"
	lookup := change
	lookup.Summary, lookup.Identify, lookup.Flags = "lookup", "data_dir", []spec.Flag{{Name: "data_dir"}}
	found := []*spec.Command{&change, &query, &lookup}
	for text, want := range map[string]string{
		"": "change", "-c start": "change", "-c query": "query", "-cquery": "query", "--detect_action=query -d x": "query",
		"-d query": "change", "query": "change", "-c start -c query": "query", "-c query -c start": "change", "-c": "change",
		"-x query": "change", "--data-dir y": "lookup", "-- -c query": "change",
	} {
		c, err := choose(found, strings.Fields(text), "", nil)
		if err != nil || c.Summary != want {
			t.Errorf("%q chooses %v, %v; want %s", text, c, err, want)
		}
	}
}

// A location on a block service that is configured, and as many arguments, choose the descriptor that reads there.
func TestAtLocation(t *testing.T) {
	plain := spec.Command{Name: "get", Summary: "plain", Args: make([]spec.Arg, 2), FlagsFirst: true, Systems: []string{"a"}}
	there := spec.Command{Name: "get_there", Summary: "there", Args: make([]spec.Arg, 3), FlagsFirst: true, AtLocation: true, Systems: []string{"a"}}
	for text, want := range map[string]string{
		"disk:/b/7 h s": "there", "disk:/ h s": "there", "disk:/b/7 h": "plain", "disk:b h s": "plain", "dis:/b h s": "plain",
		"h disk:/b s": "plain", "-- disk:/b h s": "plain", "": "plain", "h s": "plain", "--unknown disk:/b h s": "plain",
	} {
		for _, found := range [][]*spec.Command{{&plain, &there}, {&there, &plain}} {
			if c, err := choose(found, strings.Fields(text), "a", func() []string { return []string{"disk", "s3"} }); err != nil || c.Summary != want {
				t.Errorf("%q chooses %v, %v; want %s", text, c, err, want)
			}
		}
	}
	if c, err := choose([]*spec.Command{&there}, nil, "a", nil); err != nil || c.Summary != "there" {
		t.Errorf("its own name chooses %v, %v", c, err)
	}
}

// A word whose answer is no, like doctor's, is asked again until its result is as it should be.
func TestWaitHearsANo(t *testing.T) {
	asked := 0
	check := query("check")
	check.Query = func(context.Context, *spec.Call) (*spec.Table, error) {
		asked++
		table := spec.Record([]spec.Column{{Name: "well", Kind: spec.Bool}}, asked > 2)
		if asked <= 2 {
			return table, spec.Errorf(spec.AnsweredNo, "it is not well")
		}
		return table, nil
	}
	b := newBench(t, check)
	b.want("wait --until well check\n", ExitDone)
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	asked = -1 << 30
	b.want("wait --within 10ms --until well check\n", ExitNo)
	check.Query = func(context.Context, *spec.Call) (*spec.Table, error) { return nil, spec.Errorf(spec.AnsweredNo, "no") }
	b = newBench(t, check)
	b.want("wait --within 1m --until well check\n", ExitNo)
}

package shell

import (
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
				if key := system + "/" + name; known[key] {
					t.Errorf("%s is there twice", name)
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

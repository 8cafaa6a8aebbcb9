package pegasus

import (
	"slices"
	"strings"
	"testing"

	"shardsh/commands"
	"shardsh/commands/spec"
)

func TestDescriptors(t *testing.T) {
	all := append(commands.Words(&fake{}), Words(&fake{})...)
	known := map[string]bool{}
	for _, c := range all {
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			if known[name] {
				t.Errorf("%s is there twice", name)
			}
			known[name] = true
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
			if c.Summary == "" || strings.HasSuffix(c.Summary, ".") || !strings.HasSuffix(c.Long, ".") {
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
	if len(c.Examples) < 2 && len(c.Args)+len(c.Flags) > 0 {
		t.Errorf("%d examples", len(c.Examples))
	}
	for _, e := range c.Examples {
		if word, _, _ := strings.Cut(e.Line, " "); word != c.Name || e.Says == "" || strings.Contains(e.Line, "\n") {
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

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":               `""`,
		"plain 表格":       `"plain 表格"`,
		`a"b\c`:          `"a\"b\\c"`,
		"$x {{y}} {z}":   `"\$x \{{y}} {z}"`,
		"\x00\x7f\xff\n": `"\x00\x7f\xff\x0a"`,
		"\u202e\u0085":   `"\xe2\x80\xae\xc2\x85"`,
		"\uFFFD":         "\"\uFFFD\"",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]bool{
		"": false, "-1": false, "reconfig*all": true, "20000*delay*100": true, "a b": false, "$x": false, "a;b": false,
		"a|b": false, "#": false, `"`: false, "表": false, "true": true, "{{x}}": false, "\x00": false,
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %t", in, got)
		}
	}
}

package shell

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"shardsh/cluster"
	"shardsh/commands/spec"
	"shardsh/shell/line"
)

// imagined is a cluster in memory with the names a test wants.
type imagined struct {
	tables []string
	nodes  []string
	state  []string
	disks  []string
	block  chan struct{} // when not nil, answers wait for it
}

func (d *imagined) Info(context.Context) (cluster.Info, error) {
	return cluster.Info{State: d.state}, nil
}

func (d *imagined) Nodes(context.Context) ([]cluster.Node, error) {
	var all []cluster.Node
	for _, n := range d.nodes {
		all = append(all, cluster.Node{Endpoint: n})
	}
	return all, nil
}

func (d *imagined) Tables(ctx context.Context) ([]cluster.Table, error) {
	if d.block != nil {
		select {
		case <-d.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var all []cluster.Table
	for _, n := range d.tables {
		all = append(all, cluster.Table{Name: n, Partitions: 4})
	}
	return all, nil
}

func (d *imagined) Replicas(context.Context, string) iter.Seq2[cluster.Replica, error] { return nil }

func (d *imagined) DiskTags() []string { return d.disks }

func (d *imagined) Close() error { return nil }

// withCluster makes an imagined cluster the open and current one.
func (b *bench) withCluster(d *imagined) {
	b.session.cluster = "imagined"
	b.session.resolved["imagined"] = target{name: "imagined", system: cluster.System{Name: "imagined"}}
	b.session.open["imagined"] = &opened{driver: d}
}

// completions waits until nothing is pending and answers the candidates.
func (b *bench) completions(text string) []string {
	b.t.Helper()
	woken := make(chan struct{}, 16)
	b.live.onChange(func() { woken <- struct{}{} })
	a := assistant{b.Shell}
	for {
		c := a.Complete(text, len(text))
		if !c.Pending {
			var out []string
			for _, item := range c.Items {
				out = append(out, item.Text)
			}
			return out
		}
		select {
		case <-woken:
		case <-time.After(10 * time.Second):
			b.t.Fatal("the completion stays pending")
		}
	}
}

func TestCompletionOfWordsFlagsAndValues(t *testing.T) {
	part := query("part")
	part.Args = []spec.Arg{{Name: "partition", Kind: spec.ArgPartition}}
	disk := query("spin")
	disk.Flags = []spec.Flag{{Name: "tag", Short: "t", Kind: spec.ArgDisk}}
	b := newBench(t, part, disk)
	b.withCluster(&imagined{tables: []string{"TableA", "TableB", "demo"}, nodes: []string{"10.0.0.1:34801"}, disks: []string{"hdd", "ssd1"}})
	b.session.table = "demo"
	for text, want := range map[string][]string{
		"sou":                 {"source"},
		"help exi":            {"exit-codes", "exit"},
		"hold":                {"holds"},
		"holds ":              {"restore"},
		"use Ta":              {"TableA", "TableB"},
		"sandbox kill 10":     {"10.0.0.1:34801"},
		"part ":               {"0", "1", "2", "3"},
		"spin -t ":            {"hdd", "ssd1"},
		"spin --tag s":        {"ssd1"},
		"option output js":    {"json", "jsonl"},
		"option trace o":      {"on", "off"},
		"clusters --output y": {"yaml"},
		"clusters --outp":     {"--output"},
		"timing on; use de":   {"demo"},
		"use x | Ta":          nil,
	} {
		got := b.completions(text)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestCompletionNeverWaits(t *testing.T) {
	b := newBench(t)
	d := &imagined{tables: []string{"TableA"}, block: make(chan struct{})}
	b.withCluster(d)
	a := assistant{b.Shell}
	for range 100 { // each would hang if it asked the cluster itself
		if c := a.Complete("use ", 4); len(c.Items) > 0 || !c.Pending {
			t.Fatalf("%+v", c)
		}
	}
	close(d.block)
	if got := b.completions("use "); !slices.Equal(got, []string{"TableA"}) {
		t.Fatalf("%q", got)
	}
}

// TestHostileNames: what a server calls its tables never becomes anything but one word, and never moves the cursor.
func TestHostileNames(t *testing.T) {
	names := []string{
		"x | reboot", "x;drop demo", "a\x1b[2Jb", "$HOME", "{{x}}", "> file", "'", `"`, "a b", "\x00", "#", "x\ny", "\u202egnp", "\xff",
		"--yes=demo", "!sh",
	}
	b := newBench(t)
	b.withCluster(&imagined{tables: names})
	a := assistant{b.Shell}
	texts := b.completions("use ")
	if len(texts) != len(names) {
		t.Fatalf("%d candidates of %d names", len(texts), len(names))
	}
	for _, item := range a.Complete("use ", 4).Items {
		if strings.ContainsFunc(item.Show+item.Text, unicode.IsControl) {
			t.Errorf("%q shows control characters", item.Show)
		}
		cmds, err := line.Parse("use " + item.Text)
		if err != nil || len(cmds) != 1 || len(cmds[0].Words) != 2 || cmds[0].Pipe != "" || cmds[0].FileWord != nil {
			t.Errorf("%q is not one word: %+v %v", item.Text, cmds, err)
			continue
		}
		word, ok := cmds[0].Words[1].Literal()
		if !ok || !slices.Contains(names, word) {
			t.Errorf("%q became %q", item.Text, word)
		}
	}
}

func TestHintAndHighlight(t *testing.T) {
	b := newBench(t, query("ok"), newDeed(spec.Alter).word())
	a := assistant{b.Shell}
	if h := a.Hint("source "); !strings.Contains(h, "<file>") {
		t.Errorf("hint of source: %q", h)
	}
	if h := a.Hint("source x"); h != "" {
		t.Errorf("hint inside a word: %q", h)
	}
	if spans := a.Spans("nosuch x"); len(spans) == 0 || spans[0].Style == a.Spans("ok x")[0].Style {
		t.Error("an unknown command looks like a known one")
	}
	b.session.options["highlight"] = "false"
	if spans := a.Spans("nosuch x"); len(spans) > 0 {
		t.Errorf("highlighted although it is switched off: %+v", spans)
	}
}

func TestPromptShowsTheStateOfTheCluster(t *testing.T) {
	b := newBench(t)
	d := &imagined{state: []string{"freezed"}}
	b.withCluster(d)
	b.session.resolved["imagined"] = target{system: cluster.System{Prompt: func(name, table string) string { return name + "> " }}}
	b.Shell.changed = true
	if got := b.prompt(); got != "[freezed] imagined> " {
		t.Fatalf("%q", got)
	}
	b.session.options["read_only"] = "true"
	if got := b.prompt(); got != "[read-only] [freezed] imagined> " {
		t.Fatalf("%q", got)
	}
}

// TestBackgroundIsNotTraced: what completion asks by itself is not shown between the lines.
func TestBackgroundIsNotTraced(t *testing.T) {
	b := newBench(t)
	b.tracing.Store(true)
	b.trace(context.WithValue(t.Context(), unseen{}, true), cluster.Trace{Method: "quiet"})
	b.trace(t.Context(), cluster.Trace{Method: "loud"})
	if text := b.err.String(); strings.Contains(text, "quiet") || !strings.Contains(text, "loud") {
		t.Errorf("%q", text)
	}
}

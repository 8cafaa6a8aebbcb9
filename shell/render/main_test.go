package render

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"shardsh/commands/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone is not the machine's, so that a time written in the wrong zone shows.
var zone = time.FixedZone("CST", 8*3600)

func everyKind() []spec.Column {
	return []spec.Column{
		{Name: "name"},
		{Name: "key", Kind: spec.Bytes},
		{Name: "partitions", Kind: spec.Int},
		{Name: "rate", Kind: spec.Float, Unit: "rows/s"},
		{Name: "is_alive", Kind: spec.Bool},
		{Name: "ttl", Kind: spec.Duration},
		{Name: "memused", Kind: spec.Size},
		{Name: "since", Kind: spec.Time},
		{Name: "replicas", Kind: spec.List},
		{Name: "envs", Kind: spec.Map},
	}
}

func everyRow() []spec.Row {
	at := time.Date(2026, 1, 31, 15, 4, 5, 0, time.UTC)
	return []spec.Row{
		{
			"表格", []byte("k\x00\xff\"\\\n$x键"), 8, 1234.5678, true, 26*time.Hour + 5*time.Minute, int64(1536 << 10), at,
			[]string{"10.0.0.1:34801", "b,c"},
			map[string]string{"b": "2", "a": "1|x"},
		},
		{nil, nil, nil, nil, nil, nil, nil, nil, nil, nil},
		{
			"", "", int32(-1), 0.00012, false, 250 * time.Millisecond, int64(0),
			time.Time{},
			[]string{},
			map[string]string{},
		},
		{
			"a|b <c> *d* `e`\n\tnext \x1b[2J\u202e\u200b\u009b\xfe é 👩", "plain", uint64(1) << 63, 3.0, true,
			-90 * time.Second, int64(5) << 40, at.Add(1500 * time.Millisecond),
			[]string{"\x1b]0;x\a"},
			map[string]string{"\x07": "\U000e0041"},
		},
	}
}

func list(rows ...spec.Row) *spec.Table {
	return &spec.Table{Columns: everyKind(), Rows: spec.RowsOf(rows...)}
}

func record() *spec.Table { return spec.Record(everyKind(), everyRow()[0]...) }

func sections() *spec.Table {
	nodes := &spec.Table{
		Section: "nodes", Columns: spec.Columns("endpoint", "state"),
		Rows: spec.RowsOf(spec.Row{"10.0.0.1:34801", "ALIVE"}, spec.Row{"10.0.0.2:34801", "UNALIVE"}),
	}
	summary := spec.Record([]spec.Column{{Name: "alive", Kind: spec.Int}, {Name: "note"}}, 1, "two\nlines")
	summary.Section = "summary"
	empty := &spec.Table{Section: "held", Columns: spec.Columns("setting")}
	nodes.More = []*spec.Table{summary, empty}
	return nodes
}

// render is Write into memory.
func render(t *testing.T, table *spec.Table, o Options) (out, notes string, err error) {
	t.Helper()
	var b, n bytes.Buffer
	if o.Location == nil {
		o.Location = zone
	}
	_, err = Write(context.Background(), &b, &n, table, o)
	return b.String(), n.String(), err
}

func mustRender(t *testing.T, table *spec.Table, o Options) string {
	t.Helper()
	out, _, err := render(t, table, o)
	if err != nil {
		t.Fatalf("%s: %v", o.Format, err)
	}
	return out
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// failing yields rows and then an error.
func failing(err error, rows ...spec.Row) iter.Seq2[spec.Row, error] {
	return func(yield func(spec.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
		yield(nil, err)
	}
}

func kindOf(t *testing.T, err error) spec.ErrorKind {
	t.Helper()
	var e *spec.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is no *spec.Error", err, err)
	}
	return e.Kind
}

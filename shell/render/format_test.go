package render

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"shardsh/commands/spec"
)

func TestGolden(t *testing.T) {
	for _, f := range Formats() {
		var b strings.Builder
		for _, c := range []struct {
			name  string
			table *spec.Table
			o     Options
		}{
			{"rows", list(everyRow()...), Options{}},
			{"no rows", list(), Options{}},
			{"a record", record(), Options{}},
			{"sections", sections(), Options{}},
			{"a terminal", list(everyRow()...), Options{Terminal: true, Width: 100, Color: true}},
			{"a terminal, chosen columns", list(everyRow()...), Options{Terminal: true, Width: 100, Columns: []string{"NAME", "memused", "partitions"}, Raw: true}},
			{"every byte escaped", list(everyRow()...), Options{Columns: []string{"key"}, EscapeAll: true}},
		} {
			c.o.Format = f.Name
			out, notes, err := render(t, c.table, c.o)
			if err != nil {
				t.Fatalf("%s: %s: %v", f.Name, c.name, err)
			}
			b.WriteString("== " + c.name + "\n" + out + "-- notes\n" + notes)
		}
		golden(t, f.Name, b.String())
	}
}

// TestNothingMovesTheCursor puts everything a terminal obeys everywhere a server may put it.
func TestNothingMovesTheCursor(t *testing.T) {
	var evil strings.Builder
	for r := rune(0); r <= 0x10ffff; r++ {
		if utf8.ValidRune(r) && !visible(r) && (r < 0x3000 || r > 0xe0000 && r < 0xe0200) {
			evil.WriteRune(r)
		}
	}
	evil.WriteString("\xff\xc3\x28\xed\xa0\x80")
	text := evil.String()
	build := func() *spec.Table {
		columns := everyKind()
		for i := range columns {
			columns[i].Name += text
			columns[i].Unit = text
		}
		row := spec.Row{text, text, 1, 1.0, true, time.Second, int64(1), time.Unix(1, 0), []string{text}, map[string]string{text: text}}
		one := &spec.Table{Section: text, Columns: columns, Rows: spec.RowsOf(row)}
		two := spec.Record(columns, row...)
		two.Section = text
		one.More = []*spec.Table{two}
		return one
	}
	for _, f := range Formats() {
		for _, width := range []int{0, 80} {
			out, notes, err := render(t, build(), Options{Format: f.Name, Terminal: true, Width: width})
			if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			for _, written := range []string{out, notes} {
				if !utf8.ValidString(written) {
					t.Errorf("%s: invalid UTF-8", f.Name)
				}
				for _, r := range written {
					if !visible(r) && r != '\n' && (f.Name != "tsv" || r != '\t') {
						t.Errorf("%s writes %U", f.Name, r)
					}
				}
			}
		}
	}
}

func TestMachinesReadBack(t *testing.T) {
	var rows []map[string]any
	if err := json.Unmarshal([]byte(mustRender(t, list(everyRow()...), Options{Format: "json"})), &rows); err != nil {
		t.Fatal(err)
	}
	if got, want := rows[3]["name"], "a|b <c> *d* `e`\n\tnext \x1b[2J\u202e\u200b\u009b\ufffd é 👩"; got != want {
		t.Errorf("text comes back as %q", got)
	}
	if rows[0]["ttl"] != 93900.0 || rows[0]["memused"] != 1572864.0 || rows[0]["since"] != "2026-01-31T15:04:05Z" || rows[1]["name"] != nil {
		t.Errorf("values come back as %v", rows[0])
	}
	var lines []map[string]any
	for _, line := range strings.Split(strings.TrimSpace(mustRender(t, list(everyRow()...), Options{Format: "jsonl"})), "\n") {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, row)
	}
	if diff := cmp.Diff(rows, lines); diff != "" {
		t.Errorf("json and jsonl differ:\n%s", diff)
	}
	var items []map[string]any
	if err := yaml.Unmarshal([]byte(mustRender(t, list(everyRow()...), Options{Format: "yaml"})), &items); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(items)
	if err != nil {
		t.Fatal(err)
	}
	var fromYAML []map[string]any
	if err := json.Unmarshal(text, &fromYAML); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rows, fromYAML); diff != "" {
		t.Errorf("json and yaml differ:\n%s", diff)
	}
	fields, err := csv.NewReader(strings.NewReader(mustRender(t, list(everyRow()...), Options{Format: "csv"}))).ReadAll()
	if err != nil || len(fields) != 5 || fields[1][0] != "表格" || !slices.Equal(fields[2], make([]string, 10)) {
		t.Errorf("csv comes back as %q, %v", fields, err)
	}
}

func TestSectionsReadBack(t *testing.T) {
	want := map[string]any{
		"nodes": []any{
			map[string]any{"endpoint": "10.0.0.1:34801", "state": "ALIVE"},
			map[string]any{"endpoint": "10.0.0.2:34801", "state": "UNALIVE"},
		},
		"summary": map[string]any{"alive": 1, "note": "two\nlines"},
		"held":    []any{},
	}
	var got map[string]any
	if err := yaml.Unmarshal([]byte(mustRender(t, sections(), Options{Format: "yaml"})), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("yaml: %s", diff)
	}
	got = nil
	if err := json.Unmarshal([]byte(mustRender(t, sections(), Options{Format: "json"})), &got); err != nil {
		t.Fatal(err)
	}
	want["summary"].(map[string]any)["alive"] = 1.0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("json: %s", diff)
	}
}

func TestYAMLScalars(t *testing.T) {
	words := []string{
		"", "yes", "No", "null", "~", "1", "1.5", "0x10", "1e3", "12:30:45", "2026-01-31", "- a", "a: b", "a #b", "#c", "[x]",
		"{y}", "*a", "&b", "!t", "|", ">", "%", "@", "`", "'q'", "\"d\"", " lead", "trail ", "a\nb", "tab\t", "10.0.0.1:34801",
		".inf", ".nan", "nan", "=", "<<", "表格", "😀", "\u2028", "\U000e0041", "\x7f", "true", "y", "on", "0o17", "1_000",
	}
	var rows []spec.Row
	for _, w := range words {
		rows = append(rows, spec.Row{w, []string{w}, map[string]string{w: w}})
	}
	columns := []spec.Column{{Name: "a: b"}, {Name: "list", Kind: spec.List}, {Name: "on", Kind: spec.Map}}
	out := mustRender(t, &spec.Table{Columns: columns, Rows: spec.RowsOf(rows...)}, Options{Format: "yaml"})
	var got []struct {
		Text any               `yaml:"a: b"`
		List []any             `yaml:"list"`
		Map  map[string]string `yaml:"on"`
	}
	if err := yaml.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	for i, w := range words {
		if got[i].Text != w || got[i].List[0] != w || got[i].Map[w] != w {
			t.Errorf("%q comes back as %v", w, got[i])
		}
	}
}

func TestNumbersThatAreNone(t *testing.T) {
	rows := []spec.Row{{math.NaN()}, {math.Inf(1)}, {1e300}, {math.SmallestNonzeroFloat64}, {1e15}}
	table := func() *spec.Table {
		return &spec.Table{Columns: []spec.Column{{Name: "f", Kind: spec.Float}}, Rows: spec.RowsOf(rows...)}
	}
	var got []map[string]any
	if err := json.Unmarshal([]byte(mustRender(t, table(), Options{Format: "json"})), &got); err != nil {
		t.Fatal(err)
	}
	if got[0]["f"] != nil || got[1]["f"] != nil || got[2]["f"] != 1e300 || got[3]["f"] != math.SmallestNonzeroFloat64 {
		t.Errorf("got %v", got)
	}
	if out := mustRender(t, table(), Options{Format: "plain"}); !strings.Contains(out, "NaN") || !strings.Contains(out, "+Inf") {
		t.Errorf("plain hides what is no number:\n%s", out)
	}
}

// brokenPipe takes some bytes and then fails.
type brokenPipe struct{ left int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.left < len(p) {
		n := b.left
		b.left = 0
		return n, syscall.EPIPE
	}
	b.left -= len(p)
	return len(p), nil
}

func TestFailedWriteIsAnError(t *testing.T) {
	for _, f := range Formats() {
		for _, left := range []int{0, 10, 200_000} {
			for _, terminal := range []bool{false, true} {
				endless := func(yield func(spec.Row, error) bool) {
					for i := 0; i < 5_000_000; i++ {
						if !yield(spec.Row{"a row that is long enough", i}, nil) {
							return
						}
					}
					t.Errorf("%s: nobody stopped the producer", f.Name)
				}
				table := &spec.Table{Columns: []spec.Column{{Name: "a"}, {Name: "b", Kind: spec.Int}}, Rows: endless}
				_, err := Write(t.Context(), &brokenPipe{left}, io.Discard, table, Options{Format: f.Name, Terminal: terminal})
				if !errors.Is(err, syscall.EPIPE) || kindOf(t, err) != spec.Failed {
					t.Errorf("%s: %v", f.Name, err)
				}
			}
		}
		// An error that only the last flush meets.
		if _, err := Write(t.Context(), &brokenPipe{}, io.Discard, record(), Options{Format: f.Name}); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s: a record: %v", f.Name, err)
		}
	}
}

func TestStreamError(t *testing.T) {
	lost := errors.New("the node went away")
	for _, f := range Formats() {
		table := &spec.Table{Columns: spec.Columns("name"), Rows: failing(lost, spec.Row{"first"}, spec.Row{"second"})}
		out, _, err := render(t, table, Options{Format: f.Name, Terminal: true})
		if !errors.Is(err, lost) {
			t.Errorf("%s: %v", f.Name, err)
		}
		if !strings.Contains(out, "first") || !strings.Contains(out, "second") {
			t.Errorf("%s: rows before the error are lost:\n%s", f.Name, out)
		}
		if f.Name == "json" && json.Valid([]byte(out)) {
			t.Errorf("json is closed though the stream broke off:\n%s", out)
		}
		table = &spec.Table{Columns: spec.Columns("name"), Rows: failing(lost)}
		if out, _, err := render(t, table, Options{Format: f.Name}); out != "" || !errors.Is(err, lost) {
			t.Errorf("%s: an error before any row: %q, %v", f.Name, out, err)
		}
	}
}

func TestSingleWithMoreRows(t *testing.T) {
	table := spec.Record(spec.Columns("a"), "x")
	table.Rows = spec.RowsOf(spec.Row{"x"}, spec.Row{"y"})
	if _, _, err := render(t, table, Options{Format: "json"}); kindOf(t, err) != spec.Failed {
		t.Errorf("got %v", err)
	}
}

func TestUnknownFormat(t *testing.T) {
	_, _, err := render(t, list(), Options{Format: "jsno"})
	if kindOf(t, err) != spec.Usage || !strings.Contains(err.Error(), `"json"`) {
		t.Errorf("got %v", err)
	}
	if Known("jsno") || !Known("markdown") {
		t.Error("Known does not know")
	}
}

func TestHumanNumbers(t *testing.T) {
	for want, n := range map[string]int64{
		"0 B": 0, "1023 B": 1023, "1 KiB": 1024, "1.5 MiB": 1536 << 10, "1 MiB": 1<<20 - 1, "8 EiB": math.MaxInt64, "-2 KiB": -2048,
	} {
		if got := string(spec.AppendSize(nil, n)); got != want {
			t.Errorf("%d bytes are %q, not %q", n, got, want)
		}
	}
	for want, d := range map[string]time.Duration{
		"0s": 0, "15ns": 15, "1.5µs": 1500, "250ms": 250 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "12s": 12 * time.Second,
		"1m30s": 90 * time.Second, "2h": 2 * time.Hour, "1d2h": 26*time.Hour + 5*time.Minute, "3d4h": 76 * time.Hour,
		"-1m30s": -90 * time.Second, "59.9s": time.Minute - 1, "106751d23h": math.MaxInt64, "-106751d23h": math.MinInt64,
	} {
		if got := string(appendDuration(nil, d)); got != want {
			t.Errorf("%d ns are %q, not %q", d, got, want)
		}
	}
}

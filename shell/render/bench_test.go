package render

import (
	"fmt"
	"io"
	"testing"
	"text/tabwriter"

	"shardsh/commands/spec"
)

const benchRows = 100_000

var benchColumns = []spec.Column{
	{Name: "name"},
	{Name: "tid", Kind: spec.Int},
	{Name: "pid", Kind: spec.Int},
	{Name: "endpoint"},
	{Name: "role"},
	{Name: "ttl"},
	{Name: "is_alive", Kind: spec.Bool},
	{Name: "compress_type"},
}

// benchData is the same for both: 100,000 rows of eight short cells.
func benchData() []spec.Row {
	rows := make([]spec.Row, benchRows)
	for i := range rows {
		rows[i] = spec.Row{"TableA", i % 7, i, fmt.Sprintf("10.0.0.%d:34801", i%200), "follower", "0min", i%3 > 0, "kNoCompress"}
	}
	return rows
}

func BenchmarkPlain100k(b *testing.B) {
	rows := benchData()
	b.ReportAllocs()
	for b.Loop() {
		table := &spec.Table{Columns: benchColumns, Rows: spec.RowsOf(rows...)}
		if _, err := Write(b.Context(), io.Discard, io.Discard, table, Options{Format: "plain"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTabwriter100k is the reference of BenchmarkPlain100k.
func BenchmarkTabwriter100k(b *testing.B) {
	rows := benchData()
	b.ReportAllocs()
	for b.Loop() {
		w := tabwriter.NewWriter(io.Discard, 0, 0, 2, ' ', 0)
		for _, c := range benchColumns {
			_, _ = fmt.Fprintf(w, "%s\t", c.Name)
		}
		_, _ = fmt.Fprintln(w)
		for _, row := range rows {
			for _, cell := range row {
				_, _ = fmt.Fprintf(w, "%v\t", cell)
			}
			_, _ = fmt.Fprintln(w)
		}
		if err := w.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSON100k(b *testing.B) {
	rows := benchData()
	b.ReportAllocs()
	for b.Loop() {
		table := &spec.Table{Columns: benchColumns, Rows: spec.RowsOf(rows...)}
		if _, err := Write(b.Context(), io.Discard, io.Discard, table, Options{Format: "json"}); err != nil {
			b.Fatal(err)
		}
	}
}

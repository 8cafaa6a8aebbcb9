package render

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

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

// benchRuns is how often each side runs, in turns; the medians are compared.
const benchRuns = 5

// BenchmarkRender compares writing 100,000 rows, in the formats that stream, with text/tabwriter on the same rows.
func BenchmarkRender(b *testing.B) {
	rows := benchData()
	for range b.N {
		times := map[string][]time.Duration{}
		for range benchRuns {
			for _, format := range []string{"plain", "table", "json", "csv"} {
				times[format] = append(times[format], timed(b, func() error { return renderRows(b, rows, format) }))
			}
			times["tabwriter"] = append(times["tabwriter"], timed(b, func() error { return tabwriterRows(rows) }))
		}
		reference := median(times["tabwriter"])
		for _, format := range []string{"plain", "table", "json", "csv"} {
			ours := median(times[format])
			fmt.Printf("BENCH render_100k_%s ours=%.1f reference=%.1f ratio=%.2f unit=ms (text/tabwriter on the same rows)\n",
				format, ms(ours), ms(reference), float64(ours)/float64(reference))
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func timed(b *testing.B, f func() error) time.Duration {
	b.Helper()
	started := time.Now()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return time.Since(started)
}

func renderRows(b *testing.B, rows []spec.Row, format string) error {
	table := &spec.Table{Columns: benchColumns, Rows: spec.RowsOf(rows...)}
	_, err := Write(b.Context(), io.Discard, io.Discard, table, Options{Format: format, Terminal: format == "table", Width: 200})
	return err
}

func tabwriterRows(rows []spec.Row) error {
	w := tabwriter.NewWriter(io.Discard, 0, 0, 2, ' ', 0)
	for _, c := range benchColumns {
		if _, err := fmt.Fprintf(w, "%s\t", c.Name); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	for _, row := range rows {
		for _, cell := range row {
			if _, err := fmt.Fprintf(w, "%v\t", cell); err != nil {
				return err
			}
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

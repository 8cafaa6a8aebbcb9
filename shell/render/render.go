// Package render writes a result in the format asked for, and filters, sorts and selects on the way.
//
// # Formats
//
// People read auto, table, vertical and markdown; machines read json, jsonl, csv, tsv and yaml; plain is for both: the
// eye and awk. A format is one file and one line in Formats.
//
//	auto      table on a terminal, without borders where those do not fit, vertical where the columns do not; plain when
//	          not on a terminal
//	table     borders, by tablewriter, up to 2,000 rows; beyond, or when rows come slowly, aligned without borders,
//	          which a note says. On a terminal cells are cut to fit, widest first, never below 6 columns
//	vertical  a row per block, a column per line; text keeps its line breaks, indented
//	plain     aligned columns, two blanks between them, a header, no borders. The first 2,000 rows (or what is there
//	          after 150 ms) are measured, what is longer pushes right
//	markdown  a table; \ | < * ` are escaped
//	json      one document: an array of objects in the order of the columns, closed only if the stream ended well
//	jsonl     an object per line
//	csv       RFC 4180 with a header; nothing is an empty field
//	tsv       a header and a line per row; nothing is an empty field
//	yaml      a sequence of mappings
//
// # Cells
//
//	kind      people            plain              machines
//	Text      escaped           escaped, "" if     as it is; csv (but for line breaks) and tsv escape
//	                            empty              control characters as people see them
//	Bytes     in every format the escapes of the line syntax (EscapeBytes): pastes back between double quotes
//	Int Float with their unit   raw                raw; a float that is no number is null
//	Bool      yes, no           yes, no            true, false
//	Duration  3d4h              seconds            seconds
//	Size      1.5 MiB           bytes              bytes
//	Time      local, no zone    RFC 3339 UTC       RFC 3339 UTC
//	List      [a,b]             [a,b]              an array (JSON in csv and tsv)
//	Map       k=v,…             k=v,…              an object (JSON in csv and tsv)
//	nil       -                 -                  null; an empty field in csv and tsv
//
// # Records and sections
//
// A Single table is a record. People see a `name : value` line per column, plain writes `name  value` lines
// (`awk '$1=="name"{print $2}'`), markdown two columns; json, jsonl and yaml write an object, csv and tsv a header and
// a row. A record that a filter left out is null.
//
// With several sections people and plain see `[section]` before each and an empty line between, markdown a heading,
// csv and tsv a `# section` line and an empty line between; json and yaml write one object with a key per section, in
// jsonl every object begins with the key "section".
//
// # Filter, sort, columns
//
// Each applies to every section that has all the columns it names, and leaves the others as they are; a name no
// section has is a usage error. Names are matched exactly, else without regard to case. Filters see what Value says,
// but times as times, and compare with text where that is natural: `ttl > "2h"`, `memused > "1.5GiB"`,
// `since < "2026-01-31"`. A comparison with nothing is false; `ttl == nil` asks for it.
//
// # Streams
//
// The first rows are out 200 ms after the first one was there, whatever the producer does; memory is bounded by what
// is measured (2,000 rows, 4 MiB) and sorted (100,000 rows, 48 MiB; more is sorted on disk). The producer runs in a
// goroutine that has ended when Write returns; it must heed the context of its query, and a row it yielded is not
// written to again.
package render

import (
	"context"
	"io"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// Options says how a result is written. The zero value is auto, not on a terminal.
type Options struct {
	Format    string         // one of Formats; "" is auto
	Terminal  bool           // out is a terminal
	Width     int            // columns of the terminal, 0 when unknown or unlimited
	Color     bool           // headers and names stand out
	Filter    string         // an expression over the columns (expr-lang) that is true for the rows wanted
	Sort      string         // columns joined by commas, -COL descending; rows without a value come last
	Columns   []string       // the columns wanted, in this order
	Raw       bool           // numbers for machines, for people too
	EscapeAll bool           // keys and values as \xHH throughout
	Location  *time.Location // of the times people read; nil is local
	TempDir   string         // where sorting spills; "" is the system's
}

// Stats says what was written.
type Stats struct {
	Rows   int64  // of all sections
	Format string // what auto came to, of the first section that had a choice
}

// Format is one way to write a result.
type Format struct {
	Name string
	Help string // a few words for help and completion
	// Machine formats are stable: programs read them, and nothing but data is written.
	Machine bool

	open func(w *writing) document
}

// document writes sections in one format. Calls come as: (begin row* (settle row*)? (end|abort))*, close when every
// section ended well. Errors of the output are kept by the sink and need not be returned.
type document interface {
	// begin is called with the first row at hand, or at the end of a section without any.
	begin(sec *section) error
	// row may not keep the slice.
	row(cells spec.Row) error
	// settle ends measuring: what is held back is written. More rows follow.
	settle() error
	// end ends the section, abort gives it up: what is held back is written, nothing is closed.
	end() error
	abort()
	close() error
}

// Formats lists them in the order of help.
func Formats() []Format {
	return []Format{
		{Name: "auto", Help: "table on a terminal, vertical when it is too wide, plain when piped", open: openAuto},
		{Name: "table", Help: "a table with borders", open: openTable},
		{Name: "vertical", Help: "a line per column", open: openVertical},
		{Name: "plain", Help: "aligned columns without borders, for awk", open: openPlain},
		{Name: "json", Help: "one array of objects", Machine: true, open: openJSON},
		{Name: "jsonl", Help: "one object per line", Machine: true, open: openJSONL},
		{Name: "csv", Help: "comma-separated with a header", Machine: true, open: openCSV},
		{Name: "tsv", Help: "tab-separated with a header", Machine: true, open: openTSV},
		{Name: "yaml", Help: "a sequence of mappings", Machine: true, open: openYAML},
		{Name: "markdown", Help: "a table for a document", open: openMarkdown},
	}
}

// Known reports whether there is a format of that name.
func Known(name string) bool { return lookup(name) != nil }

func lookup(name string) *Format {
	for _, f := range Formats() {
		if f.Name == name {
			return &f
		}
	}
	return nil
}

// writing is what a document writes with.
type writing struct {
	*Options
	out      *sink
	notes    io.Writer
	sections int
	format   string // what became of auto
}

// note tells people something about the result, after what was written of it.
func (w *writing) note(text string) { w.out.note(w.notes, text) }

// emphasize marks a header or a name, already escaped.
func (w *writing) emphasize(text string) string {
	if !w.Color || text == "" {
		return text
	}
	return "\x1b[1m" + text + "\x1b[0m"
}

// Write renders a result with all its sections to out. What people should know about the rendering goes to notes: that
// borders were left out, that cells were cut. Table.Notes, and counting rows aloud, are left to the caller.
//
// Nothing is read before the options are understood. When a stream ends with an error its rows before that are
// written, and the error is returned as it is; a write that fails is a *spec.Error that wraps it.
func Write(ctx context.Context, out io.Writer, notes io.Writer, t *spec.Table, o Options) (Stats, error) {
	if o.Format == "" {
		o.Format = "auto"
	}
	format := lookup(o.Format)
	if format == nil {
		return Stats{}, unknownFormat(o.Format)
	}
	if notes == nil {
		notes = io.Discard
	}
	sections, err := plan(ctx, t, &o)
	if err != nil {
		return Stats{Format: o.Format}, err
	}
	w := &writing{Options: &o, out: newSink(out), notes: notes, sections: len(sections)}
	doc := format.open(w)
	if w.format == "" {
		w.format = o.Format
	}
	stats := Stats{}
	for _, sec := range sections {
		p := &pump{doc: doc, sec: sec, out: w.out}
		err = p.run(ctx)
		stats.Rows += p.rows
		if err != nil {
			break
		}
	}
	if err == nil {
		err = doc.close()
	}
	stats.Format = w.format
	_ = w.out.flush(time.Now())
	if failed := w.out.err(); failed != nil {
		return stats, failed
	}
	return stats, err
}

func unknownFormat(name string) error {
	var names []string
	for _, f := range Formats() {
		names = append(names, f.Name)
	}
	return spec.Errorf(spec.Usage, "there is no output format %q%s", name, didYouMean(name, names)).
		WithHint("formats are %s", strings.Join(names, ", "))
}

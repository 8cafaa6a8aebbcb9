package render

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"shardsh/commands/spec"
)

// section is one table of the result, with what is left of it after filter, sort and columns.
type section struct {
	name    string // unique; "" when the result has only one
	first   bool
	columns []spec.Column
	single  bool
	lines   bool
	rows    iter.Seq2[spec.Row, error]
	pick    []int    // the columns' places in a row
	scratch spec.Row // what project answers
}

// project answers the chosen cells of a row; the answer is valid until the next call.
func (s *section) project(row spec.Row) spec.Row {
	for i, at := range s.pick {
		s.scratch[i] = nil
		if at < len(row) {
			s.scratch[i] = row[at]
		}
	}
	return s.scratch
}

// title names the section in an error.
func (s *section) title() string {
	if s.name == "" {
		return "the command"
	}
	return "section " + s.name
}

// plan resolves filter, sort and columns over all sections, before any row is read.
func plan(ctx context.Context, t *spec.Table, o *Options) ([]*section, error) {
	tables := append([]*spec.Table{t}, t.More...)
	filters, err := compileFilter(o.Filter, tables)
	if err != nil {
		return nil, err
	}
	sorts, err := resolveNames("--sort", sortNames(o.Sort), tables)
	if err != nil {
		return nil, err
	}
	picks, err := resolveNames("--columns", trimNames(o.Columns), tables)
	if err != nil {
		return nil, err
	}
	sections := make([]*section, len(tables))
	names := sectionNames(tables)
	for i, t := range tables {
		s := &section{name: names[i], first: i == 0, single: t.Single, lines: t.Lines, rows: t.Rows}
		if filters[i] != nil && s.rows != nil {
			s.rows = filters[i].rows(s.rows)
		}
		if sorts[i] != nil && s.rows != nil && !s.single {
			s.rows = sortRows(ctx, s.rows, sortKeys(o.Sort, sorts[i], t.Columns), o.TempDir)
		}
		s.pick = picks[i]
		if s.pick == nil {
			s.pick = make([]int, len(t.Columns))
			for j := range s.pick {
				s.pick[j] = j
			}
		}
		for _, at := range s.pick {
			s.columns = append(s.columns, t.Columns[at])
		}
		s.scratch = make(spec.Row, len(s.pick))
		sections[i] = s
	}
	return sections, nil
}

// sectionNames names every section, each differently, when there are several.
func sectionNames(tables []*spec.Table) []string {
	names := make([]string, len(tables))
	if len(tables) == 1 {
		return names
	}
	taken := map[string]bool{}
	for i, t := range tables {
		base := t.Section
		if base == "" {
			base = "result"
		}
		name := base
		for n := 2; taken[name]; n++ {
			name = fmt.Sprintf("%s_%d", base, n)
		}
		taken[name] = true
		names[i] = name
	}
	return names
}

func trimNames(names []string) []string {
	var trimmed []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" {
			trimmed = append(trimmed, name)
		}
	}
	return trimmed
}

// resolveNames finds the named columns in every table that has them all: their places, nil for the other tables.
func resolveNames(flag string, names []string, tables []*spec.Table) ([][]int, error) {
	found := make([][]int, len(tables))
	if len(names) == 0 {
		return found, nil
	}
	some := false
	for i, t := range tables {
		var places []int
		for _, name := range names {
			if at := findColumn(t.Columns, name); at >= 0 {
				places = append(places, at)
			}
		}
		if len(places) == len(names) {
			found[i], some = places, true
		}
	}
	if some {
		return found, nil
	}
	return nil, unknownColumns(flag, names, tables)
}

// findColumn prefers the exact name to one that differs in case; -1 when there is none.
func findColumn(columns []spec.Column, name string) int {
	folded := -1
	for i, c := range columns {
		if c.Name == name {
			return i
		}
		if folded < 0 && strings.EqualFold(c.Name, name) {
			folded = i
		}
	}
	return folded
}

func unknownColumns(flag string, names []string, tables []*spec.Table) error {
	all := columnNames(tables)
	hint := "columns are " + strings.Join(all, ", ")
	for _, name := range names {
		known := false
		for _, t := range tables {
			known = known || findColumn(t.Columns, name) >= 0
		}
		if !known {
			return spec.Errorf(spec.Usage, "%s: there is no column %q%s", flag, name, didYouMean(name, all)).WithHint("%s", hint)
		}
	}
	return spec.Errorf(spec.Usage, "%s: no section has all of %s", flag, strings.Join(names, ", ")).WithHint("%s", hint)
}

// columnNames lists the names of all tables, each once.
func columnNames(tables []*spec.Table) []string {
	var all []string
	seen := map[string]bool{}
	for _, t := range tables {
		for _, c := range t.Columns {
			if !seen[c.Name] {
				seen[c.Name] = true
				all = append(all, c.Name)
			}
		}
	}
	return all
}

// didYouMean answers `: did you mean "name"?` for the candidate nearest to what was typed, "" when none is near.
func didYouMean(typed string, candidates []string) string {
	best, distance := "", 3
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(typed), strings.ToLower(c)); d < distance && d < len(typed) {
			best, distance = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours.
func editDistance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, last := make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row := make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			change := 1
			if x[i-1] == y[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(y)]
}

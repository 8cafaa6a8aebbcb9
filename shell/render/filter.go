package render

import (
	"iter"
	"math"
	"slices"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"shardsh/commands/spec"
)

// filter is --filter compiled for the columns of one table.
type filter struct {
	text    string
	columns []spec.Column
	used    []int // the places of the columns it names
	program *vm.Program
}

// compileFilter compiles the expression for every table that has the columns it names; nil for the others.
func compileFilter(text string, tables []*spec.Table) ([]*filter, error) {
	filters := make([]*filter, len(tables))
	if text == "" {
		return filters, nil
	}
	names, err := namesIn(text)
	if err != nil {
		return nil, expressionError("--filter", text, err)
	}
	places, err := resolveNames("--filter", names.free, tables)
	if err != nil {
		return nil, err
	}
	for i, t := range tables {
		if len(names.free) > 0 && places[i] == nil {
			continue
		}
		if filters[i], err = newFilter(text, names.free, t.Columns, places[i]); err != nil {
			return nil, err
		}
	}
	return filters, nil
}

// newFilter compiles twice: with the columns' types for the errors, then without them for cells that are nil.
func newFilter(text string, names []string, columns []spec.Column, used []int) (*filter, error) {
	renames, kinds, env := map[string]string{}, map[string]spec.Kind{}, map[string]any{}
	for i, at := range used {
		c := columns[at]
		renames[names[i]] = c.Name
		kinds[c.Name] = c.Kind
		env[columnMark+c.Name] = sample(c.Kind)
	}
	r := &renamer{names: renames, columns: kinds}
	_, err := expr.Compile(text, expr.Env(env), expr.Patch(r), expr.AsBool())
	if r.err != nil {
		err = r.err
	}
	if err != nil {
		return nil, expressionError("--filter", text, err).WithHint("write a condition over columns: partitions > 8 and name matches \"^T\"")
	}
	program, err := compileLoose(text, &renamer{names: renames, columns: kinds})
	if err != nil {
		return nil, expressionError("--filter", text, err)
	}
	return &filter{text: text, columns: columns, used: slices.Compact(slices.Sorted(slices.Values(used))), program: program}, nil
}

// sample is a value of the type a kind has in an expression.
func sample(k spec.Kind) any {
	switch k {
	case spec.Int, spec.Size:
		return int64(0)
	case spec.Float, spec.Duration:
		return float64(0)
	case spec.Bool:
		return false
	case spec.Time:
		return time.Time{}
	case spec.List:
		return []string{}
	case spec.Map:
		return map[string]string{}
	}
	return ""
}

// operand is a cell in an expression: what Value says, but for times and for numbers the language does not have.
func operand(k spec.Kind, cell any) any {
	if t, ok := cell.(time.Time); ok && !t.IsZero() {
		return t
	}
	v := Value(k, cell)
	if n, ok := v.(uint64); ok {
		return float64(n)
	}
	if f, ok := v.(float64); ok && math.IsNaN(f) {
		return nil
	}
	return v
}

// rows passes on the rows for which the filter is true.
func (f *filter) rows(rows iter.Seq2[spec.Row, error]) iter.Seq2[spec.Row, error] {
	return func(yield func(spec.Row, error) bool) {
		machine, env := vm.VM{}, map[string]any{}
		for row, err := range rows {
			if err == nil {
				var keep bool
				if keep, err = f.keeps(&machine, env, row); err == nil && !keep {
					continue
				}
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (f *filter) keeps(machine *vm.VM, env map[string]any, row spec.Row) (bool, error) {
	missing := false
	for _, at := range f.used {
		var cell any
		if at < len(row) {
			cell = row[at]
		}
		v := operand(f.columns[at].Kind, cell)
		missing = missing || v == nil
		env[columnMark+f.columns[at].Name] = v
	}
	answer, err := machine.Run(f.program, env)
	if err != nil {
		if missing {
			return false, nil // a function was handed nothing: the row does not qualify
		}
		return false, expressionError("--filter", f.text, err)
	}
	keep, ok := answer.(bool)
	if !ok && answer != nil {
		return false, spec.Errorf(spec.Usage, "--filter %q is neither true nor false: it is %v", f.text, answer)
	}
	return keep, nil
}

package render

import (
	"slices"
	"strings"

	"github.com/expr-lang/expr/vm"

	"shardsh/commands/spec"
)

// Condition is an expression about a whole result, as `wait --until` takes it. It sees rows (a list of objects whose
// members are the columns, in the values of filters), count (their number), the columns themselves when the table is
// Single, and, in a result with several sections, each section under its name: a list of objects, or one object.
type Condition struct {
	text  string
	names *names
}

// Snapshot is a result read to its end.
type Snapshot struct {
	env     map[string]any
	columns []string // of all sections
	kinds   map[string]spec.Kind
	single  []string // the columns that are names of their own
}

// CompileCondition checks what can be checked without a result: the syntax.
func CompileCondition(text string) (*Condition, error) {
	n, err := namesIn(text)
	if err == nil {
		anything := map[string]string{}
		for _, name := range n.free {
			anything[name] = name
		}
		_, err = compileLoose(text, &renamer{names: anything})
	}
	if err != nil {
		return nil, expressionError("the condition", text, err).WithHint("write, for instance: count == 3, or all(rows, .is_alive)")
	}
	return &Condition{text: text, names: n}, nil
}

// Eval answers whether the condition holds. A name the result does not have, and an answer that is neither true nor
// false, are usage errors. A condition about a row of an empty result does not hold.
func (c *Condition) Eval(t *Snapshot) (bool, error) {
	known := []string{}
	for name := range t.env {
		known = append(known, name)
	}
	slices.Sort(known)
	renames := map[string]string{}
	for _, name := range c.names.free {
		at := findColumn(spec.Columns(known...), name)
		if at < 0 {
			return false, c.unknown(name, known, "name")
		}
		renames[name] = known[at]
	}
	for _, name := range c.names.members {
		if !slices.Contains(t.columns, name) {
			return false, c.unknown(name, t.columns, "column")
		}
	}
	kinds := map[string]spec.Kind{}
	for _, name := range t.single {
		kinds[name] = t.kinds[name]
	}
	r := &renamer{names: renames, columns: kinds}
	program, err := compileLoose(c.text, r)
	if err == nil {
		err = r.err
	}
	if err != nil {
		return false, expressionError("the condition", c.text, err)
	}
	env := map[string]any{}
	for name, v := range t.env {
		env[columnMark+name] = v
	}
	answer, err := vm.Run(program, env)
	if err != nil {
		if t.env["count"] == 0 {
			return false, nil
		}
		return false, expressionError("the condition", c.text, err)
	}
	holds, ok := answer.(bool)
	if !ok && answer != nil {
		return false, spec.Errorf(spec.Usage, "the condition %q is neither true nor false: it is %v", c.text, answer)
	}
	return holds, nil
}

func (c *Condition) unknown(name string, known []string, what string) error {
	return spec.Errorf(spec.Usage, "the condition %q: there is no %s %q%s", c.text, what, name, didYouMean(name, known)).
		WithHint("it may name %s", strings.Join(known, ", "))
}

// Collect reads a result of at most limit rows per section.
func Collect(t *spec.Table, limit int) (*Snapshot, error) {
	s := &Snapshot{env: map[string]any{}, kinds: map[string]spec.Kind{}}
	tables := append([]*spec.Table{t}, t.More...)
	s.columns = columnNames(tables)
	names := sectionNames(tables)
	var first []any
	for i, table := range tables {
		rows, err := collectRows(table, limit)
		if err != nil {
			return nil, err
		}
		if names[i] != "" {
			s.env[names[i]] = rows
			if table.Single && len(rows) == 1 {
				s.env[names[i]] = rows[0]
			}
		}
		if i == 0 {
			first = rows
		}
	}
	if t.Single {
		s.record(t, first)
	}
	s.env["rows"], s.env["count"] = first, len(first)
	return s, nil
}

// record makes the columns of a record names of their own.
func (s *Snapshot) record(t *spec.Table, rows []any) {
	for _, c := range t.Columns {
		s.env[c.Name] = nil
		if len(rows) > 0 {
			s.env[c.Name] = rows[0].(map[string]any)[c.Name]
		}
		s.kinds[c.Name] = c.Kind
		s.single = append(s.single, c.Name)
	}
}

func collectRows(t *spec.Table, limit int) ([]any, error) {
	rows := []any{}
	if t.Rows == nil {
		return rows, nil
	}
	for row, err := range t.Rows {
		if err != nil {
			return nil, err
		}
		if len(rows) == limit {
			return nil, spec.Errorf(spec.Failed, "the result has more than the %d rows a condition may look at", limit)
		}
		object := make(map[string]any, len(t.Columns))
		for i, c := range t.Columns {
			object[c.Name] = nil
			if i < len(row) {
				object[c.Name] = operand(c.Kind, row[i])
			}
		}
		rows = append(rows, object)
	}
	return rows, nil
}

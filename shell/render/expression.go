package render

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
	"github.com/expr-lang/expr/vm/runtime"

	"shardsh/commands/spec"
)

// A column may be called what a function of the expression language is called (count, name, type): inside a program
// columns are known as columnMark and their name, which no one can type.
const columnMark = "column "

// names collects what an expression refers to.
type names struct {
	free    []string // identifiers that are neither declared by it nor called
	members []string // properties of the rows predicates run over: `.alive`
	seen    map[string]bool
	own     map[string]bool
}

func namesIn(text string) (*names, error) {
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, err
	}
	n := &names{seen: map[string]bool{}, own: map[string]bool{}}
	ast.Walk(&tree.Node, visitor(n.declared))
	ast.Walk(&tree.Node, visitor(n.visit))
	return n, nil
}

type visitor func(*ast.Node)

func (v visitor) Visit(node *ast.Node) { v(node) }

func (n *names) declared(node *ast.Node) {
	switch x := (*node).(type) {
	case *ast.VariableDeclaratorNode:
		n.own[x.Name] = true
	case *ast.CallNode:
		if callee, ok := x.Callee.(*ast.IdentifierNode); ok {
			n.own[callee.Value] = true
		}
	}
}

func (n *names) visit(node *ast.Node) {
	switch x := (*node).(type) {
	case *ast.IdentifierNode:
		if x.Value != "$env" && !n.own[x.Value] {
			n.add(x.Value)
		}
	case *ast.MemberNode:
		property, ok := x.Property.(*ast.StringNode)
		if _, pointer := x.Node.(*ast.PointerNode); ok && pointer {
			n.members = append(n.members, property.Value)
		}
		if name, ok := quotedName(x); ok {
			n.add(name)
		}
	}
}

func (n *names) add(name string) {
	if !n.seen[name] {
		n.seen[name] = true
		n.free = append(n.free, name)
	}
}

// quotedName reads `$env["p99 ms"]`, which names a column that is no identifier.
func quotedName(x *ast.MemberNode) (string, bool) {
	env, ok := x.Node.(*ast.IdentifierNode)
	property, isText := x.Property.(*ast.StringNode)
	if !ok || !isText || env.Value != "$env" {
		return "", false
	}
	return property.Value, true
}

// renamer puts columns in the place of identifiers, and values in the place of texts they are compared with.
type renamer struct {
	names   map[string]string // identifier → column
	columns map[string]spec.Kind
	err     error
}

func (r *renamer) Visit(node *ast.Node) {
	switch x := (*node).(type) {
	case *ast.IdentifierNode:
		if column, ok := r.names[x.Value]; ok {
			x.Value = columnMark + column
		}
	case *ast.MemberNode:
		if name, ok := quotedName(x); ok && r.names[name] != "" {
			ast.Patch(node, &ast.IdentifierNode{Value: columnMark + r.names[name]})
		}
	case *ast.BinaryNode:
		if comparison(x.Operator) {
			r.literal(x.Left, &x.Right)
			r.literal(x.Right, &x.Left)
		}
	}
}

func comparison(operator string) bool {
	return strings.Contains(" < <= > >= == != ", " "+operator+" ")
}

// literal reads the text that stands opposite a column of times, durations or sizes.
func (r *renamer) literal(column ast.Node, other *ast.Node) {
	id, ok := column.(*ast.IdentifierNode)
	text, isText := (*other).(*ast.StringNode)
	if !ok || !isText {
		return
	}
	name, marked := strings.CutPrefix(id.Value, columnMark)
	kind, known := r.columns[name]
	if !marked || !known {
		return
	}
	constant, err := parseLiteral(kind, text.Value)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", name, err)
		return
	}
	if constant != nil {
		ast.Patch(other, &ast.ConstantNode{Value: constant})
	}
}

func parseLiteral(kind spec.Kind, text string) (any, error) {
	switch kind {
	case spec.Time:
		for _, layout := range []string{time.RFC3339Nano, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
			if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
				return t, nil
			}
		}
		return nil, fmt.Errorf("%q is not a time; write 2026-01-31, 2026-01-31 15:04:05 or RFC 3339", text)
	case spec.Duration:
		d, err := spec.ParseDuration(text, time.Second)
		return d.Seconds(), err
	case spec.Size:
		return parseSize(text)
	}
	return nil, nil
}

// parseSize reads 512, 10KiB, 1.5 GB: every unit is a power of 1024, as the stores mean it.
func parseSize(text string) (any, error) {
	digits := strings.TrimRight(text, "KMGTPEkmgtpeiIbB ")
	unit := strings.ToUpper(strings.TrimSpace(text[len(digits):]))
	unit = strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I")
	n, err := strconv.ParseFloat(digits, 64)
	power := strings.Index("KMGTPE", unit) + 1
	if unit == "" {
		power = 0
	}
	if err != nil || len(unit) > 1 {
		return nil, fmt.Errorf("%q is not a size; write 1048576, 512KiB or 1.5GiB", text)
	}
	for range power {
		n *= 1024
	}
	return n, nil
}

// nilSafe gives operators on a nil operand a value instead of an error: comparing is false, calculating is nil.
type nilSafe struct{}

var nilSafeOperators = map[string]func(a, b any) any{
	"<":  func(a, b any) any { return runtime.Less(a, b) },
	"<=": func(a, b any) any { return runtime.LessOrEqual(a, b) },
	">":  func(a, b any) any { return runtime.More(a, b) },
	">=": func(a, b any) any { return runtime.MoreOrEqual(a, b) },
	"+":  runtime.Add,
	"-":  runtime.Subtract,
	"*":  runtime.Multiply,
	"/":  func(a, b any) any { return runtime.Divide(a, b) },
	"%":  func(a, b any) any { return runtime.Modulo(a, b) },
}

func (nilSafe) Visit(node *ast.Node) {
	x, ok := (*node).(*ast.BinaryNode)
	if !ok {
		return
	}
	if _, ok := nilSafeOperators[x.Operator]; ok {
		callee := &ast.IdentifierNode{Value: columnMark + x.Operator}
		ast.Patch(node, &ast.CallNode{Callee: callee, Arguments: []ast.Node{x.Left, x.Right}})
		return
	}
	switch x.Operator {
	case "matches", "contains", "startsWith", "endsWith":
		// The node itself stays, for its pattern is compiled once.
		isNil := &ast.BinaryNode{Operator: "==", Left: x.Left, Right: &ast.NilNode{}}
		ast.Patch(node, &ast.ConditionalNode{Cond: isNil, Exp1: &ast.BoolNode{}, Exp2: x})
	}
}

// nilSafeFunctions are what nilSafe calls.
func nilSafeFunctions() []expr.Option {
	var options []expr.Option
	for operator, do := range nilSafeOperators {
		decides := comparison(operator)
		options = append(options, expr.Function(columnMark+operator, func(params ...any) (any, error) {
			if params[0] != nil && params[1] != nil {
				return do(params[0], params[1]), nil
			}
			if decides {
				return false, nil
			}
			return nil, nil
		}))
	}
	return options
}

// compileLoose compiles an expression whose names are known but not their types; cells may be nil.
func compileLoose(text string, r *renamer) (*vm.Program, error) {
	options := append(nilSafeFunctions(), expr.Env(map[string]any{}), expr.AllowUndefinedVariables(),
		expr.Patch(r), expr.Patch(nilSafe{}))
	return expr.Compile(text, options...)
}

// expressionError says on one line what is wrong with an expression.
func expressionError(what, text string, err error) *spec.Error {
	why := err.Error()
	var at *file.Error
	if errors.As(err, &at) {
		why = fmt.Sprintf("%s (at character %d)", strings.ReplaceAll(at.Message, columnMark, ""), at.Column+1)
	}
	return spec.Errorf(spec.Usage, "%s %q: %s", what, text, why)
}

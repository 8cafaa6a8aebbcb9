package backup

import (
	"bytes"
	"fmt"
	"reflect"
	"time"

	"github.com/parquet-go/parquet-go"

	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
)

// schemaOf is the schema of openmldb.CopyRow.Value: all columns, as version 1.
func schemaOf(columns []Column) (wire.Schema, error) {
	s := wire.Schema{Version: 1, Versions: map[uint8]int{1: len(columns)}}
	for _, c := range columns {
		t, known := wire.ParseType(c.Type)
		if !known {
			return s, fmt.Errorf("column %s is of type %q, whose values cannot be read", c.Name, c.Type)
		}
		s.Columns = append(s.Columns, wire.Column{Name: c.Name, Type: t})
	}
	return s, nil
}

// node is a Parquet column of a type.
func node(t types.DataType) parquet.Node {
	switch t {
	case types.DataType_kBool:
		return parquet.Leaf(parquet.BooleanType)
	case types.DataType_kSmallInt:
		return parquet.Int(16)
	case types.DataType_kInt:
		return parquet.Int(32)
	case types.DataType_kBigInt:
		return parquet.Int(64)
	case types.DataType_kFloat:
		return parquet.Leaf(parquet.FloatType)
	case types.DataType_kDouble:
		return parquet.Leaf(parquet.DoubleType)
	case types.DataType_kDate:
		return parquet.Date()
	case types.DataType_kTimestamp:
		return parquet.Timestamp(parquet.Millisecond)
	}
	return parquet.String()
}

// rowsSchema has the columns of a table, all of them nullable.
func rowsSchema(s *wire.Schema) *parquet.Schema {
	g := group{Group: parquet.Group{}}
	for _, c := range s.Columns {
		// Spark reads neither delta encodings nor pages of version 2 in every release that OpenMLDB comes with.
		g.add(c.Name, parquet.Optional(parquet.Encoded(node(c.Type), &parquet.Plain)))
	}
	return parquet.NewSchema("row", g)
}

// timesSchema is that of the files in times.
func timesSchema() *parquet.Schema {
	g := group{Group: parquet.Group{}}
	g.add("time", parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked))
	g.add("key", parquet.Optional(parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.Plain)))
	g.add("row", parquet.Optional(parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.Plain)))
	return parquet.NewSchema("time", g)
}

// group is a parquet.Group that keeps its columns in order.
type group struct {
	parquet.Group
	fields []parquet.Field
}

func (g *group) add(name string, n parquet.Node) {
	n = parquet.Compressed(n, &parquet.Snappy)
	g.Group[name] = n
	g.fields = append(g.fields, &field{n, name})
}

func (g group) Fields() []parquet.Field { return g.fields }

// field is a column of a group. Rows are written as parquet.Row, never as Go values of their own.
type field struct {
	parquet.Node
	name string
}

func (f *field) Name() string { return f.name }

func (f *field) Value(base reflect.Value) reflect.Value {
	return base.MapIndex(reflect.ValueOf(&f.name).Elem())
}

const day = 24 * time.Hour

// cell is a value in its Parquet column.
func cell(v any, column int) (parquet.Value, bool) {
	var p parquet.Value
	switch x := v.(type) {
	case nil:
		return parquet.NullValue().Level(0, 0, column), true
	case bool:
		p = parquet.BooleanValue(x)
	case int16:
		p = parquet.Int32Value(int32(x))
	case int32:
		p = parquet.Int32Value(x)
	case int64:
		p = parquet.Int64Value(x)
	case float32:
		p = parquet.FloatValue(x)
	case float64:
		p = parquet.DoubleValue(x)
	case string:
		p = parquet.ByteArrayValue([]byte(x))
	case wire.Date:
		t := time.Date(x.Year, time.Month(x.Month), x.Day, 0, 0, 0, 0, time.UTC)
		p = parquet.Int32Value(int32(t.Unix() / int64(day/time.Second)))
	default:
		return parquet.Value{}, false
	}
	return p.Level(0, 1, column), true
}

// value is the inverse of cell.
func value(p parquet.Value, t types.DataType) any {
	if p.IsNull() {
		return nil
	}
	switch t {
	case types.DataType_kBool:
		return p.Boolean()
	case types.DataType_kSmallInt:
		return int16(p.Int32())
	case types.DataType_kInt:
		return p.Int32()
	case types.DataType_kBigInt, types.DataType_kTimestamp:
		return p.Int64()
	case types.DataType_kFloat:
		return p.Float()
	case types.DataType_kDouble:
		return p.Double()
	case types.DataType_kDate:
		y, m, d := time.Unix(int64(p.Int32())*int64(day/time.Second), 0).UTC().Date()
		return wire.Date{Year: y, Month: int(m), Day: d}
	}
	return string(p.ByteArray())
}

// cells are a row's values in Parquet. exact says that they give the row's own bytes again. A row that cannot be made of
// them at all has NULLs.
func cells(into parquet.Row, s *wire.Schema, values []any, row []byte) (out parquet.Row, exact bool) {
	exact = true
	for i, v := range values {
		if d, is := v.(wire.Date); is && !isDay(d) {
			v, exact = nil, false
		}
		c, ok := cell(v, i)
		if !ok {
			c, exact = parquet.NullValue().Level(0, 0, i), false
		}
		into = append(into, c)
	}
	if exact {
		again, err := s.Encode(values)
		exact = err == nil && bytes.Equal(again, row)
	}
	return into, exact
}

func isDay(d wire.Date) bool {
	t := time.Date(d.Year, time.Month(d.Month), d.Day, 0, 0, 0, 0, time.UTC)
	return t.Year() == d.Year && int(t.Month()) == d.Month && t.Day() == d.Day
}

package openmldb

import (
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
)

// Values of rows, as Row.Values and Schema have them.
type (
	RowColumn = wire.Column
	Date      = wire.Date
	// DataType is a column's type; TypeName is how people write it.
	DataType = types.DataType
)

// Timestamp is the type of moments, in milliseconds.
const Timestamp = types.DataType_kTimestamp

// EmptyKey is the text that an index has for an empty value.
const EmptyKey = wire.EmptyKey

// TypeName is how people write a type: "bigint".
func TypeName(t DataType) string { return wire.TypeName(t) }

// ParseType reads a type as people write it.
func ParseType(text string) (DataType, bool) { return wire.ParseType(text) }

// ParseValue reads a value of a type as people write it.
func ParseValue(text string, t DataType) (any, error) { return wire.ParseValue(text, t) }

// FormatValue writes a value as ParseValue reads it.
func FormatValue(v any) string { return wire.FormatValue(v) }

// KeyText is the text that an index has for a value.
func KeyText(v any) string { return wire.KeyText(v) }

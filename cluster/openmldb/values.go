package openmldb

import (
	"strconv"
	"time"

	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
)

// Date is the value of a date column; see Row.
type Date = wire.Date

// ParseType reads the type of a column as people write it, older names too ("int64"), and answers its usual name.
func ParseType(text string) (name string, ok bool) {
	t, ok := wire.ParseType(text)
	return wire.TypeName(t), ok
}

// ParseValue reads what a person types for a value of a type: a number, true or false, 2024-05-17, a time (RFC 3339 or
// milliseconds), a text. The error says what is wrong with it.
func ParseValue(text, typeName string) (any, error) {
	t, _ := wire.ParseType(typeName)
	return wire.ParseValue(text, t)
}

// ParseTime reads a time as timestamp columns take it; 0 is the zero Time.
func ParseTime(text string) (time.Time, error) {
	v, err := wire.ParseValue(text, types.DataType_kTimestamp)
	if ms, ok := v.(int64); ok && ms > 0 {
		return time.UnixMilli(ms), err
	}
	return time.Time{}, err
}

// KeyText is a value as part of an index key: NULL and the empty string have texts of their own, a date is a number.
func KeyText(v any) string { return wire.KeyText(v) }

// Widen is a float32 as the float64 that is written the same.
func Widen(x float32) float64 {
	wide, _ := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'g', -1, 32), 64)
	return wide
}

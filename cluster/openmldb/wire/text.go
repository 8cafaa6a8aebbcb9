package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster/openmldb/pb/types"
)

// What stands for NULL and for an empty string in the text of an index key (OpenMLDB: codec/codec.h).
const (
	NullKey  = "!N@U#L$L%"
	EmptyKey = "!@#$%"
)

// ParseValue reads what a person types for a column: a number, true or false, 2024-05-17, a time (RFC 3339 or
// milliseconds), a text. An unquoted null is up to the caller.
func ParseValue(text string, t types.DataType) (any, error) {
	bad := func(err error) error {
		return fmt.Errorf("%q is no %s%s", text, TypeName(t), reason(err))
	}
	switch t {
	case types.DataType_kBool:
		if b, err := strconv.ParseBool(text); err == nil {
			return b, nil
		}
		return nil, bad(nil)
	case types.DataType_kSmallInt:
		n, err := strconv.ParseInt(text, 10, 16)
		if err != nil {
			return nil, bad(err)
		}
		return int16(n), nil
	case types.DataType_kInt:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, bad(err)
		}
		return int32(n), nil
	case types.DataType_kBigInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, bad(err)
		}
		return n, nil
	case types.DataType_kFloat:
		x, err := strconv.ParseFloat(text, 32)
		if err != nil {
			return nil, bad(err)
		}
		return float32(x), nil
	case types.DataType_kDouble:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, bad(err)
		}
		return x, nil
	case types.DataType_kTimestamp:
		return parseTimestamp(text)
	case types.DataType_kDate:
		day, err := time.Parse(time.DateOnly, text)
		d := Date{day.Year(), int(day.Month()), day.Day()}
		if err != nil || !d.valid() {
			return nil, fmt.Errorf("%q is no date; write 2024-05-17", text)
		}
		return d, nil
	case types.DataType_kString, types.DataType_kVarchar:
		return text, nil
	}
	return nil, fmt.Errorf("values of type %s cannot be typed", TypeName(t))
}

func reason(err error) string {
	if err != nil && strings.Contains(err.Error(), "out of range") {
		return ": it is out of range"
	}
	return ""
}

func parseTimestamp(text string) (any, error) {
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		var at time.Time
		if at, err = time.Parse(time.RFC3339Nano, text); err == nil {
			ms = at.UnixMilli()
		}
	}
	if err != nil || ms < 0 {
		return nil, fmt.Errorf("%q is no timestamp; write milliseconds or 2024-05-17T12:00:00Z", text)
	}
	return ms, nil
}

// FormatValue is the inverse of ParseValue; NULL is "".
func FormatValue(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case float32:
		return strconv.FormatFloat(float64(x), 'g', -1, 32)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// KeyText is a value as part of an index key.
func KeyText(v any) string {
	switch v {
	case nil:
		return NullKey
	case "":
		return EmptyKey
	}
	if d, ok := v.(Date); ok {
		return strconv.FormatUint(uint64(d.pack()), 10)
	}
	return FormatValue(v)
}

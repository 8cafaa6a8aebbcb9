package wire

import (
	"bytes"
	"testing"
)

func TestCheckNames(t *testing.T) {
	for name, want := range map[string]CheckType{
		"no_check": 0, "not_exist": 1, "not_exist_or_empty": 2, "exist": 3, "not_empty": 4, "match_anywhere": 5,
		"match_prefix": 6, "match_postfix": 7, "bytes_less": 8, "bytes_less_or_equal": 9, "bytes_equal": 10,
		"bytes_greater_or_equal": 11, "bytes_greater": 12, "int_less": 13, "int_less_or_equal": 14, "int_equal": 15,
		"int_greater_or_equal": 16, "int_greater": 17,
	} {
		got, ok := ParseCheckType(name)
		if !ok || got != want || got.String() != name {
			t.Errorf("%s is %d (%t), whose name is %s; want %d", name, got, ok, got, want)
		}
		if got.NeedsOperand() != (want >= 5) {
			t.Errorf("%s needs an operand: %t", name, got.NeedsOperand())
		}
	}
	if _, ok := ParseCheckType("int"); ok {
		t.Error("a check that there is not was found")
	}
	if names := CheckNames(); len(names) != 17 || names[0] != "not_exist" || CheckType(18).String() != "18" {
		t.Errorf("%q", names)
	}
}

// TestCheckAndSetBytes fixes the field numbers and types of rrdb.thrift, spelled out by hand.
func TestCheckAndSetBytes(t *testing.T) {
	q := CheckAndSetRequest{CheckType: CheckIntLess, ExpireTS: 3, ReturnCheckValue: true}
	got := checkAndSetType.write(nil, &q)
	for _, part := range []string{"\x08\x00\x03\x00\x00\x00\x0d", "\x02\x00\x05\x00", "\x08\x00\x08\x00\x00\x00\x03", "\x02\x00\x09\x01"} {
		if !bytes.Contains(got, []byte(part)) {
			t.Errorf("% x lacks % x", got, part)
		}
	}
}

package wire

import (
	"slices"
	"strings"
)

// CheckType says how check_and_set and check_and_mutate look at a value before they change rows.
type CheckType int32

// The check types, as rrdb numbers them. A value that is not there passes only CheckNone, CheckNotExist and
// CheckNotExistOrEmpty. Integers are 64 bits wide; a value or operand that is none is StatusInvalidArgument.
const (
	CheckNone CheckType = iota
	CheckNotExist
	CheckNotExistOrEmpty
	CheckExist
	CheckNotEmpty
	CheckAnywhere
	CheckPrefix
	CheckPostfix
	CheckBytesLess
	CheckBytesLessOrEqual
	CheckBytesEqual
	CheckBytesGreaterOrEqual
	CheckBytesGreater
	CheckIntLess
	CheckIntLessOrEqual
	CheckIntEqual
	CheckIntGreaterOrEqual
	CheckIntGreater
)

var checkNames = strings.Fields(`no_check not_exist not_exist_or_empty exist not_empty
match_anywhere match_prefix match_postfix
bytes_less bytes_less_or_equal bytes_equal bytes_greater_or_equal bytes_greater
int_less int_less_or_equal int_equal int_greater_or_equal int_greater`)

func (c CheckType) String() string { return nameOf(checkNames, int32(c)) }

// ParseCheckType reads a check's name ("int_less").
func ParseCheckType(name string) (CheckType, bool) {
	i := slices.Index(checkNames, name)
	return CheckType(max(i, 0)), i >= 0
}

// CheckNames lists the names of all checks but CheckNone, in the order of their numbers.
func CheckNames() []string { return slices.Clone(checkNames[1:]) }

// NeedsOperand reports whether the check compares the value with something.
func (c CheckType) NeedsOperand() bool { return c >= CheckAnywhere }

// CheckAndSetRequest sets a row when the check on a row of the same hash key passes.
type CheckAndSetRequest struct {
	HashKey, CheckSortKey []byte
	CheckType             CheckType
	CheckOperand          []byte
	SetDiffSortKey        bool // SetSortKey counts; else the row that was looked at is set
	SetSortKey, SetValue  []byte
	ExpireTS              int32
	ReturnCheckValue      bool
}

// MutateOperation is what a Mutation does.
type MutateOperation int32

// The operations of a Mutation.
const (
	MutatePut MutateOperation = iota
	MutateDelete
)

// Mutation is one change of check_and_mutate. Value and ExpireTS are for MutatePut.
type Mutation struct {
	Operation      MutateOperation
	SortKey, Value []byte
	ExpireTS       int32
}

// CheckAndMutateRequest changes rows of a hash key, all or none, when the check on one of them passes.
type CheckAndMutateRequest struct {
	HashKey, CheckSortKey []byte
	CheckType             CheckType
	CheckOperand          []byte
	Mutations             []Mutation
	ReturnCheckValue      bool
}

// CheckResponse answers check_and_set and check_and_mutate: StatusTryAgain when the check did not pass.
type CheckResponse struct {
	Error              int32
	CheckValueReturned bool
	CheckValueExist    bool // when returned
	CheckValue         []byte
	AppID, Partition   int32
	Decree             int64
	Server             string
}

var (
	checkT  = enumType[CheckType]("cas_check_type")
	mutateT = enumType[MutateOperation]("mutate_operation")

	checkAndSetType = structOf("check_and_set_request",
		req(1, "hash_key", blobType, func(m *CheckAndSetRequest) *[]byte { return &m.HashKey }),
		req(2, "check_sort_key", blobType, func(m *CheckAndSetRequest) *[]byte { return &m.CheckSortKey }),
		req(3, "check_type", checkT, func(m *CheckAndSetRequest) *CheckType { return &m.CheckType }),
		req(4, "check_operand", blobType, func(m *CheckAndSetRequest) *[]byte { return &m.CheckOperand }),
		req(5, "set_diff_sort_key", boolType, func(m *CheckAndSetRequest) *bool { return &m.SetDiffSortKey }),
		req(6, "set_sort_key", blobType, func(m *CheckAndSetRequest) *[]byte { return &m.SetSortKey }),
		req(7, "set_value", blobType, func(m *CheckAndSetRequest) *[]byte { return &m.SetValue }),
		req(8, "set_expire_ts_seconds", i32Type, func(m *CheckAndSetRequest) *int32 { return &m.ExpireTS }),
		req(9, "return_check_value", boolType, func(m *CheckAndSetRequest) *bool { return &m.ReturnCheckValue }),
	)
	mutationType = structOf("mutate",
		req(1, "operation", mutateT, func(m *Mutation) *MutateOperation { return &m.Operation }),
		req(2, "sort_key", blobType, func(m *Mutation) *[]byte { return &m.SortKey }),
		req(3, "value", blobType, func(m *Mutation) *[]byte { return &m.Value }),
		req(4, "set_expire_ts_seconds", i32Type, func(m *Mutation) *int32 { return &m.ExpireTS }),
	)
	checkAndMutateType = structOf("check_and_mutate_request",
		req(1, "hash_key", blobType, func(m *CheckAndMutateRequest) *[]byte { return &m.HashKey }),
		req(2, "check_sort_key", blobType, func(m *CheckAndMutateRequest) *[]byte { return &m.CheckSortKey }),
		req(3, "check_type", checkT, func(m *CheckAndMutateRequest) *CheckType { return &m.CheckType }),
		req(4, "check_operand", blobType, func(m *CheckAndMutateRequest) *[]byte { return &m.CheckOperand }),
		req(5, "mutate_list", listOf(mutationType), func(m *CheckAndMutateRequest) *[]Mutation { return &m.Mutations }),
		req(6, "return_check_value", boolType, func(m *CheckAndMutateRequest) *bool { return &m.ReturnCheckValue }),
	)
	checkResultType = structOf("check_and_set_response",
		req(1, "error", i32Type, func(m *CheckResponse) *int32 { return &m.Error }),
		req(2, "check_value_returned", boolType, func(m *CheckResponse) *bool { return &m.CheckValueReturned }),
		req(3, "check_value_exist", boolType, func(m *CheckResponse) *bool { return &m.CheckValueExist }),
		req(4, "check_value", blobType, func(m *CheckResponse) *[]byte { return &m.CheckValue }),
		req(5, "app_id", i32Type, func(m *CheckResponse) *int32 { return &m.AppID }),
		req(6, "partition_index", i32Type, func(m *CheckResponse) *int32 { return &m.Partition }),
		req(7, "decree", i64Type, func(m *CheckResponse) *int64 { return &m.Decree }),
		req(8, "server", stringType, func(m *CheckResponse) *string { return &m.Server }),
	)
)

// The conditional writes.
var (
	CheckAndSet    = RPC[CheckAndSetRequest, CheckResponse]{"RPC_RRDB_RRDB_CHECK_AND_SET", true, false, checkAndSetType, checkResultType}
	CheckAndMutate = RPC[CheckAndMutateRequest, CheckResponse]{"RPC_RRDB_RRDB_CHECK_AND_MUTATE", true, false, checkAndMutateType, checkResultType}
)

package wire

import (
	"strconv"
	"strings"
)

// OK is the error name of success. Names are strings everywhere: servers know more of them than any client.
const OK = "ERR_OK"

// The error names that clients react to. ErrorNames has all.
const (
	CodeTimeout            = "ERR_TIMEOUT"
	CodeAppExist           = "ERR_APP_EXIST"
	CodeAppNotExist        = "ERR_APP_NOT_EXIST"
	CodeAppDropped         = "ERR_APP_DROPPED"
	CodeBusyCreating       = "ERR_BUSY_CREATING"
	CodeBusyDropping       = "ERR_BUSY_DROPPING"
	CodeBusy               = "ERR_BUSY"
	CodeForward            = "ERR_FORWARD_TO_OTHERS"
	CodeObjectNotFound     = "ERR_OBJECT_NOT_FOUND"
	CodeHandlerNotFound    = "ERR_HANDLER_NOT_FOUND"
	CodeInvalidParameters  = "ERR_INVALID_PARAMETERS"
	CodeInvalidData        = "ERR_INVALID_DATA"
	CodeCapacityExceeded   = "ERR_CAPACITY_EXCEEDED"
	CodeInvalidState       = "ERR_INVALID_STATE"
	CodeChildRegistered    = "ERR_CHILD_REGISTERED"
	CodeInactiveState      = "ERR_INACTIVE_STATE"
	CodeNotEnoughMember    = "ERR_NOT_ENOUGH_MEMBER"
	CodeServiceNotActive   = "ERR_SERVICE_NOT_ACTIVE"
	CodeUnderRecovery      = "ERR_UNDER_RECOVERY"
	CodeOperationDisabled  = "ERR_OPERATION_DISABLED"
	CodeStateFreezed       = "ERR_STATE_FREEZED"
	CodeSplitting          = "ERR_SPLITTING"
	CodeParentMisused      = "ERR_PARENT_PARTITION_MISUSED"
	CodeChildNotReady      = "ERR_CHILD_NOT_READY"
	CodeDiskInsufficient   = "ERR_DISK_INSUFFICIENT"
	CodeACLDeny            = "ERR_ACL_DENY"
	CodeUnauthenticated    = "ERR_UNAUTHENTICATED"
	CodeTryAgain           = "ERR_TRY_AGAIN"
	CodeReplicationFailure = "ERR_REPLICATION_FAILURE"
	CodeServiceRunning     = "ERR_SERVICE_ALREADY_RUNNING"
	CodeDupExist           = "ERR_DUP_EXIST"
	CodeInconsistent       = "ERR_INCONSISTENT_STATE"
	CodeFileOperation      = "ERR_FILE_OPERATION_FAILED"
	CodeCorruption         = "ERR_CORRUPTION"
	CodeIngestionFailed    = "ERR_INGESTION_FAILED"
	CodeIgnoreBadData      = "ERR_IGNORE_BAD_DATA"
	CodeRetryExhausted     = "ERR_RETRY_EXHAUSTED"
	CodeFSInternal         = "ERR_FS_INTERNAL"
)

// headerCodes are the names that the Go client knows: only these may stand in a response frame's header.
const headerCodes = `OK UNKNOWN REPLICATION_FAILURE APP_EXIST APP_NOT_EXIST APP_DROPPED BUSY_CREATING BUSY_DROPPING
EXPIRED LOCK_ALREADY_EXIST HOLD_BY_OTHERS RECURSIVE_LOCK NO_OWNER NODE_ALREADY_EXIST INCONSISTENT_STATE
ARRAY_INDEX_OUT_OF_RANGE SERVICE_NOT_FOUND SERVICE_ALREADY_RUNNING IO_PENDING TIMEOUT SERVICE_NOT_ACTIVE BUSY
NETWORK_INIT_FAILED FORWARD_TO_OTHERS OBJECT_NOT_FOUND HANDLER_NOT_FOUND LEARN_FILE_FAILED GET_LEARN_STATE_FAILED
INVALID_VERSION INVALID_PARAMETERS CAPACITY_EXCEEDED INVALID_STATE INACTIVE_STATE NOT_ENOUGH_MEMBER
FILE_OPERATION_FAILED HANDLE_EOF WRONG_CHECKSUM INVALID_DATA INVALID_HANDLE INCOMPLETE_DATA VERSION_OUTDATED
PATH_NOT_FOUND PATH_ALREADY_EXIST ADDRESS_ALREADY_USED STATE_FREEZED LOCAL_APP_FAILURE BIND_IOCP_FAILED
NETWORK_START_FAILED NOT_IMPLEMENTED CHECKPOINT_FAILED WRONG_TIMING NO_NEED_OPERATE CORRUPTION TRY_AGAIN
CLUSTER_NOT_FOUND CLUSTER_ALREADY_EXIST SERVICE_ALREADY_EXIST INJECTED NETWORK_FAILURE UNDER_RECOVERY
OPERATION_DISABLED ZOOKEEPER_OPERATION CHILD_REGISTERED INGESTION_FAILED UNAUTHENTICATED KRB5_INTERNAL SASL_INTERNAL
SASL_INCOMPLETE ACL_DENY SPLITTING PARENT_PARTITION_MISUSED CHILD_NOT_READY DISK_INSUFFICIENT`

// bodyCodes are known to servers only: they may stand inside response structs.
const bodyCodes = `LEARNER_NOT_FOUND DIR_NOT_EMPTY FS_INTERNAL IGNORE_BAD_DATA MOCK_INTERNAL RETRY_EXHAUSTED
SYNC_RANGER_POLICIES_FAILED RANGER_PARSE_ACL RANGER_POLICIES_NO_NEED_UPDATE RDB_CORRUPTION DISK_IO_ERROR CURL_FAILED
DUP_EXIST HTTP_ERROR NOT_MATCHED`

func codes(names string) []string {
	list := strings.Fields(names)
	for i, name := range list {
		list[i] = "ERR_" + name
	}
	return list
}

// HeaderErrorNames lists the names that may reject a request as a whole.
func HeaderErrorNames() []string { return codes(headerCodes) }

// ErrorNames lists every name that servers are known to use.
func ErrorNames() []string { return append(codes(headerCodes), codes(bodyCodes)...) }

// interned holds the strings that answers repeat, so that decoding them allocates nothing.
var interned = makeInterned()

func makeInterned() map[string]string {
	m := map[string]string{}
	for _, name := range ErrorNames() {
		m[name] = name
	}
	for _, name := range []string{
		"PUT", "REMOVE", "MULTI_PUT", "MULTI_REMOVE", "INCR", "GET", "TTL", "SORTKEY_COUNT", "MULTI_GET",
		"GET_SCANNER", "SCAN", "CLEAR_SCANNER", "CHECK_AND_SET", "CHECK_AND_MUTATE",
	} {
		name = "RPC_RRDB_RRDB_" + name
		m[name], m[name+ackSuffix] = name, name+ackSuffix
	}
	m["pegasus"] = "pegasus"
	return m
}

// The RocksDB statuses that data calls answer in Error.
const (
	StatusOK              int32 = 0
	StatusNotFound        int32 = 1
	StatusCorruption      int32 = 2
	StatusNotSupported    int32 = 3
	StatusInvalidArgument int32 = 4
	StatusIOError         int32 = 5
	StatusIncomplete      int32 = 7
	StatusTimedOut        int32 = 9
	StatusBusy            int32 = 11
	StatusTryAgain        int32 = 13
)

var statusNames = [...]string{
	"ok", "not found", "corruption", "not supported", "invalid argument", "io error", "merge in progress",
	"incomplete", "shutdown in progress", "timed out", "aborted", "busy", "expired", "try again",
}

// StatusName names a RocksDB status ("not found").
func StatusName(status int32) string { return nameOf(statusNames[:], status) }

var appStatusNames = [...]string{
	"INVALID", "AVAILABLE", "CREATING", "CREATE_FAILED", "DROPPING", "DROP_FAILED", "DROPPED", "RECALLING",
}

func (s AppStatus) String() string { return nameOf(appStatusNames[:], int32(s)) }

// ParseAppStatus reads a table's state in either case; "all" is AppInvalid, which lists all.
func ParseAppStatus(text string) (AppStatus, bool) {
	if strings.EqualFold(text, "all") {
		return AppInvalid, true
	}
	for i, name := range appStatusNames {
		if i > 0 && strings.EqualFold(text, name) {
			return AppStatus(i), true
		}
	}
	return 0, false
}

var nodeStatusNames = [...]string{"INVALID", "ALIVE", "UNALIVE"}

func (s NodeStatus) String() string { return nameOf(nodeStatusNames[:], int32(s)) }

var replicaStatusNames = [...]string{
	"INVALID", "INACTIVE", "ERROR", "PRIMARY", "SECONDARY", "POTENTIAL_SECONDARY", "PARTITION_SPLIT",
}

func (s ReplicaStatus) String() string { return nameOf(replicaStatusNames[:], int32(s)) }

func (l MetaLevel) String() string {
	switch l {
	case LevelStopped:
		return "stopped"
	case LevelBlind:
		return "blind"
	case LevelFreezed:
		return "freezed"
	case LevelSteady:
		return "steady"
	case LevelLively:
		return "lively"
	}
	return strconv.Itoa(int(l))
}

// nameOf names a value, or writes the number of one that no release knows.
func nameOf(names []string, v int32) string {
	if v >= 0 && int(v) < len(names) {
		return names[v]
	}
	return strconv.Itoa(int(v))
}

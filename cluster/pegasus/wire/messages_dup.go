package wire

// Calls about duplications: a table's writes shipped to a table of another cluster. Clients ask the meta server; the
// primaries of the source ship to those of the follower (Duplicate).

// DupStatus is where a duplication stands.
type DupStatus int32

// The states of a duplication. Only LOG and PAUSE follow on each other in both directions; any may end in REMOVED.
const (
	DupInit    DupStatus = iota
	DupPrepare           // the source makes its checkpoints
	DupApp               // the follower gets its table, and the rows of the checkpoints
	DupLog               // writes are shipped
	DupPause
	DupRemoved
)

// DupFailMode is what a duplication does about what it can never ship.
type DupFailMode int32

// The fail modes.
const (
	DupFailSlow DupFailMode = iota // try again for ever
	DupFailSkip                    // leave it out: the follower lacks it
	DupFailFast                    // end the server process
)

// AddDupRequest adds a duplication. Without Checkpoint it is true, as the IDL says; the last two are of 2.6: without
// RemoteApp the table has the same name there, and without RemoteReplicas, or with 0, as many replicas.
type AddDupRequest struct {
	AppName, Remote string
	Checkpoint      *bool
	RemoteApp       *string
	RemoteReplicas  *int32
}

// AddDupResponse answers it; ERR_DUP_EXIST comes with the duplication that there is. The last two are of 2.6.
type AddDupResponse struct {
	Err            string
	AppID, DupID   int32
	Hint           *string
	RemoteApp      *string
	RemoteReplicas *int32
}

// ModifyDupRequest changes the status, the fail mode, or both.
type ModifyDupRequest struct {
	AppName  string
	DupID    int32
	Status   *DupStatus
	FailMode *DupFailMode
}

// ModifyDupResponse answers it.
type ModifyDupResponse struct {
	Err   string
	AppID int32
}

// QueryDupRequest asks for the duplications of a table.
type QueryDupRequest struct{ AppName string }

// QueryDupResponse answers them.
type QueryDupResponse struct {
	Err     string
	AppID   int32
	Entries []DupEntry
}

// DupEntry is a duplication. Up to 2.5 it comes with Progress, from 2.6 on with RemoteApp, RemoteReplicas and States.
type DupEntry struct {
	DupID          int32
	Status         DupStatus
	Remote         string          // the follower cluster
	CreateMS       int64           // Unix milliseconds
	Progress       map[int32]int64 // confirmed decrees by partition; nil when absent
	FailMode       *DupFailMode
	RemoteApp      *string
	RemoteReplicas *int32
	Mode           *int32
	States         map[int32]DupPartition // nil when absent
}

// DupPartition is how far a partition is.
type DupPartition struct{ Confirmed, LastCommitted int64 }

// ListDupsRequest asks for the duplications of all tables whose names match (2.6).
type ListDupsRequest struct {
	Pattern   string
	MatchType int32
}

// ListDupsResponse answers them; tables without duplications are in it, too.
type ListDupsResponse struct {
	Err, Hint string
	Apps      map[string]DupTable
}

// DupTable is a table of ListDupsResponse.
type DupTable struct {
	AppID      int32
	Dups       map[int32]DupEntry
	AppName    string
	Partitions int32
}

// DuplicateRequest has the primary of a follower's partition apply writes of another cluster, in this order.
type DuplicateRequest struct{ Entries []DuplicateEntry }

// DuplicateEntry is one of them. RawMessage is the arguments of the call Code as they came to the source: a struct of one
// field.
type DuplicateEntry struct {
	Timestamp  *int64 // Unix microseconds
	Code       *string
	RawMessage *[]byte
	ClusterID  *int8 // of the cluster where the write was made
	// VerifyTimetag keeps a row that is newer than the write.
	VerifyTimetag *bool
}

// DuplicateResponse answers a RocksDB status.
type DuplicateResponse struct {
	Error *int32
	Hint  *string
}

var (
	i8Type = Type[int8]{
		"byte", kindByte, 1,
		func(b []byte, v *int8) []byte { return append(b, byte(*v)) },
		func(d *decoder, v *int8) { *v = int8(d.byte()) },
		nil,
	}
	dupStatusType   = enumType[DupStatus]("duplication_status")
	dupFailModeType = enumType[DupFailMode]("duplication_fail_mode")
	addDupType      = structOf("duplication_add_request",
		req(1, "app_name", stringType, func(m *AddDupRequest) *string { return &m.AppName }),
		req(2, "remote_cluster_name", stringType, func(m *AddDupRequest) *string { return &m.Remote }),
		ptr(3, "is_duplicating_checkpoint", boolType, func(m *AddDupRequest) **bool { return &m.Checkpoint }),
		ptr(4, "remote_app_name", stringType, func(m *AddDupRequest) **string { return &m.RemoteApp }),
		ptr(5, "remote_replica_count", i32Type, func(m *AddDupRequest) **int32 { return &m.RemoteReplicas }),
	)
	addDupResultType = structOf("duplication_add_response",
		req(1, "err", codeType, func(m *AddDupResponse) *string { return &m.Err }),
		req(2, "appid", i32Type, func(m *AddDupResponse) *int32 { return &m.AppID }),
		req(3, "dupid", i32Type, func(m *AddDupResponse) *int32 { return &m.DupID }),
		ptr(4, "hint", stringType, func(m *AddDupResponse) **string { return &m.Hint }),
		ptr(5, "remote_app_name", stringType, func(m *AddDupResponse) **string { return &m.RemoteApp }),
		ptr(6, "remote_replica_count", i32Type, func(m *AddDupResponse) **int32 { return &m.RemoteReplicas }),
	)
	modifyDupType = structOf("duplication_modify_request",
		req(1, "app_name", stringType, func(m *ModifyDupRequest) *string { return &m.AppName }),
		req(2, "dupid", i32Type, func(m *ModifyDupRequest) *int32 { return &m.DupID }),
		ptr(3, "status", dupStatusType, func(m *ModifyDupRequest) **DupStatus { return &m.Status }),
		ptr(4, "fail_mode", dupFailModeType, func(m *ModifyDupRequest) **DupFailMode { return &m.FailMode }),
	)
	modifyDupResultType = structOf("duplication_modify_response",
		req(1, "err", codeType, func(m *ModifyDupResponse) *string { return &m.Err }),
		req(2, "appid", i32Type, func(m *ModifyDupResponse) *int32 { return &m.AppID }),
	)
	queryDupType = structOf("duplication_query_request",
		req(1, "app_name", stringType, func(m *QueryDupRequest) *string { return &m.AppName }),
	)
	dupPartitionType = structOf("duplication_partition_state",
		req(1, "confirmed_decree", i64Type, func(m *DupPartition) *int64 { return &m.Confirmed }),
		req(2, "last_committed_decree", i64Type, func(m *DupPartition) *int64 { return &m.LastCommitted }),
	)
	dupEntryType = structOf("duplication_entry",
		req(1, "dupid", i32Type, func(m *DupEntry) *int32 { return &m.DupID }),
		req(2, "status", dupStatusType, func(m *DupEntry) *DupStatus { return &m.Status }),
		req(3, "remote", stringType, func(m *DupEntry) *string { return &m.Remote }),
		req(4, "create_ts", i64Type, func(m *DupEntry) *int64 { return &m.CreateMS }),
		opt(5, "progress", mapOf(i32Type, i64Type), func(m *DupEntry) *map[int32]int64 { return &m.Progress },
			func(m *DupEntry) bool { return m.Progress != nil }),
		ptr(7, "fail_mode", dupFailModeType, func(m *DupEntry) **DupFailMode { return &m.FailMode }),
		ptr(8, "remote_app_name", stringType, func(m *DupEntry) **string { return &m.RemoteApp }),
		ptr(9, "remote_replica_count", i32Type, func(m *DupEntry) **int32 { return &m.RemoteReplicas }),
		ptr(10, "mode", i32Type, func(m *DupEntry) **int32 { return &m.Mode }),
		opt(11, "partition_states", mapOf(i32Type, dupPartitionType), func(m *DupEntry) *map[int32]DupPartition { return &m.States },
			func(m *DupEntry) bool { return m.States != nil }),
	)
	queryDupResultType = structOf("duplication_query_response",
		req(1, "err", codeType, func(m *QueryDupResponse) *string { return &m.Err }),
		req(3, "appid", i32Type, func(m *QueryDupResponse) *int32 { return &m.AppID }),
		req(4, "entry_list", listOf(dupEntryType), func(m *QueryDupResponse) *[]DupEntry { return &m.Entries }),
	)
	listDupsType = structOf("duplication_list_request",
		req(1, "app_name_pattern", stringType, func(m *ListDupsRequest) *string { return &m.Pattern }),
		req(2, "match_type", i32Type, func(m *ListDupsRequest) *int32 { return &m.MatchType }),
	)
	dupAppType = structOf("duplication_app_state",
		req(1, "appid", i32Type, func(m *DupTable) *int32 { return &m.AppID }),
		req(2, "duplications", mapOf(i32Type, dupEntryType), func(m *DupTable) *map[int32]DupEntry { return &m.Dups }),
		req(3, "app_name", stringType, func(m *DupTable) *string { return &m.AppName }),
		req(4, "partition_count", i32Type, func(m *DupTable) *int32 { return &m.Partitions }),
	)
	listDupsResultType = structOf("duplication_list_response",
		req(1, "err", codeType, func(m *ListDupsResponse) *string { return &m.Err }),
		req(2, "hint_message", stringType, func(m *ListDupsResponse) *string { return &m.Hint }),
		req(3, "app_states", mapOf(stringType, dupAppType), func(m *ListDupsResponse) *map[string]DupTable { return &m.Apps }),
	)
	duplicateEntryType = structOf("duplicate_entry",
		ptr(1, "timestamp", i64Type, func(m *DuplicateEntry) **int64 { return &m.Timestamp }),
		ptr(2, "task_code", codeType, func(m *DuplicateEntry) **string { return &m.Code }),
		ptr(3, "raw_message", blobType, func(m *DuplicateEntry) **[]byte { return &m.RawMessage }),
		ptr(4, "cluster_id", i8Type, func(m *DuplicateEntry) **int8 { return &m.ClusterID }),
		ptr(5, "verify_timetag", boolType, func(m *DuplicateEntry) **bool { return &m.VerifyTimetag }),
	)
	duplicateType = structOf("duplicate_request",
		req(1, "entries", listOf(duplicateEntryType), func(m *DuplicateRequest) *[]DuplicateEntry { return &m.Entries }),
	)
	duplicateResultType = structOf("duplicate_response",
		ptr(1, "error", i32Type, func(m *DuplicateResponse) **int32 { return &m.Error }),
		ptr(2, "error_hint", stringType, func(m *DuplicateResponse) **string { return &m.Hint }),
	)
)

// The calls about duplications. Duplicate goes to a replica server and may be sent again: it is applied as often as it
// comes, with the same end.
var (
	AddDup    = RPC[AddDupRequest, AddDupResponse]{"RPC_CM_ADD_DUPLICATION", true, false, addDupType, addDupResultType}
	ModifyDup = RPC[ModifyDupRequest, ModifyDupResponse]{"RPC_CM_MODIFY_DUPLICATION", true, false, modifyDupType, modifyDupResultType}
	QueryDup  = RPC[QueryDupRequest, QueryDupResponse]{"RPC_CM_QUERY_DUPLICATION", false, false, queryDupType, queryDupResultType}
	ListDups  = RPC[ListDupsRequest, ListDupsResponse]{"RPC_CM_LIST_DUPLICATION", false, false, listDupsType, listDupsResultType}
	Duplicate = RPC[DuplicateRequest, DuplicateResponse]{"RPC_RRDB_RRDB_DUPLICATE", true, false, duplicateType, duplicateResultType}
)

func dupCalls() []call { return []call{&AddDup, &ModifyDup, &QueryDup, &ListDups, &Duplicate} }

var dupStatusNames = [...]string{"DS_INIT", "DS_PREPARE", "DS_APP", "DS_LOG", "DS_PAUSE", "DS_REMOVED"}

func (s DupStatus) String() string { return nameOf(dupStatusNames[:], int32(s)) }

var dupFailModeNames = [...]string{"FAIL_SLOW", "FAIL_SKIP", "FAIL_FAST"}

func (m DupFailMode) String() string { return nameOf(dupFailModeNames[:], int32(m)) }

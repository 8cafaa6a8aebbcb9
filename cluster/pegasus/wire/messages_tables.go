package wire

// Calls to the meta server about whole tables, besides creating and dropping them.

// RecallAppRequest takes a dropped table back; "" keeps its name.
type RecallAppRequest struct {
	AppID   int32
	NewName string
}

// RecallAppResponse answers it. Info means something only without an error.
type RecallAppResponse struct {
	Err  string
	Info AppInfo
}

// RenameAppRequest gives a table another name.
type RenameAppRequest struct{ Old, New string }

// GetReplicaCountRequest asks how many replicas a table's partitions shall have.
type GetReplicaCountRequest struct{ AppName string }

// SetReplicaCountRequest says how many replicas a table's partitions shall have.
type SetReplicaCountRequest struct {
	AppName string
	Count   int32
}

// ReplicaCountResponse answers both: with the count, or with the one before.
type ReplicaCountResponse struct {
	Err   string
	Count int32
	Hint  string
}

var (
	recallAppType = structOf("configuration_recall_app_request",
		req(1, "app_id", i32Type, func(m *RecallAppRequest) *int32 { return &m.AppID }),
		req(2, "new_app_name", stringType, func(m *RecallAppRequest) *string { return &m.NewName }),
	)
	recallAppResultType = structOf("configuration_recall_app_response",
		req(1, "err", codeType, func(m *RecallAppResponse) *string { return &m.Err }),
		req(2, "info", appInfoType, func(m *RecallAppResponse) *AppInfo { return &m.Info }),
	)
	renameAppType = structOf("configuration_rename_app_request",
		req(1, "old_app_name", stringType, func(m *RenameAppRequest) *string { return &m.Old }),
		req(2, "new_app_name", stringType, func(m *RenameAppRequest) *string { return &m.New }),
	)
	getReplicaCountType = structOf("configuration_get_max_replica_count_request",
		req(1, "app_name", stringType, func(m *GetReplicaCountRequest) *string { return &m.AppName }),
	)
	setReplicaCountType = structOf("configuration_set_max_replica_count_request",
		req(1, "app_name", stringType, func(m *SetReplicaCountRequest) *string { return &m.AppName }),
		req(2, "max_replica_count", i32Type, func(m *SetReplicaCountRequest) *int32 { return &m.Count }),
	)
	replicaCountType = structOf("configuration_max_replica_count_response",
		req(1, "err", codeType, func(m *ReplicaCountResponse) *string { return &m.Err }),
		req(2, "max_replica_count", i32Type, func(m *ReplicaCountResponse) *int32 { return &m.Count }),
		req(3, "hint_message", stringType, func(m *ReplicaCountResponse) *string { return &m.Hint }),
	)
)

// The calls about whole tables.
var (
	RecallApp       = RPC[RecallAppRequest, RecallAppResponse]{"RPC_CM_RECALL_APP", true, false, recallAppType, recallAppResultType}
	RenameApp       = RPC[RenameAppRequest, HintResponse]{"RPC_CM_RENAME_APP", true, false, renameAppType, hintType}
	GetReplicaCount = RPC[GetReplicaCountRequest, ReplicaCountResponse]{"RPC_CM_GET_MAX_REPLICA_COUNT", false, false, getReplicaCountType, replicaCountType}
	SetReplicaCount = RPC[SetReplicaCountRequest, ReplicaCountResponse]{"RPC_CM_SET_MAX_REPLICA_COUNT", true, false, setReplicaCountType, replicaCountType}
)

func tableCalls() []call {
	return []call{&RecallApp, &RenameApp, &GetReplicaCount, &SetReplicaCount}
}

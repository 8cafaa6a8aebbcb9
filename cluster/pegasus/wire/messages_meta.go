package wire

// Calls to the meta server (gpid 0.0). Every response has the meta's own error name in Err; the frame says OK.

// AppStatus is the state of a table.
type AppStatus int32

// The states of a table. AppInvalid in a request to list tables means all.
const (
	AppInvalid AppStatus = iota
	AppAvailable
	AppCreating
	AppCreateFailed
	AppDropping
	AppDropFailed
	AppDropped
	AppRecalling
)

// NodeStatus is the state of a replica server; NodeInvalid in a request means all.
type NodeStatus int32

// The states of a replica server.
const (
	NodeInvalid NodeStatus = iota
	NodeAlive
	NodeUnalive
)

// EnvOp is what UpdateAppEnv does.
type EnvOp int32

// The operations on a table's envs.
const (
	EnvInvalid EnvOp = iota
	EnvSet
	EnvDelete
	EnvClear
)

// MetaLevel is how much the meta server does by itself.
type MetaLevel int32

// The levels. LevelInvalid in a request only reads.
const (
	LevelStopped MetaLevel = 100
	LevelBlind   MetaLevel = 200
	LevelFreezed MetaLevel = 300
	LevelSteady  MetaLevel = 400
	LevelLively  MetaLevel = 500
	LevelInvalid MetaLevel = 10000
)

// QueryConfigRequest asks for a table's partitions; no index means all.
type QueryConfigRequest struct {
	AppName string
	Indices []int32
}

// Partition is the configuration of a partition. The HP fields name the same servers by host name and come from
// releases after 2.5 only; a nil pointer or slice is absent.
type Partition struct {
	PID           GPID
	Ballot        int64
	MaxReplicas   int32
	Primary       Address
	Secondaries   []Address
	LastDrops     []Address
	LastCommitted int64
	Flags         int32
	HPPrimary     *HostPort
	HPSecondaries []HostPort
	HPLastDrops   []HostPort
}

// QueryConfigResponse answers it. With Err ERR_FORWARD_TO_OTHERS, Partitions[0].Primary is the leading meta.
type QueryConfigResponse struct {
	Err        string
	AppID      int32
	Partitions int32
	Stateful   bool
	Configs    []Partition
}

// CreateAppRequest creates a table.
type CreateAppRequest struct {
	AppName string
	Options CreateAppOptions
}

// CreateAppOptions describes the table to create.
type CreateAppOptions struct {
	Partitions, Replicas int32
	SuccessIfExist       bool
	AppType              string // "pegasus"
	Stateful             bool   // true
	Envs                 map[string]string
	AtomicIdempotent     *bool // after 2.5
}

// CreateAppResponse answers it.
type CreateAppResponse struct {
	Err   string
	AppID int32
}

// DropAppRequest drops a table.
type DropAppRequest struct {
	AppName string
	Options DropAppOptions
}

// DropAppOptions says how. Without ReserveSeconds the meta keeps the rows for its default time.
type DropAppOptions struct {
	SuccessIfNotExist bool
	ReserveSeconds    *int64
}

// ErrResponse is a response that holds nothing but the error name.
type ErrResponse struct{ Err string }

// ListAppsRequest lists tables. The pattern is known after 2.5.
type ListAppsRequest struct {
	Status    AppStatus
	Pattern   *string
	MatchType *int32
}

// AppInfo describes a table. Times are Unix seconds, 0 when they do not apply.
type AppInfo struct {
	Status                   AppStatus
	Type, Name               string
	ID, Partitions           int32
	Envs                     map[string]string
	Stateful                 bool
	MaxReplicas              int32
	ExpireSecond             int64
	CreateSecond, DropSecond int64
	Duplicating              *bool
	InitPartitions           int32
	BulkLoading              *bool
	AtomicIdempotent         *bool // after 2.5
}

// ListAppsResponse answers it.
type ListAppsResponse struct {
	Err  string
	Apps []AppInfo
	Hint *string
}

// UpdateAppEnvRequest changes a table's envs: Keys and Values to set, Keys to delete, ClearPrefix to clear ("" all).
type UpdateAppEnvRequest struct {
	AppName     string
	Op          EnvOp
	Keys        []string // nil: absent
	Values      []string // nil: absent
	ClearPrefix *string
}

// HintResponse is an error name with a sentence.
type HintResponse struct{ Err, Hint string }

// ListNodesRequest lists replica servers.
type ListNodesRequest struct{ Status NodeStatus }

// NodeInfo is a replica server.
type NodeInfo struct {
	Status NodeStatus
	Node   Address
	HPNode *HostPort // after 2.5
}

// ListNodesResponse answers it.
type ListNodesResponse struct {
	Err   string
	Nodes []NodeInfo
}

// ClusterInfoResponse is two parallel lists.
type ClusterInfoResponse struct {
	Err          string
	Keys, Values []string
}

// ControlMetaRequest sets the level.
type ControlMetaRequest struct{ Level MetaLevel }

// ControlMetaResponse answers the level before.
type ControlMetaResponse struct {
	Err      string
	OldLevel MetaLevel
}

var (
	appStatusT  = enumType[AppStatus]("app_status")
	nodeStatusT = enumType[NodeStatus]("node_status")
	levelT      = enumType[MetaLevel]("meta_function_level")
	stringsType = listOf(stringType)
	addrsType   = listOf(addressType)
	hostsType   = listOf(hostPortType)

	queryConfigType = structOf("query_cfg_request",
		req(1, "app_name", stringType, func(m *QueryConfigRequest) *string { return &m.AppName }),
		req(2, "partition_indices", listOf(i32Type), func(m *QueryConfigRequest) *[]int32 { return &m.Indices }),
	)
	partitionType = structOf("partition_configuration",
		req(1, "pid", gpidType, func(m *Partition) *GPID { return &m.PID }),
		req(2, "ballot", i64Type, func(m *Partition) *int64 { return &m.Ballot }),
		req(3, "max_replica_count", i32Type, func(m *Partition) *int32 { return &m.MaxReplicas }),
		req(4, "primary", addressType, func(m *Partition) *Address { return &m.Primary }),
		req(5, "secondaries", addrsType, func(m *Partition) *[]Address { return &m.Secondaries }),
		req(6, "last_drops", addrsType, func(m *Partition) *[]Address { return &m.LastDrops }),
		req(7, "last_committed_decree", i64Type, func(m *Partition) *int64 { return &m.LastCommitted }),
		req(8, "partition_flags", i32Type, func(m *Partition) *int32 { return &m.Flags }),
		ptr(9, "hp_primary", hostPortType, func(m *Partition) **HostPort { return &m.HPPrimary }),
		opt(10, "hp_secondaries", hostsType, func(m *Partition) *[]HostPort { return &m.HPSecondaries },
			func(m *Partition) bool { return m.HPSecondaries != nil }),
		opt(11, "hp_last_drops", hostsType, func(m *Partition) *[]HostPort { return &m.HPLastDrops },
			func(m *Partition) bool { return m.HPLastDrops != nil }),
	)
	queryConfigResultType = structOf("query_cfg_response",
		req(1, "err", codeType, func(m *QueryConfigResponse) *string { return &m.Err }),
		req(2, "app_id", i32Type, func(m *QueryConfigResponse) *int32 { return &m.AppID }),
		req(3, "partition_count", i32Type, func(m *QueryConfigResponse) *int32 { return &m.Partitions }),
		req(4, "is_stateful", boolType, func(m *QueryConfigResponse) *bool { return &m.Stateful }),
		req(5, "partitions", listOf(partitionType), func(m *QueryConfigResponse) *[]Partition { return &m.Configs }),
	)
	createOptionsType = structOf("create_app_options",
		req(1, "partition_count", i32Type, func(m *CreateAppOptions) *int32 { return &m.Partitions }),
		req(2, "replica_count", i32Type, func(m *CreateAppOptions) *int32 { return &m.Replicas }),
		req(3, "success_if_exist", boolType, func(m *CreateAppOptions) *bool { return &m.SuccessIfExist }),
		req(4, "app_type", stringType, func(m *CreateAppOptions) *string { return &m.AppType }),
		req(5, "is_stateful", boolType, func(m *CreateAppOptions) *bool { return &m.Stateful }),
		req(6, "envs", textMapType, func(m *CreateAppOptions) *map[string]string { return &m.Envs }),
		ptr(7, "atomic_idempotent", boolType, func(m *CreateAppOptions) **bool { return &m.AtomicIdempotent }),
	)
	createAppType = structOf("create_app_request",
		req(1, "app_name", stringType, func(m *CreateAppRequest) *string { return &m.AppName }),
		req(2, "options", createOptionsType, func(m *CreateAppRequest) *CreateAppOptions { return &m.Options }),
	)
	createAppResultType = structOf("create_app_response",
		req(1, "err", codeType, func(m *CreateAppResponse) *string { return &m.Err }),
		req(2, "appid", i32Type, func(m *CreateAppResponse) *int32 { return &m.AppID }),
	)
	dropOptionsType = structOf("drop_app_options",
		req(1, "success_if_not_exist", boolType, func(m *DropAppOptions) *bool { return &m.SuccessIfNotExist }),
		ptr(2, "reserve_seconds", i64Type, func(m *DropAppOptions) **int64 { return &m.ReserveSeconds }),
	)
	dropAppType = structOf("drop_app_request",
		req(1, "app_name", stringType, func(m *DropAppRequest) *string { return &m.AppName }),
		req(2, "options", dropOptionsType, func(m *DropAppRequest) *DropAppOptions { return &m.Options }),
	)
	errType = structOf("response",
		req(1, "err", codeType, func(m *ErrResponse) *string { return &m.Err }),
	)
	listAppsType = structOf("list_apps_request",
		req(1, "status", appStatusT, func(m *ListAppsRequest) *AppStatus { return &m.Status }),
		ptr(2, "app_name_pattern", stringType, func(m *ListAppsRequest) **string { return &m.Pattern }),
		ptr(3, "match_type", i32Type, func(m *ListAppsRequest) **int32 { return &m.MatchType }),
	)
	appInfoType = structOf("app_info",
		req(1, "status", appStatusT, func(m *AppInfo) *AppStatus { return &m.Status }),
		req(2, "app_type", stringType, func(m *AppInfo) *string { return &m.Type }),
		req(3, "app_name", stringType, func(m *AppInfo) *string { return &m.Name }),
		req(4, "app_id", i32Type, func(m *AppInfo) *int32 { return &m.ID }),
		req(5, "partition_count", i32Type, func(m *AppInfo) *int32 { return &m.Partitions }),
		req(6, "envs", textMapType, func(m *AppInfo) *map[string]string { return &m.Envs }),
		req(7, "is_stateful", boolType, func(m *AppInfo) *bool { return &m.Stateful }),
		req(8, "max_replica_count", i32Type, func(m *AppInfo) *int32 { return &m.MaxReplicas }),
		req(9, "expire_second", i64Type, func(m *AppInfo) *int64 { return &m.ExpireSecond }),
		req(10, "create_second", i64Type, func(m *AppInfo) *int64 { return &m.CreateSecond }),
		req(11, "drop_second", i64Type, func(m *AppInfo) *int64 { return &m.DropSecond }),
		ptr(12, "duplicating", boolType, func(m *AppInfo) **bool { return &m.Duplicating }),
		req(13, "init_partition_count", i32Type, func(m *AppInfo) *int32 { return &m.InitPartitions }),
		ptr(14, "is_bulk_loading", boolType, func(m *AppInfo) **bool { return &m.BulkLoading }),
		ptr(15, "atomic_idempotent", boolType, func(m *AppInfo) **bool { return &m.AtomicIdempotent }),
	)
	listAppsResultType = structOf("list_apps_response",
		req(1, "err", codeType, func(m *ListAppsResponse) *string { return &m.Err }),
		req(2, "infos", listOf(appInfoType), func(m *ListAppsResponse) *[]AppInfo { return &m.Apps }),
		ptr(3, "hint_message", stringType, func(m *ListAppsResponse) **string { return &m.Hint }),
	)
	updateEnvType = structOf("update_app_env_request",
		req(1, "app_name", stringType, func(m *UpdateAppEnvRequest) *string { return &m.AppName }),
		req(2, "op", enumType[EnvOp]("app_env_operation"), func(m *UpdateAppEnvRequest) *EnvOp { return &m.Op }),
		opt(3, "keys", stringsType, func(m *UpdateAppEnvRequest) *[]string { return &m.Keys },
			func(m *UpdateAppEnvRequest) bool { return m.Keys != nil }),
		opt(4, "values", stringsType, func(m *UpdateAppEnvRequest) *[]string { return &m.Values },
			func(m *UpdateAppEnvRequest) bool { return m.Values != nil }),
		ptr(5, "clear_prefix", stringType, func(m *UpdateAppEnvRequest) **string { return &m.ClearPrefix }),
	)
	hintType = structOf("hint_response",
		req(1, "err", codeType, func(m *HintResponse) *string { return &m.Err }),
		req(2, "hint_message", stringType, func(m *HintResponse) *string { return &m.Hint }),
	)
	listNodesType = structOf("list_nodes_request",
		req(1, "status", nodeStatusT, func(m *ListNodesRequest) *NodeStatus { return &m.Status }),
	)
	nodeInfoType = structOf("node_info",
		req(1, "status", nodeStatusT, func(m *NodeInfo) *NodeStatus { return &m.Status }),
		req(2, "node", addressType, func(m *NodeInfo) *Address { return &m.Node }),
		ptr(3, "hp_node", hostPortType, func(m *NodeInfo) **HostPort { return &m.HPNode }),
	)
	listNodesResultType = structOf("list_nodes_response",
		req(1, "err", codeType, func(m *ListNodesResponse) *string { return &m.Err }),
		req(2, "infos", listOf(nodeInfoType), func(m *ListNodesResponse) *[]NodeInfo { return &m.Nodes }),
	)
	clusterInfoResultType = structOf("cluster_info_response",
		req(1, "err", codeType, func(m *ClusterInfoResponse) *string { return &m.Err }),
		req(2, "keys", stringsType, func(m *ClusterInfoResponse) *[]string { return &m.Keys }),
		req(3, "values", stringsType, func(m *ClusterInfoResponse) *[]string { return &m.Values }),
	)
	controlMetaType = structOf("meta_control_request",
		req(1, "level", levelT, func(m *ControlMetaRequest) *MetaLevel { return &m.Level }),
	)
	controlMetaResultType = structOf("meta_control_response",
		req(1, "err", codeType, func(m *ControlMetaResponse) *string { return &m.Err }),
		req(2, "old_level", levelT, func(m *ControlMetaResponse) *MetaLevel { return &m.OldLevel }),
	)
)

// The calls to the meta server.
var (
	QueryConfig  = RPC[QueryConfigRequest, QueryConfigResponse]{"RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", false, false, queryConfigType, queryConfigResultType}
	CreateApp    = RPC[CreateAppRequest, CreateAppResponse]{"RPC_CM_CREATE_APP", true, false, createAppType, createAppResultType}
	DropApp      = RPC[DropAppRequest, ErrResponse]{"RPC_CM_DROP_APP", true, false, dropAppType, errType}
	ListApps     = RPC[ListAppsRequest, ListAppsResponse]{"RPC_CM_LIST_APPS", false, false, listAppsType, listAppsResultType}
	UpdateAppEnv = RPC[UpdateAppEnvRequest, HintResponse]{"RPC_CM_UPDATE_APP_ENV", true, false, updateEnvType, hintType}
	ListNodes    = RPC[ListNodesRequest, ListNodesResponse]{"RPC_CM_LIST_NODES", false, false, listNodesType, listNodesResultType}
	ClusterInfo  = RPC[struct{}, ClusterInfoResponse]{"RPC_CM_CLUSTER_INFO", false, false, emptyType, clusterInfoResultType}
	ControlMeta  = RPC[ControlMetaRequest, ControlMetaResponse]{"RPC_CM_CONTROL_META", true, false, controlMetaType, controlMetaResultType}
)

func metaCalls() []call {
	return []call{
		&QueryConfig, &CreateApp, &DropApp, &ListApps, &UpdateAppEnv, &ListNodes, &ClusterInfo, &ControlMeta,
	}
}

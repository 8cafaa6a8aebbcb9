package wire

// Calls that a server of either role answers for itself (gpid 0.0).

// Command is a remote command with its arguments.
type Command struct {
	Name string
	Args []string
}

// NegotiationStatus is a step of the authentication dialogue.
type NegotiationStatus int32

// The steps. A server without authentication answers the first one by AuthDisable.
const (
	AuthInvalid NegotiationStatus = iota
	AuthListMechanisms
	AuthListMechanismsResp
	AuthSelectMechanisms
	AuthSelectMechanismsResp
	AuthInitiate
	AuthChallenge
	AuthChallengeResp
	AuthSucceed
	AuthDisable
	AuthFail
)

// Negotiation is a message of the dialogue, both ways. With AuthListMechanismsResp, Msg is a comma list.
type Negotiation struct {
	Status NegotiationStatus
	Msg    []byte
}

// QueryNodeRequest names the server that is asked, by the address the caller knows it under.
type QueryNodeRequest struct {
	Node   Address
	HPNode *HostPort // after 2.5
}

// QueryAppInfoResponse lists the tables that a replica server holds.
type QueryAppInfoResponse struct {
	Err  string
	Apps []AppInfo
}

// ReplicaStatus is the state of a replica on its server.
type ReplicaStatus int32

// The states of a replica.
const (
	ReplicaInvalid ReplicaStatus = iota
	ReplicaInactive
	ReplicaError
	ReplicaPrimary
	ReplicaSecondary
	ReplicaPotentialSecondary
	ReplicaPartitionSplit
)

// ReplicaInfo is a replica as its server sees it.
type ReplicaInfo struct {
	PID                                      GPID
	Ballot                                   int64
	Status                                   ReplicaStatus
	LastCommitted, LastPrepared, LastDurable int64
	AppType, DiskTag                         string
	ManualCompact                            *int32
}

// QueryReplicaInfoResponse lists the replicas on a server.
type QueryReplicaInfoResponse struct {
	Err      string
	Replicas []ReplicaInfo
}

var (
	commandType = structOf("command",
		req(1, "cmd", stringType, func(m *Command) *string { return &m.Name }),
		req(2, "arguments", stringsType, func(m *Command) *[]string { return &m.Args }),
	)
	negotiationType = structOf("negotiation",
		req(1, "status", enumType[NegotiationStatus]("negotiation_status"), func(m *Negotiation) *NegotiationStatus { return &m.Status }),
		req(2, "msg", blobType, func(m *Negotiation) *[]byte { return &m.Msg }),
	)
	queryNodeType = structOf("query_node_request",
		req(1, "node", addressType, func(m *QueryNodeRequest) *Address { return &m.Node }),
		ptr(2, "hp_node", hostPortType, func(m *QueryNodeRequest) **HostPort { return &m.HPNode }),
	)
	queryAppInfoResultType = structOf("query_app_info_response",
		req(1, "err", codeType, func(m *QueryAppInfoResponse) *string { return &m.Err }),
		req(2, "apps", listOf(appInfoType), func(m *QueryAppInfoResponse) *[]AppInfo { return &m.Apps }),
	)
	replicaInfoType = structOf("replica_info",
		req(1, "pid", gpidType, func(m *ReplicaInfo) *GPID { return &m.PID }),
		req(2, "ballot", i64Type, func(m *ReplicaInfo) *int64 { return &m.Ballot }),
		req(3, "status", enumType[ReplicaStatus]("partition_status"), func(m *ReplicaInfo) *ReplicaStatus { return &m.Status }),
		req(4, "last_committed_decree", i64Type, func(m *ReplicaInfo) *int64 { return &m.LastCommitted }),
		req(5, "last_prepared_decree", i64Type, func(m *ReplicaInfo) *int64 { return &m.LastPrepared }),
		req(6, "last_durable_decree", i64Type, func(m *ReplicaInfo) *int64 { return &m.LastDurable }),
		req(7, "app_type", stringType, func(m *ReplicaInfo) *string { return &m.AppType }),
		req(8, "disk_tag", stringType, func(m *ReplicaInfo) *string { return &m.DiskTag }),
		ptr(9, "manual_compact_status", i32Type, func(m *ReplicaInfo) **int32 { return &m.ManualCompact }),
	)
	queryReplicaInfoResultType = structOf("query_replica_info_response",
		req(1, "err", codeType, func(m *QueryReplicaInfoResponse) *string { return &m.Err }),
		req(2, "replicas", listOf(replicaInfoType), func(m *QueryReplicaInfoResponse) *[]ReplicaInfo { return &m.Replicas }),
	)
)

// The calls to a node. What CallCommand does depends on the command, so it counts as a change.
var (
	CallCommand      = RPC[Command, string]{"RPC_CLI_CLI_CALL", true, false, commandType, stringType}
	Negotiate        = RPC[Negotiation, Negotiation]{"RPC_NEGOTIATION", false, false, negotiationType, negotiationType}
	QueryAppInfo     = RPC[QueryNodeRequest, QueryAppInfoResponse]{"RPC_QUERY_APP_INFO", false, false, queryNodeType, queryAppInfoResultType}
	QueryReplicaInfo = RPC[QueryNodeRequest, QueryReplicaInfoResponse]{"RPC_QUERY_REPLICA_INFO", false, false, queryNodeType, queryReplicaInfoResultType}
)

func nodeCalls() []call {
	return []call{&CallCommand, &Negotiate, &QueryAppInfo, &QueryReplicaInfo}
}

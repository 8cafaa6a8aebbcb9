package wire

// DDDRequest asks for the partitions whose replicas are all down or dropped: of all tables (-1.-1), of one (2.-1), or one.
type DDDRequest struct{ PID GPID }

// DDDNode is a node that had a replica of such a partition. Ballot and decrees are known once it is collected: alive,
// and asked what it holds.
type DDDNode struct {
	Node             Address
	DropTimeMillis   int64
	Alive, Collected bool
	Ballot           int64
	LastCommitted    int64
	LastPrepared     int64
	HPNode           *HostPort // after 2.5
}

// DDDPartition is such a partition, and why the meta server chooses no primary by itself.
type DDDPartition struct {
	Config  Partition
	Dropped []DDDNode
	Reason  string
}

// DDDResponse lists them.
type DDDResponse struct {
	Err        string
	Partitions []DDDPartition
}

var (
	dddRequestType = structOf("ddd_diagnose_request",
		req(1, "pid", gpidType, func(m *DDDRequest) *GPID { return &m.PID }),
	)
	dddNodeType = structOf("ddd_node_info",
		req(1, "node", addressType, func(m *DDDNode) *Address { return &m.Node }),
		req(2, "drop_time_ms", i64Type, func(m *DDDNode) *int64 { return &m.DropTimeMillis }),
		req(3, "is_alive", boolType, func(m *DDDNode) *bool { return &m.Alive }),
		req(4, "is_collected", boolType, func(m *DDDNode) *bool { return &m.Collected }),
		req(5, "ballot", i64Type, func(m *DDDNode) *int64 { return &m.Ballot }),
		req(6, "last_committed_decree", i64Type, func(m *DDDNode) *int64 { return &m.LastCommitted }),
		req(7, "last_prepared_decree", i64Type, func(m *DDDNode) *int64 { return &m.LastPrepared }),
		ptr(8, "hp_node", hostPortType, func(m *DDDNode) **HostPort { return &m.HPNode }),
	)
	dddPartitionType = structOf("ddd_partition_info",
		req(1, "config", partitionType, func(m *DDDPartition) *Partition { return &m.Config }),
		req(2, "dropped", listOf(dddNodeType), func(m *DDDPartition) *[]DDDNode { return &m.Dropped }),
		req(3, "reason", stringType, func(m *DDDPartition) *string { return &m.Reason }),
	)
	dddResponseType = structOf("ddd_diagnose_response",
		req(1, "err", codeType, func(m *DDDResponse) *string { return &m.Err }),
		req(2, "partitions", listOf(dddPartitionType), func(m *DDDResponse) *[]DDDPartition { return &m.Partitions }),
	)
)

// DDDDiagnose only reads.
var DDDDiagnose = RPC[DDDRequest, DDDResponse]{"RPC_CM_DDD_DIAGNOSE", false, false, dddRequestType, dddResponseType}

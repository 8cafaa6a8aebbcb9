package wire

// Calls to the meta server that split tables and compact them.

// SplitStatus is where the split of one parent partition stands.
type SplitStatus int32

// The states of a parent's split.
const (
	SplitNone SplitStatus = iota
	SplitSplitting
	SplitPausing
	SplitPaused
	SplitCanceling
)

// SplitControl is what ControlSplit does.
type SplitControl int32

// The ways to control a split.
const (
	SplitPause SplitControl = iota
	SplitRestart
	SplitCancel
)

// StartSplitRequest begins a split; the new count must be twice the old one.
type StartSplitRequest struct {
	AppName       string
	NewPartitions int32
}

// QuerySplitRequest asks how a split stands.
type QuerySplitRequest struct{ AppName string }

// QuerySplitResponse answers it, with ERR_INVALID_STATE for a table that is not being split. A parent that is not in
// Status is done.
type QuerySplitResponse struct {
	Err           string
	NewPartitions int32
	Status        map[int32]SplitStatus // by the parent's index
	Hint          *string
}

// ControlSplitRequest pauses, restarts or cancels. Parent is -1 for all, and always for a cancel, which alone needs
// OldPartitions.
type ControlSplitRequest struct {
	AppName       string
	Control       SplitControl
	Parent        int32
	OldPartitions *int32
}

// ControlSplitResponse answers it.
type ControlSplitResponse struct {
	Err  string
	Hint *string
}

// StartCompactRequest has every replica of a table compacted. Without TriggerTime (Unix seconds) it is now, without
// TargetLevel -1, the deepest one; MaxRunning bounds what a node does at a time, 0 does not.
type StartCompactRequest struct {
	AppName     string
	TriggerTime *int64
	TargetLevel *int32
	Bottommost  *bool
	MaxRunning  *int32
}

// QueryCompactRequest asks how far it is.
type QueryCompactRequest struct{ AppName string }

// QueryCompactResponse answers the share of replicas that are done, in percent, with ERR_INVALID_STATE when none has
// begun.
type QueryCompactResponse struct {
	Err      string
	Hint     string
	Progress *int32
}

// CompactStatus is where the manual compaction of a replica stands (ReplicaInfo.ManualCompact).
type CompactStatus int32

// The states of a replica's compaction.
const (
	CompactIdle CompactStatus = iota
	CompactQueuing
	CompactRunning
	CompactFinished
)

var (
	splitStatusType = enumType[SplitStatus]("split_status")
	startSplitType  = structOf("start_partition_split_request",
		req(1, "app_name", stringType, func(m *StartSplitRequest) *string { return &m.AppName }),
		req(2, "new_partition_count", i32Type, func(m *StartSplitRequest) *int32 { return &m.NewPartitions }),
	)
	querySplitType = structOf("query_split_request",
		req(1, "app_name", stringType, func(m *QuerySplitRequest) *string { return &m.AppName }),
	)
	querySplitResultType = structOf("query_split_response",
		req(1, "err", codeType, func(m *QuerySplitResponse) *string { return &m.Err }),
		req(2, "new_partition_count", i32Type, func(m *QuerySplitResponse) *int32 { return &m.NewPartitions }),
		req(3, "status", mapOf(i32Type, splitStatusType), func(m *QuerySplitResponse) *map[int32]SplitStatus { return &m.Status }),
		ptr(4, "hint_msg", stringType, func(m *QuerySplitResponse) **string { return &m.Hint }),
	)
	controlSplitType = structOf("control_split_request",
		req(1, "app_name", stringType, func(m *ControlSplitRequest) *string { return &m.AppName }),
		req(2, "control_type", enumType[SplitControl]("split_control_type"), func(m *ControlSplitRequest) *SplitControl { return &m.Control }),
		req(3, "parent_pidx", i32Type, func(m *ControlSplitRequest) *int32 { return &m.Parent }),
		ptr(4, "old_partition_count", i32Type, func(m *ControlSplitRequest) **int32 { return &m.OldPartitions }),
	)
	controlSplitResultType = structOf("control_split_response",
		req(1, "err", codeType, func(m *ControlSplitResponse) *string { return &m.Err }),
		ptr(2, "hint_msg", stringType, func(m *ControlSplitResponse) **string { return &m.Hint }),
	)
	startCompactType = structOf("start_app_manual_compact_request",
		req(1, "app_name", stringType, func(m *StartCompactRequest) *string { return &m.AppName }),
		ptr(2, "trigger_time", i64Type, func(m *StartCompactRequest) **int64 { return &m.TriggerTime }),
		ptr(3, "target_level", i32Type, func(m *StartCompactRequest) **int32 { return &m.TargetLevel }),
		ptr(4, "bottommost", boolType, func(m *StartCompactRequest) **bool { return &m.Bottommost }),
		ptr(5, "max_running_count", i32Type, func(m *StartCompactRequest) **int32 { return &m.MaxRunning }),
	)
	queryCompactType = structOf("query_app_manual_compact_request",
		req(1, "app_name", stringType, func(m *QueryCompactRequest) *string { return &m.AppName }),
	)
	queryCompactResultType = structOf("query_app_manual_compact_response",
		req(1, "err", codeType, func(m *QueryCompactResponse) *string { return &m.Err }),
		req(2, "hint_msg", stringType, func(m *QueryCompactResponse) *string { return &m.Hint }),
		ptr(3, "progress", i32Type, func(m *QueryCompactResponse) **int32 { return &m.Progress }),
	)
)

// The calls that split and compact. They answer before anything has happened.
var (
	StartSplit   = RPC[StartSplitRequest, HintResponse]{"RPC_CM_START_PARTITION_SPLIT", true, false, startSplitType, hintType}
	QuerySplit   = RPC[QuerySplitRequest, QuerySplitResponse]{"RPC_CM_QUERY_PARTITION_SPLIT", false, false, querySplitType, querySplitResultType}
	ControlSplit = RPC[ControlSplitRequest, ControlSplitResponse]{"RPC_CM_CONTROL_PARTITION_SPLIT", true, false, controlSplitType, controlSplitResultType}
	StartCompact = RPC[StartCompactRequest, HintResponse]{"RPC_CM_START_MANUAL_COMPACT", true, false, startCompactType, hintType}
	QueryCompact = RPC[QueryCompactRequest, QueryCompactResponse]{"RPC_CM_QUERY_MANUAL_COMPACT_STATUS", false, false, queryCompactType, queryCompactResultType}
)

func splitCalls() []call {
	return []call{&StartSplit, &QuerySplit, &ControlSplit, &StartCompact, &QueryCompact}
}

var splitStatusNames = [...]string{"NOT_SPLIT", "SPLITTING", "PAUSING", "PAUSED", "CANCELING"}

func (s SplitStatus) String() string { return nameOf(splitStatusNames[:], int32(s)) }

var compactStatusNames = [...]string{"IDLE", "QUEUING", "RUNNING", "FINISHED"}

func (s CompactStatus) String() string { return nameOf(compactStatusNames[:], int32(s)) }

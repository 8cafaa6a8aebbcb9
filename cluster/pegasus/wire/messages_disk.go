package wire

// Calls to a replica server about its disks and its hot keys, and the one that has a meta server rebuild what it knows.

// QueryDiskRequest asks a replica server for its disks, and which replicas of a table are on each ("" for all tables).
type QueryDiskRequest struct {
	Node    Address
	AppName string
	HPNode  *HostPort // after 2.5
}

// DiskInfo is one data directory of a replica server. The replicas on it are by the id of their table; those that are
// neither primaries nor secondaries are in neither map.
type DiskInfo struct {
	Tag, Dir                string
	CapacityMB, AvailableMB int64 // of the file system, in MiB
	Primaries, Secondaries  map[int32][]GPID
}

// QueryDiskResponse answers it; the totals are of all disks.
type QueryDiskResponse struct {
	Err                               string
	TotalCapacityMB, TotalAvailableMB int64
	Disks                             []DiskInfo
}

// DiskMigrateRequest moves a secondary replica from one disk of its server to another, by their tags.
type DiskMigrateRequest struct {
	PID            GPID
	Origin, Target string
}

// DiskMigrateResponse says whether it was begun.
type DiskMigrateResponse struct {
	Err  string
	Hint *string
}

// HotkeyType is the kind of requests that a detection looks at.
type HotkeyType int32

// The kinds.
const (
	HotkeyRead HotkeyType = iota
	HotkeyWrite
)

// HotkeyAction is what is to be done with a detection.
type HotkeyAction int32

// The actions.
const (
	HotkeyStart HotkeyAction = iota
	HotkeyStop
	HotkeyQuery
)

// DetectHotkeyRequest starts or stops a detection on one replica, or asks for what it found.
type DetectHotkeyRequest struct {
	Type   HotkeyType
	Action HotkeyAction
	PID    GPID
}

// DetectHotkeyResponse answers it. Result is a hash key in C's escapes.
type DetectHotkeyResponse struct {
	Err          string
	Hint, Result *string
}

// RecoveryRequest has a meta server without metadata take it from what replica servers hold.
type RecoveryRequest struct {
	Nodes                            []Address
	SkipBadNodes, SkipLostPartitions bool
	HPNodes                          []HostPort // after 2.5; nil is absent
}

var (
	gpidsByApp    = mapOf(i32Type, setOf(gpidType))
	queryDiskType = structOf("query_disk_info_request",
		req(1, "node", addressType, func(m *QueryDiskRequest) *Address { return &m.Node }),
		req(2, "app_name", stringType, func(m *QueryDiskRequest) *string { return &m.AppName }),
		ptr(3, "hp_node", hostPortType, func(m *QueryDiskRequest) **HostPort { return &m.HPNode }),
	)
	diskInfoType = structOf("disk_info",
		req(1, "tag", stringType, func(m *DiskInfo) *string { return &m.Tag }),
		req(2, "full_dir", stringType, func(m *DiskInfo) *string { return &m.Dir }),
		req(3, "disk_capacity_mb", i64Type, func(m *DiskInfo) *int64 { return &m.CapacityMB }),
		req(4, "disk_available_mb", i64Type, func(m *DiskInfo) *int64 { return &m.AvailableMB }),
		req(5, "holding_primary_replicas", gpidsByApp, func(m *DiskInfo) *map[int32][]GPID { return &m.Primaries }),
		req(6, "holding_secondary_replicas", gpidsByApp, func(m *DiskInfo) *map[int32][]GPID { return &m.Secondaries }),
	)
	queryDiskResultType = structOf("query_disk_info_response",
		req(1, "err", codeType, func(m *QueryDiskResponse) *string { return &m.Err }),
		req(2, "total_capacity_mb", i64Type, func(m *QueryDiskResponse) *int64 { return &m.TotalCapacityMB }),
		req(3, "total_available_mb", i64Type, func(m *QueryDiskResponse) *int64 { return &m.TotalAvailableMB }),
		req(4, "disk_infos", listOf(diskInfoType), func(m *QueryDiskResponse) *[]DiskInfo { return &m.Disks }),
	)
	diskMigrateType = structOf("replica_disk_migrate_request",
		req(1, "pid", gpidType, func(m *DiskMigrateRequest) *GPID { return &m.PID }),
		req(2, "origin_disk", stringType, func(m *DiskMigrateRequest) *string { return &m.Origin }),
		req(3, "target_disk", stringType, func(m *DiskMigrateRequest) *string { return &m.Target }),
	)
	diskMigrateResultType = structOf("replica_disk_migrate_response",
		req(1, "err", codeType, func(m *DiskMigrateResponse) *string { return &m.Err }),
		ptr(2, "hint", stringType, func(m *DiskMigrateResponse) **string { return &m.Hint }),
	)
	detectHotkeyType = structOf("detect_hotkey_request",
		req(1, "type", enumType[HotkeyType]("hotkey_type"), func(m *DetectHotkeyRequest) *HotkeyType { return &m.Type }),
		req(2, "action", enumType[HotkeyAction]("detect_action"), func(m *DetectHotkeyRequest) *HotkeyAction { return &m.Action }),
		req(3, "pid", gpidType, func(m *DetectHotkeyRequest) *GPID { return &m.PID }),
	)
	detectHotkeyResultType = structOf("detect_hotkey_response",
		req(1, "err", codeType, func(m *DetectHotkeyResponse) *string { return &m.Err }),
		ptr(2, "err_hint", stringType, func(m *DetectHotkeyResponse) **string { return &m.Hint }),
		ptr(3, "hotkey_result", stringType, func(m *DetectHotkeyResponse) **string { return &m.Result }),
	)
	recoveryType = structOf("configuration_recovery_request",
		req(1, "recovery_nodes", addrsType, func(m *RecoveryRequest) *[]Address { return &m.Nodes }),
		req(2, "skip_bad_nodes", boolType, func(m *RecoveryRequest) *bool { return &m.SkipBadNodes }),
		req(3, "skip_lost_partitions", boolType, func(m *RecoveryRequest) *bool { return &m.SkipLostPartitions }),
		opt(4, "hp_recovery_nodes", hostsType, func(m *RecoveryRequest) *[]HostPort { return &m.HPNodes },
			func(m *RecoveryRequest) bool { return m.HPNodes != nil }),
	)
)

// DetectHotkey is a change for starting and stopping; whoever asks for a result may ask again.
var (
	QueryDisk     = RPC[QueryDiskRequest, QueryDiskResponse]{"RPC_QUERY_DISK_INFO", false, false, queryDiskType, queryDiskResultType}
	DiskMigrate   = RPC[DiskMigrateRequest, DiskMigrateResponse]{"RPC_REPLICA_DISK_MIGRATE", true, false, diskMigrateType, diskMigrateResultType}
	DetectHotkey  = RPC[DetectHotkeyRequest, DetectHotkeyResponse]{"RPC_DETECT_HOTKEY", true, false, detectHotkeyType, detectHotkeyResultType}
	StartRecovery = RPC[RecoveryRequest, HintResponse]{"RPC_CM_START_RECOVERY", true, false, recoveryType, hintType}
)

func diskCalls() []call { return []call{&QueryDisk, &DiskMigrate, &DetectHotkey, &StartRecovery} }

var hotkeyTypeNames = [...]string{"read", "write"}

func (t HotkeyType) String() string { return nameOf(hotkeyTypeNames[:], int32(t)) }

// ParseHotkeyType reads "read" or "write".
func ParseHotkeyType(text string) (HotkeyType, bool) {
	for i, name := range hotkeyTypeNames {
		if name == text {
			return HotkeyType(i), true
		}
	}
	return 0, false
}

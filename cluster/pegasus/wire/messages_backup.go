package wire

// Calls to the meta server that back tables up and restore them. How backups and restores stand is in messages_ops.go.

// StartBackupRequest backs a table up once (2.3). Path is a directory on the block service, nil for its root.
type StartBackupRequest struct {
	Provider string
	AppID    int32
	Path     *string
}

// StartBackupResponse answers before anything is written. BackupID is the start in Unix milliseconds.
type StartBackupResponse struct {
	Err, Hint string
	BackupID  *int64
}

// AddPolicyRequest has tables backed up again and again.
type AddPolicyRequest struct {
	Provider, Policy string
	AppIDs           []int32
	IntervalSeconds  int64
	Keep             int32  // how many backups are kept
	StartTime        string // "hh:mm", of the meta server's day
}

// QueryPolicyRequest asks for policies, for all when Names is empty, each with its last Count backups.
type QueryPolicyRequest struct {
	Names []string
	Count int32
}

// Policy is a backup policy.
type Policy struct {
	Name, Provider  string
	IntervalSeconds string // a number, as text
	AppIDs          []int32
	Keep            int32
	StartTime       string
	Disabled        bool
}

// PolicyBackup is a backup of a policy. Times are Unix milliseconds; EndMS is 0 while it runs.
type PolicyBackup struct {
	BackupID, StartMS, EndMS int64
	AppIDs                   []int32
}

// QueryPolicyResponse answers the policies; Backups has a list for each.
type QueryPolicyResponse struct {
	Err      string
	Policies []Policy
	Backups  [][]PolicyBackup
	Hint     *string
}

// ModifyPolicyRequest changes what is given. ForceDisable is of 2.6: a policy whose backup runs is disabled all the same.
type ModifyPolicyRequest struct {
	Policy          string
	Add, Remove     []int32 // tables; nil when absent
	IntervalSeconds *int64
	Keep            *int32
	Disable         *bool
	StartTime       *string
	ForceDisable    *bool
}

// StartRestoreRequest makes a table of a backup. Cluster, Policy, BackupID, AppName and AppID are what the backup's
// directories are called; Policy is "" for all that are not of releases before 2.2.
type StartRestoreRequest struct {
	Cluster, Policy string
	BackupID        int64
	AppName         string
	AppID           int32
	NewName         string // of the table that is made
	Provider        string
	SkipBad         bool // a partition whose files are missing or damaged begins empty
	Path            *string
}

var (
	startBackupType = structOf("start_backup_app_request",
		req(1, "backup_provider_type", stringType, func(m *StartBackupRequest) *string { return &m.Provider }),
		req(2, "app_id", i32Type, func(m *StartBackupRequest) *int32 { return &m.AppID }),
		ptr(3, "backup_path", stringType, func(m *StartBackupRequest) **string { return &m.Path }),
	)
	startBackupResultType = structOf("start_backup_app_response",
		req(1, "err", codeType, func(m *StartBackupResponse) *string { return &m.Err }),
		req(2, "hint_message", stringType, func(m *StartBackupResponse) *string { return &m.Hint }),
		ptr(3, "backup_id", i64Type, func(m *StartBackupResponse) **int64 { return &m.BackupID }),
	)
	addPolicyType = structOf("configuration_add_backup_policy_request",
		req(1, "backup_provider_type", stringType, func(m *AddPolicyRequest) *string { return &m.Provider }),
		req(2, "policy_name", stringType, func(m *AddPolicyRequest) *string { return &m.Policy }),
		req(3, "app_ids", listOf(i32Type), func(m *AddPolicyRequest) *[]int32 { return &m.AppIDs }),
		req(4, "backup_interval_seconds", i64Type, func(m *AddPolicyRequest) *int64 { return &m.IntervalSeconds }),
		req(5, "backup_history_count_to_keep", i32Type, func(m *AddPolicyRequest) *int32 { return &m.Keep }),
		req(6, "start_time", stringType, func(m *AddPolicyRequest) *string { return &m.StartTime }),
	)
	queryPolicyType = structOf("configuration_query_backup_policy_request",
		req(1, "policy_names", listOf(stringType), func(m *QueryPolicyRequest) *[]string { return &m.Names }),
		req(2, "backup_info_count", i32Type, func(m *QueryPolicyRequest) *int32 { return &m.Count }),
	)
	policyType = structOf("policy_entry",
		req(1, "policy_name", stringType, func(m *Policy) *string { return &m.Name }),
		req(2, "backup_provider_type", stringType, func(m *Policy) *string { return &m.Provider }),
		req(3, "backup_interval_seconds", stringType, func(m *Policy) *string { return &m.IntervalSeconds }),
		req(4, "app_ids", setOf(i32Type), func(m *Policy) *[]int32 { return &m.AppIDs }),
		req(5, "backup_history_count_to_keep", i32Type, func(m *Policy) *int32 { return &m.Keep }),
		req(6, "start_time", stringType, func(m *Policy) *string { return &m.StartTime }),
		req(7, "is_disable", boolType, func(m *Policy) *bool { return &m.Disabled }),
	)
	policyBackupType = structOf("backup_entry",
		req(1, "backup_id", i64Type, func(m *PolicyBackup) *int64 { return &m.BackupID }),
		req(2, "start_time_ms", i64Type, func(m *PolicyBackup) *int64 { return &m.StartMS }),
		req(3, "end_time_ms", i64Type, func(m *PolicyBackup) *int64 { return &m.EndMS }),
		req(4, "app_ids", setOf(i32Type), func(m *PolicyBackup) *[]int32 { return &m.AppIDs }),
	)
	queryPolicyResultType = structOf("configuration_query_backup_policy_response",
		req(1, "err", codeType, func(m *QueryPolicyResponse) *string { return &m.Err }),
		req(2, "policys", listOf(policyType), func(m *QueryPolicyResponse) *[]Policy { return &m.Policies }),
		req(3, "backup_infos", listOf(listOf(policyBackupType)), func(m *QueryPolicyResponse) *[][]PolicyBackup { return &m.Backups }),
		ptr(4, "hint_msg", stringType, func(m *QueryPolicyResponse) **string { return &m.Hint }),
	)
	modifyPolicyType = structOf("configuration_modify_backup_policy_request",
		req(1, "policy_name", stringType, func(m *ModifyPolicyRequest) *string { return &m.Policy }),
		opt(2, "add_appids", listOf(i32Type), func(m *ModifyPolicyRequest) *[]int32 { return &m.Add }, func(m *ModifyPolicyRequest) bool { return m.Add != nil }),
		opt(3, "removal_appids", listOf(i32Type), func(m *ModifyPolicyRequest) *[]int32 { return &m.Remove }, func(m *ModifyPolicyRequest) bool { return m.Remove != nil }),
		ptr(4, "new_backup_interval_sec", i64Type, func(m *ModifyPolicyRequest) **int64 { return &m.IntervalSeconds }),
		ptr(5, "backup_history_count_to_keep", i32Type, func(m *ModifyPolicyRequest) **int32 { return &m.Keep }),
		ptr(6, "is_disable", boolType, func(m *ModifyPolicyRequest) **bool { return &m.Disable }),
		ptr(7, "start_time", stringType, func(m *ModifyPolicyRequest) **string { return &m.StartTime }),
		ptr(8, "force_disable", boolType, func(m *ModifyPolicyRequest) **bool { return &m.ForceDisable }),
	)
	startRestoreType = structOf("configuration_restore_request",
		req(1, "cluster_name", stringType, func(m *StartRestoreRequest) *string { return &m.Cluster }),
		req(2, "policy_name", stringType, func(m *StartRestoreRequest) *string { return &m.Policy }),
		req(3, "time_stamp", i64Type, func(m *StartRestoreRequest) *int64 { return &m.BackupID }),
		req(4, "app_name", stringType, func(m *StartRestoreRequest) *string { return &m.AppName }),
		req(5, "app_id", i32Type, func(m *StartRestoreRequest) *int32 { return &m.AppID }),
		req(6, "new_app_name", stringType, func(m *StartRestoreRequest) *string { return &m.NewName }),
		req(7, "backup_provider_name", stringType, func(m *StartRestoreRequest) *string { return &m.Provider }),
		req(8, "skip_bad_partition", boolType, func(m *StartRestoreRequest) *bool { return &m.SkipBad }),
		ptr(9, "restore_path", stringType, func(m *StartRestoreRequest) **string { return &m.Path }),
	)
)

// The calls that back up and restore. None can be taken back.
var (
	StartBackup  = RPC[StartBackupRequest, StartBackupResponse]{"RPC_CM_START_BACKUP_APP", true, false, startBackupType, startBackupResultType}
	AddPolicy    = RPC[AddPolicyRequest, HintResponse]{"RPC_CM_ADD_BACKUP_POLICY", true, false, addPolicyType, hintType}
	QueryPolicy  = RPC[QueryPolicyRequest, QueryPolicyResponse]{"RPC_CM_QUERY_BACKUP_POLICY", false, false, queryPolicyType, queryPolicyResultType}
	ModifyPolicy = RPC[ModifyPolicyRequest, HintResponse]{"RPC_CM_MODIFY_BACKUP_POLICY", true, false, modifyPolicyType, hintType}
	StartRestore = RPC[StartRestoreRequest, CreateAppResponse]{"RPC_CM_START_RESTORE", true, false, startRestoreType, createAppResultType}
)

func backupCalls() []call {
	return []call{&StartBackup, &AddPolicy, &QueryPolicy, &ModifyPolicy, &StartRestore}
}

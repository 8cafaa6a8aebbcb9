package wire

// Calls to the meta server that tell how backups and restores stand.

// QueryBackupRequest asks for the one-time backups of a table, or for one of them.
type QueryBackupRequest struct {
	AppID    int32
	BackupID *int64
}

// BackupItem is a one-time backup. Times are Unix milliseconds; EndMS is 0 while it runs.
type BackupItem struct {
	BackupID       int64
	AppName        string
	Provider, Path string
	StartMS, EndMS int64
	Failed         bool
}

// QueryBackupResponse answers it: ERR_SERVICE_NOT_ACTIVE where backups are switched off, which they are by default, and
// ERR_INVALID_PARAMETERS when the meta server that leads now knows of none.
type QueryBackupResponse struct {
	Err, Hint string
	Items     []BackupItem
}

// QueryRestoreRequest asks how a restore stands. The id must be that of a table that is being restored: others end
// some meta servers.
type QueryRestoreRequest struct{ AppID int32 }

// QueryRestoreResponse answers it, by partition: an error name that is ERR_OK or ERR_BUSY while all goes well, and how
// far it is in thousandths.
type QueryRestoreResponse struct {
	Err      string
	Status   []string
	Progress []int32
}

var (
	queryBackupType = structOf("query_backup_status_request",
		req(1, "app_id", i32Type, func(m *QueryBackupRequest) *int32 { return &m.AppID }),
		ptr(2, "backup_id", i64Type, func(m *QueryBackupRequest) **int64 { return &m.BackupID }),
	)
	backupItemType = structOf("backup_item",
		req(1, "backup_id", i64Type, func(m *BackupItem) *int64 { return &m.BackupID }),
		req(2, "app_name", stringType, func(m *BackupItem) *string { return &m.AppName }),
		req(3, "backup_provider_type", stringType, func(m *BackupItem) *string { return &m.Provider }),
		req(4, "backup_path", stringType, func(m *BackupItem) *string { return &m.Path }),
		req(5, "start_time_ms", i64Type, func(m *BackupItem) *int64 { return &m.StartMS }),
		req(6, "end_time_ms", i64Type, func(m *BackupItem) *int64 { return &m.EndMS }),
		req(7, "is_backup_failed", boolType, func(m *BackupItem) *bool { return &m.Failed }),
	)
	queryBackupResultType = structOf("query_backup_status_response",
		req(1, "err", codeType, func(m *QueryBackupResponse) *string { return &m.Err }),
		req(2, "hint_message", stringType, func(m *QueryBackupResponse) *string { return &m.Hint }),
		opt(3, "backup_items", listOf(backupItemType), func(m *QueryBackupResponse) *[]BackupItem { return &m.Items },
			func(m *QueryBackupResponse) bool { return m.Items != nil }),
	)
	queryRestoreType = structOf("configuration_query_restore_request",
		req(1, "restore_app_id", i32Type, func(m *QueryRestoreRequest) *int32 { return &m.AppID }),
	)
	queryRestoreResultType = structOf("configuration_query_restore_response",
		req(1, "err", codeType, func(m *QueryRestoreResponse) *string { return &m.Err }),
		req(2, "restore_status", listOf(codeType), func(m *QueryRestoreResponse) *[]string { return &m.Status }),
		req(3, "restore_progress", listOf(i32Type), func(m *QueryRestoreResponse) *[]int32 { return &m.Progress }),
	)
)

// The calls that tell of backups and restores.
var (
	QueryBackup  = RPC[QueryBackupRequest, QueryBackupResponse]{"RPC_CM_QUERY_BACKUP_STATUS", false, false, queryBackupType, queryBackupResultType}
	QueryRestore = RPC[QueryRestoreRequest, QueryRestoreResponse]{"RPC_CM_QUERY_RESTORE_STATUS", false, false, queryRestoreType, queryRestoreResultType}
)

func opsCalls() []call { return []call{&QueryBackup, &QueryRestore} }

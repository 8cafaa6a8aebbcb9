package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func sampleBackups() []sample {
	return []sample{
		request(&StartBackup, StartBackupRequest{Provider: "hdfs_zjy", AppID: 2, Path: to("/user/pegasus/backup")}),
		request(&StartBackup, StartBackupRequest{Provider: "disk", AppID: 2}),
		response(&StartBackup, StartBackupResponse{Err: OK, Hint: "h", BackupID: to(int64(1742888751127))}),
		response(&StartBackup, StartBackupResponse{Err: CodeInvalidState, Hint: "h"}),
		request(&AddPolicy, AddPolicyRequest{Provider: "disk", Policy: "p", AppIDs: []int32{2, 3}, IntervalSeconds: 1 << 40, Keep: 3, StartTime: "02:30"}),
		response(&AddPolicy, HintResponse{Err: OK}),
		request(&QueryPolicy, QueryPolicyRequest{Names: []string{"p", ""}, Count: 3}),
		response(&QueryPolicy, QueryPolicyResponse{
			Err: OK, Policies: []Policy{{Name: "p", Provider: "disk", IntervalSeconds: "86400", AppIDs: []int32{2}, Keep: 3, StartTime: "02:30", Disabled: true}},
			Backups: [][]PolicyBackup{{{BackupID: 7, StartMS: 7, EndMS: 9, AppIDs: []int32{2}}}, {}}, Hint: to("h"),
		}),
		request(&ModifyPolicy, ModifyPolicyRequest{Policy: "p"}),
		request(&ModifyPolicy, ModifyPolicyRequest{
			Policy: "p", Add: []int32{4}, Remove: []int32{}, IntervalSeconds: to(int64(5)), Keep: to(int32(1)), Disable: to(true),
			StartTime: to("00:00"), ForceDisable: to(false),
		}),
		response(&ModifyPolicy, HintResponse{Err: CodeInvalidParameters, Hint: "h"}),
		request(&StartRestore, StartRestoreRequest{
			Cluster: "c", Policy: "p", BackupID: 7, AppName: "t", AppID: 2, NewName: "u", Provider: "disk", SkipBad: true, Path: to("/b"),
		}),
		request(&StartRestore, StartRestoreRequest{Cluster: "c", AppName: "t"}),
		response(&StartRestore, CreateAppResponse{Err: OK, AppID: 9}),
	}
}

func sampleBulk() []sample {
	done := BulkLoadState{Progress: to(int32(100)), DownloadStatus: to(OK), Ingest: to(IngestSucceed), CleanedUp: to(false), Paused: to(false)}
	return []sample{
		request(&StartBulkLoad, StartBulkLoadRequest{AppName: "t", Cluster: "c", Provider: "disk", Root: "/bulk", Behind: true}),
		response(&StartBulkLoad, HintResponse{Err: CodeInconsistent, Hint: "h"}),
		request(&ControlBulkLoad, ControlBulkLoadRequest{AppName: "t", Control: BulkForceCancel}),
		response(&ControlBulkLoad, BulkLoadResponse{Err: CodeInactiveState, Hint: to("h")}),
		response(&ControlBulkLoad, BulkLoadResponse{Err: OK}),
		request(&QueryBulkLoad, QueryBulkLoadRequest{AppName: "t"}),
		response(&QueryBulkLoad, QueryBulkLoadResponse{
			Err: OK, AppName: "t", Status: BulkDownloading, Partitions: []BulkLoadStatus{BulkDownloading, BulkPaused}, MaxReplicas: 3,
			States: []map[Address]BulkLoadState{{0x7f00000187f10001: done, 0: {}}, {}}, Hint: to("h"), Loading: to(true),
		}),
		response(&QueryBulkLoad, QueryBulkLoadResponse{Err: OK, Status: BulkSucceed, Hosts: []map[string]BulkLoadState{{"node-1:34801": done, "": {}}}}),
		response(&QueryBulkLoad, QueryBulkLoadResponse{Err: CodeAppNotExist}),
		request(&ClearBulkLoad, ClearBulkLoadRequest{AppName: "t"}),
		response(&ClearBulkLoad, HintResponse{Err: OK, Hint: "h"}),
	}
}

// The bytes of the messages, by hand from the IDL.
func TestBackupBytes(t *testing.T) {
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{
			"start", "0b0001 00000001 64 080002 00000002 0b0003 00000002 2f62 00",
			startBackupType.Append(nil, &StartBackupRequest{Provider: "d", AppID: 2, Path: to("/b")}),
		},
		{"start, at the root", "0b0001 00000001 64 080002 00000002 00", startBackupType.Append(nil, &StartBackupRequest{Provider: "d", AppID: 2})},
		{
			"started", "0c0001 00000006 4552525f4f4b 0b0002 00000000 0a0003 0000000000000005 00",
			startBackupResultType.Append(nil, &StartBackupResponse{Err: OK, BackupID: to(int64(5))}),
		},
		{
			"a policy", "0b0001 00000001 64 0b0002 00000001 70 0f0003 08 00000001 00000002 0a0004 0000000000000e10 080005 00000003 0b0006 00000005 30313a3233 00",
			addPolicyType.Append(nil, &AddPolicyRequest{Provider: "d", Policy: "p", AppIDs: []int32{2}, IntervalSeconds: 3600, Keep: 3, StartTime: "01:23"}),
		},
		{
			"policies: the interval is text, the tables are sets", "0c0001 00000006 4552525f4f4b 0f0002 0c 00000001" +
				"0b0001 00000001 70 0b0002 00000001 64 0b0003 00000002 3630 0e0004 08 00000001 00000002 080005 00000003 0b0006 00000005 30313a3233 020007 01 00" +
				"0f0003 0f 00000001 0c 00000001 0a0001 0000000000000005 0a0002 0000000000000005 0a0003 0000000000000000 0e0004 08 00000001 00000002 00 00",
			queryPolicyResultType.Append(nil, &QueryPolicyResponse{
				Err: OK, Policies: []Policy{{"p", "d", "60", []int32{2}, 3, "01:23", true}}, Backups: [][]PolicyBackup{{{5, 5, 0, []int32{2}}}},
			}),
		},
		{
			"disable", "0b0001 00000001 70 020006 01 00",
			modifyPolicyType.Append(nil, &ModifyPolicyRequest{Policy: "p", Disable: to(true)}),
		},
		{
			"add and remove", "0b0001 00000001 70 0f0002 08 00000001 00000004 0f0003 08 00000001 00000005 00",
			modifyPolicyType.Append(nil, &ModifyPolicyRequest{Policy: "p", Add: []int32{4}, Remove: []int32{5}}),
		},
		{
			"restore", "0b0001 00000001 63 0b0002 00000000 0a0003 0000000000000005 0b0004 00000001 74 080005 00000002 0b0006 00000001 75" +
				"0b0007 00000001 64 020008 01 0b0009 00000002 2f62 00",
			startRestoreType.Append(nil, &StartRestoreRequest{Cluster: "c", BackupID: 5, AppName: "t", AppID: 2, NewName: "u", Provider: "d", SkipBad: true, Path: to("/b")}),
		},
		{
			"bulk load", "0b0001 00000001 74 0b0002 00000001 63 0b0003 00000001 64 0b0004 00000002 2f72 020005 01 00",
			startBulkLoadType.Append(nil, &StartBulkLoadRequest{"t", "c", "d", "/r", true}),
		},
		{"cancel", "0b0001 00000001 74 080002 00000002 00", controlBulkLoadType.Append(nil, &ControlBulkLoadRequest{"t", BulkCancel})},
		{
			"loading", "0c0001 00000006 4552525f4f4b 0b0002 00000001 74 080003 00000001 0f0004 08 00000001 00000001 080005 00000003" +
				"0f0006 0d 00000001 0c 0c 00000001 7f00000187f10001 080001 00000032 0c0002 00000006 4552525f4f4b 00 020008 01 00",
			queryBulkLoadResultType.Append(nil, &QueryBulkLoadResponse{
				Err: OK, AppName: "t", Status: BulkDownloading, Partitions: []BulkLoadStatus{BulkDownloading}, MaxReplicas: 3, Loading: to(true),
				States: []map[Address]BulkLoadState{{0x7f00000187f10001: {Progress: to(int32(50)), DownloadStatus: to(OK)}}},
			}),
		},
		{
			"by hosts", "0c 0c 00000001 00000001 6e 87f1 01 080003 00000002 00",
			func() []byte {
				m := mapOf(hostKeyType, bulkStateType)
				return m.Append(nil, &map[string]BulkLoadState{"n:34801": {Ingest: to(IngestSucceed)}})
			}(),
		},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(c.name, err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s is\n% x, want\n% x", c.name, c.got, want)
		}
	}
}

func TestBulkLoadNames(t *testing.T) {
	for status, want := range map[BulkLoadStatus]string{
		0: "BLS_INVALID", 1: "BLS_DOWNLOADING", 2: "BLS_DOWNLOADED", 3: "BLS_INGESTING", 4: "BLS_SUCCEED", 5: "BLS_FAILED", 6: "BLS_PAUSING",
		7: "BLS_PAUSED", 8: "BLS_CANCELED", 9: "9",
	} {
		if status.String() != want {
			t.Errorf("%d is %s", status, status)
		}
	}
}

package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func sampleOps() []sample {
	return []sample{
		request(&QueryBackup, QueryBackupRequest{AppID: 3}),
		request(&QueryBackup, QueryBackupRequest{AppID: 3, BackupID: to(int64(1742888751127))}),
		response(&QueryBackup, QueryBackupResponse{Err: CodeInvalidParameters, Hint: "no backup"}),
		response(&QueryBackup, QueryBackupResponse{Err: OK, Items: []BackupItem{
			{BackupID: 1742888751127, AppName: "t", Provider: "hdfs_zjy", Path: "/user/pegasus/backup", StartMS: 1742888751127},
			{BackupID: 1, AppName: "t", StartMS: 1, EndMS: 2, Failed: true},
		}}),
		request(&QueryRestore, QueryRestoreRequest{AppID: 4}),
		response(&QueryRestore, QueryRestoreResponse{Err: OK, Status: []string{OK, CodeBusy}, Progress: []int32{1000, 250}}),
	}
}

// The bytes of the messages, by hand from the IDL.
func TestOpsBytes(t *testing.T) {
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"a table's backups", "080001 00000003 00", queryBackupType.Append(nil, &QueryBackupRequest{AppID: 3})},
		{
			"one of them", "080001 00000003 0a0002 0000000000000005 00",
			queryBackupType.Append(nil, &QueryBackupRequest{AppID: 3, BackupID: to(int64(5))}),
		},
		{
			"a restore", "0c0001 00000006 4552525f4f4b 0f0002 0c 00000001 00000006 4552525f4f4b 0f0003 08 00000001 000003e8 00",
			queryRestoreResultType.Append(nil, &QueryRestoreResponse{Err: OK, Status: []string{OK}, Progress: []int32{1000}}),
		},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s: %x, want %x", c.name, c.got, want)
		}
	}
}

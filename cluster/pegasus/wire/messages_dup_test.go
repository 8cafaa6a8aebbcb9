package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func sampleDups() []sample {
	entry := DupEntry{
		DupID: 1669, Status: DupLog, Remote: "onebox2", CreateMS: 1 << 40, Progress: map[int32]int64{0: 7, 3: -1}, FailMode: to(DupFailSkip),
	}
	newer := DupEntry{
		DupID: 2, Status: DupPause, Remote: "onebox2", CreateMS: 5, FailMode: to(DupFailSlow), RemoteApp: to("other"),
		RemoteReplicas: to(int32(3)), Mode: to(int32(1)), States: map[int32]DupPartition{0: {1, 2}, 1: {-1, 1 << 50}},
	}
	return []sample{
		request(&AddDup, AddDupRequest{AppName: "t", Remote: "onebox2"}),
		request(&AddDup, AddDupRequest{AppName: "t", Remote: "onebox2", Checkpoint: to(false), RemoteApp: to("u"), RemoteReplicas: to(int32(1))}),
		response(&AddDup, AddDupResponse{Err: OK, AppID: 2, DupID: 1669}),
		response(&AddDup, AddDupResponse{Err: CodeDupExist, AppID: 2, DupID: 3, Hint: to("h"), RemoteApp: to("u"), RemoteReplicas: to(int32(3))}),
		request(&ModifyDup, ModifyDupRequest{AppName: "t", DupID: 3, Status: to(DupPause)}),
		request(&ModifyDup, ModifyDupRequest{AppName: "t", DupID: 3, FailMode: to(DupFailSkip)}),
		response(&ModifyDup, ModifyDupResponse{Err: CodeObjectNotFound, AppID: 2}),
		request(&QueryDup, QueryDupRequest{AppName: "t"}),
		response(&QueryDup, QueryDupResponse{Err: OK, AppID: 2, Entries: []DupEntry{entry, newer}}),
		request(&ListDups, ListDupsRequest{Pattern: "t", MatchType: 2}),
		response(&ListDups, ListDupsResponse{Err: OK, Apps: map[string]DupTable{"t": {AppID: 2, Dups: map[int32]DupEntry{2: newer}, AppName: "t", Partitions: 2}}}),
		request(&Duplicate, DuplicateRequest{Entries: []DuplicateEntry{
			{Timestamp: to(int64(9)), Code: to(Put.Name), RawMessage: to([]byte{12, 0, 1, 0, 0}), ClusterID: to(int8(-1)), VerifyTimetag: to(true)}, {},
		}}),
		response(&Duplicate, DuplicateResponse{Error: to(StatusInvalidArgument), Hint: to("self-duplicating")}),
		response(&Duplicate, DuplicateResponse{}),
	}
}

// The bytes of the messages, by hand from the IDL. What a release does not have is left out.
func TestDupBytes(t *testing.T) {
	raw := []byte{0x0c, 0, 1, 0, 0, 0, 1, 'k', 0}
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{
			"add, up to 2.5", "0b0001 00000001 74 0b0002 00000001 63 020003 01 00",
			addDupType.Append(nil, &AddDupRequest{AppName: "t", Remote: "c", Checkpoint: to(true)}),
		},
		{
			"add, from 2.6 on", "0b0001 00000001 74 0b0002 00000001 63 020003 00 0b0004 00000001 75 080005 00000002 00",
			addDupType.Append(nil, &AddDupRequest{AppName: "t", Remote: "c", Checkpoint: to(false), RemoteApp: to("u"), RemoteReplicas: to(int32(2))}),
		},
		{
			"added, up to 2.5", "0c0001 00000006 4552525f4f4b 080002 00000002 080003 00000685 00",
			addDupResultType.Append(nil, &AddDupResponse{Err: OK, AppID: 2, DupID: 1669}),
		},
		{
			"pause", "0b0001 00000001 74 080002 00000003 080003 00000004 00",
			modifyDupType.Append(nil, &ModifyDupRequest{AppName: "t", DupID: 3, Status: to(DupPause)}),
		},
		{
			"skip", "0b0001 00000001 74 080002 00000003 080004 00000001 00",
			modifyDupType.Append(nil, &ModifyDupRequest{AppName: "t", DupID: 3, FailMode: to(DupFailSkip)}),
		},
		{
			"queried, up to 2.5: the table's id is field 3", "0c0001 00000006 4552525f4f4b 080003 00000002 0f0004 0c 00000001" +
				"080001 00000003 080002 00000003 0b0003 00000001 63 0a0004 0000000000000005" +
				"0d0005 08 0a 00000001 00000000 0000000000000007 080007 00000000 00 00",
			queryDupResultType.Append(nil, &QueryDupResponse{Err: OK, AppID: 2, Entries: []DupEntry{{
				DupID: 3, Status: DupLog, Remote: "c", CreateMS: 5, Progress: map[int32]int64{0: 7}, FailMode: to(DupFailSlow),
			}}}),
		},
		{
			"an entry from 2.6 on", "080001 00000003 080002 00000004 0b0003 00000001 63 0a0004 0000000000000005 080007 00000001" +
				"0b0008 00000001 75 080009 00000002 0d000b 08 0c 00000001 00000001 0a0001 ffffffffffffffff 0a0002 0000000000000009 00 00",
			dupEntryType.Append(nil, &DupEntry{
				DupID: 3, Status: DupPause, Remote: "c", CreateMS: 5, FailMode: to(DupFailSkip), RemoteApp: to("u"), RemoteReplicas: to(int32(2)),
				States: map[int32]DupPartition{1: {-1, 9}},
			}),
		},
		{
			"list", "0b0001 00000001 74 080002 00000002 00", listDupsType.Append(nil, &ListDupsRequest{Pattern: "t", MatchType: 2}),
		},
		{
			"listed", "0c0001 00000006 4552525f4f4b 0b0002 00000000 0d0003 0b 0c 00000001 00000001 74" +
				"080001 00000002 0d0002 08 0c 00000000 0b0003 00000001 74 080004 00000008 00 00",
			listDupsResultType.Append(nil, &ListDupsResponse{Err: OK, Apps: map[string]DupTable{"t": {AppID: 2, AppName: "t", Partitions: 8}}}),
		},
		{
			"ship: code and message are announced as structs, the cluster is a byte", "0f0001 0c 00000001" +
				"0a0001 0000000000000009 0c0002 00000011 5250435f525244425f525244425f505554" +
				"0c0003 00000009 0c0001 00000001 6b 00 030004 01 020005 00 00 00",
			duplicateType.Append(nil, &DuplicateRequest{Entries: []DuplicateEntry{{
				Timestamp: to(int64(9)), Code: to("RPC_RRDB_RRDB_PUT"), RawMessage: &raw, ClusterID: to(int8(1)), VerifyTimetag: to(false),
			}}}),
		},
		{
			"shipped", "080001 00000004 0b0002 00000001 68 00",
			duplicateResultType.Append(nil, &DuplicateResponse{Error: to(StatusInvalidArgument), Hint: to("h")}),
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
	// Released servers leave fields out that they do not know, and send ones that nobody reads.
	var e DupEntry
	old, _ := hex.DecodeString("0800010000000308000200000003" + "0b00030000000163" + "0a00040000000000000005" + "0b00630000000178" + "00")
	if err := dupEntryType.Decode(old, &e); err != nil || e.Progress != nil || e.States != nil || e.FailMode != nil || e.Remote != "c" {
		t.Errorf("an old entry reads %+v, %v", e, err)
	}
}

func TestDupNames(t *testing.T) {
	for status, want := range map[DupStatus]string{
		DupInit: "DS_INIT", DupPrepare: "DS_PREPARE", DupApp: "DS_APP", DupLog: "DS_LOG", DupPause: "DS_PAUSE", DupRemoved: "DS_REMOVED", 6: "6",
	} {
		if status.String() != want {
			t.Errorf("%d is %s", status, status)
		}
	}
	for mode, want := range map[DupFailMode]string{DupFailSlow: "FAIL_SLOW", DupFailSkip: "FAIL_SKIP", DupFailFast: "FAIL_FAST", -1: "-1"} {
		if mode.String() != want {
			t.Errorf("%d is %s", mode, mode)
		}
	}
}

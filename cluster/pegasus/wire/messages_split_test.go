package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func sampleSplit() []sample {
	return []sample{
		request(&StartSplit, StartSplitRequest{AppName: "t", NewPartitions: 16}),
		response(&StartSplit, HintResponse{Err: CodeInvalidParameters, Hint: "wrong partition_count, should be 8"}),
		request(&QuerySplit, QuerySplitRequest{AppName: "t"}),
		response(&QuerySplit, QuerySplitResponse{
			Err: OK, NewPartitions: 16, Status: map[int32]SplitStatus{0: SplitPaused, 7: SplitSplitting, 3: SplitCanceling}, Hint: to("h"),
		}),
		response(&QuerySplit, QuerySplitResponse{Err: CodeInvalidState}),
		request(&ControlSplit, ControlSplitRequest{AppName: "t", Control: SplitCancel, Parent: -1, OldPartitions: to(int32(8))}),
		response(&ControlSplit, ControlSplitResponse{Err: CodeChildRegistered, Hint: to("too late")}),
		request(&StartCompact, StartCompactRequest{
			AppName: "t", TriggerTime: to(int64(1 << 40)), TargetLevel: to(int32(-1)), Bottommost: to(true), MaxRunning: to(int32(3)),
		}),
		request(&StartCompact, StartCompactRequest{AppName: "t"}),
		response(&StartCompact, HintResponse{Err: CodeOperationDisabled, Hint: "disabled"}),
		request(&QueryCompact, QueryCompactRequest{AppName: "t"}),
		response(&QueryCompact, QueryCompactResponse{Err: OK, Hint: "succeed", Progress: to(int32(66))}),
		response(&QueryCompact, QueryCompactResponse{Err: CodeInvalidState}),
	}
}

// The bytes of the messages, by hand from the IDL: what is optional is left out where it is not given.
func TestSplitBytes(t *testing.T) {
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{
			"start split", "0b0001 00000001 74 080002 00000010 00",
			startSplitType.Append(nil, &StartSplitRequest{AppName: "t", NewPartitions: 16}),
		},
		{
			"split status", "0c0001 00000006 4552525f4f4b 080002 00000010" +
				"0d0003 08 08 00000002 00000001 00000003 00000007 00000001 00",
			querySplitResultType.Append(nil, &QuerySplitResponse{Err: OK, NewPartitions: 16, Status: map[int32]SplitStatus{7: SplitSplitting, 1: SplitPaused}}),
		},
		{
			"pause all", "0b0001 00000001 74 080002 00000000 080003 ffffffff 00",
			controlSplitType.Append(nil, &ControlSplitRequest{AppName: "t", Control: SplitPause, Parent: -1}),
		},
		{
			"cancel", "0b0001 00000001 74 080002 00000002 080003 ffffffff 080004 00000008 00",
			controlSplitType.Append(nil, &ControlSplitRequest{AppName: "t", Control: SplitCancel, Parent: -1, OldPartitions: to(int32(8))}),
		},
		{
			"start compact", "0b0001 00000001 74 0a0002 0000000000000005 080003 ffffffff 020004 01 080005 00000002 00",
			startCompactType.Append(nil, &StartCompactRequest{AppName: "t", TriggerTime: to(int64(5)), TargetLevel: to(int32(-1)), Bottommost: to(true), MaxRunning: to(int32(2))}),
		},
		{"start compact, bare", "0b0001 00000001 74 00", startCompactType.Append(nil, &StartCompactRequest{AppName: "t"})},
		{
			"compact status", "0c0001 00000006 4552525f4f4b 0b0002 00000000 080003 00000042 00",
			queryCompactResultType.Append(nil, &QueryCompactResponse{Err: OK, Progress: to(int32(0x42))}),
		},
	} {
		want, err := hex.DecodeString(strings.ReplaceAll(c.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s is\n% x, want\n% x", c.name, c.got, want)
		}
	}
}

func TestMaps(t *testing.T) {
	numbers := mapOf(i32Type, splitStatusType)
	for name, c := range map[string]struct {
		encoded string
		want    error
		entries int
	}{
		"empty":        {"\x08\x08\x00\x00\x00\x00", nil, 0},
		"untyped":      {"\x00\x00\x00\x00\x00\x00", nil, 0},
		"a key twice":  {"\x08\x08\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x03", nil, 1},
		"other values": {"\x08\x0a\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02", ErrEncoding, 0},
		"other keys":   {"\x0b\x08\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02", ErrEncoding, 0},
		"a negative":   {"\x08\x08\xff\xff\xff\xff", ErrEncoding, 0},
		"too many":     {"\x08\x08\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x02", ErrTruncated, 0},
		"cut":          {"\x08\x08\x00\x00\x00\x01\x00\x00\x00\x01", ErrTruncated, 0},
		"an odd end":   {"\x08\x08\x00\x00\x00\x00\x00", ErrEncoding, 0},
	} {
		var m map[int32]SplitStatus
		if err := numbers.Decode([]byte(c.encoded), &m); !errors.Is(err, c.want) || err == nil && (m == nil || len(m) != c.entries) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	// What unfolds into more than the budget is given up.
	const n = 4 << 20
	entries := appendI32([]byte{byte(kindI32), byte(kindI32)}, n)
	entries = append(entries, make([]byte, 8*n)...)
	var m map[int32]SplitStatus
	var err error
	if used := allocated(func() { err = numbers.Decode(entries, &m) }); !errors.Is(err, ErrBudget) || used > MaxFrame {
		t.Errorf("%v after %d bytes", err, used)
	}
}

func TestSplitNames(t *testing.T) {
	for status, want := range map[SplitStatus]string{0: "NOT_SPLIT", 1: "SPLITTING", 2: "PAUSING", 3: "PAUSED", 4: "CANCELING", 5: "5", -1: "-1"} {
		if status.String() != want {
			t.Errorf("%d is %s", status, status)
		}
	}
	for status, want := range map[CompactStatus]string{0: "IDLE", 1: "QUEUING", 2: "RUNNING", 3: "FINISHED", 9: "9"} {
		if status.String() != want {
			t.Errorf("%d is %s", status, status)
		}
	}
}

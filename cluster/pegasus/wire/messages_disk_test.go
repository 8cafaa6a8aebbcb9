package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func sampleDisks() []sample {
	return []sample{
		request(&QueryDisk, QueryDiskRequest{Node: 0x7f00000187f10001, AppName: "temp", HPNode: &someHost}),
		response(&QueryDisk, goldenDiskValue),
		request(&DiskMigrate, DiskMigrateRequest{PID: GPID{App: 2, Partition: 5}, Origin: "ssd1", Target: "ssd2"}),
		response(&DiskMigrate, DiskMigrateResponse{Err: CodeBusy, Hint: to("it moves already")}),
		request(&DetectHotkey, DetectHotkeyRequest{Type: HotkeyWrite, Action: HotkeyQuery, PID: GPID{App: 2, Partition: 5}}),
		response(&DetectHotkey, DetectHotkeyResponse{Err: OK, Hint: to("h"), Result: to(`a\x00`)}),
		request(&StartRecovery, RecoveryRequest{
			Nodes: []Address{0x7f00000187f10001, 0x7f00000187f20001}, SkipBadNodes: true, SkipLostPartitions: true, HPNodes: []HostPort{someHost},
		}),
		response(&StartRecovery, HintResponse{Err: CodeTryAgain, Hint: "a partition has no replica"}),
	}
}

// The frames by hand from the IDL: what a server answers for two disks, one of them empty, and the three requests.
const (
	goldenDisk = `l:00000116 l:00000006 s:ERR_OK m:800100 m:02 l:00000017 s:RPC_QUERY_DISK_INFO_ACK i:00000001
		t:0c i:0000
		t:0c i:0001 l:00000006 s:ERR_OK
		t:0a i:0002 i:0000000000005000
		t:0a i:0003 i:0000000000004fff
		t:0f i:0004 t:0c l:00000002
		  t:0b i:0001 l:00000004 s:ssd1
		  t:0b i:0002 l:00000002 s:/1
		  t:0a i:0003 i:0000000000002800
		  t:0a i:0004 i:00000000000027ff
		  t:0d i:0005 t:08 t:0e l:00000001
		    i:00000002 t:0c l:00000002 i:0000000500000002 i:0000000600000002
		  t:0d i:0006 t:08 t:0e l:00000002
		    i:00000001 t:0c l:00000001 i:0000000000000001
		    i:00000002 t:0c l:00000001 i:0000000700000002
		  m:00
		  t:0b i:0001 l:00000004 s:ssd2
		  t:0b i:0002 l:00000002 s:/2
		  t:0a i:0003 i:0000000000002800
		  t:0a i:0004 i:0000000000002800
		  t:0d i:0005 i:08 i:0e c:00000000
		  t:0d i:0006 i:08 i:0e l:00000000
		  m:00
		m:00
		m:00`
	goldenMigrate = `0c0001 0000000500000002 0b0002 00000004 73736431 0b0003 00000004 73736432 00`
	goldenHotkey  = `080001 00000001 080002 00000002 0c0003 0000000500000002 00`
	goldenRecover = `0f0001 0c00000001 7f00000187f10001 020002 01 020003 00 00`
)

var goldenDiskValue = QueryDiskResponse{
	Err: OK, TotalCapacityMB: 20480, TotalAvailableMB: 20479,
	Disks: []DiskInfo{
		{
			Tag: "ssd1", Dir: "/1", CapacityMB: 10240, AvailableMB: 10239,
			Primaries:   map[int32][]GPID{2: {{2, 5}, {2, 6}}},
			Secondaries: map[int32][]GPID{1: {{1, 0}}, 2: {{2, 7}}},
		},
		{Tag: "ssd2", Dir: "/2", CapacityMB: 10240, AvailableMB: 10240},
	},
}

func TestDiskBytes(t *testing.T) {
	frame, _ := pieces(goldenDisk)
	equalBytes(t, QueryDisk.AppendReply(nil, 1, &goldenDiskValue), frame)
	plain := func(text string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pid := GPID{App: 2, Partition: 5}
	equalBytes(t, diskMigrateType.Append(nil, &DiskMigrateRequest{PID: pid, Origin: "ssd1", Target: "ssd2"}), plain(goldenMigrate))
	equalBytes(t, detectHotkeyType.Append(nil, &DetectHotkeyRequest{HotkeyWrite, HotkeyQuery, pid}), plain(goldenHotkey))
	equalBytes(t, recoveryType.Append(nil, &RecoveryRequest{Nodes: []Address{0x7f00000187f10001}, SkipBadNodes: true}), plain(goldenRecover))
}

// Maps of sets are bounded as lists are, and a key that comes twice counts once.
func TestMapOfSets(t *testing.T) {
	entry := func(key, n int32, gpids ...GPID) []byte {
		b := appendI32(append(appendI32(nil, key), byte(kindStruct)), n)
		for _, g := range gpids {
			b = appendI64(b, g.pack())
		}
		return b
	}
	head := func(n int32) []byte { return appendI32([]byte{byte(kindI32), byte(kindSet)}, n) }
	var m map[int32][]GPID
	twice := bytes.Join([][]byte{head(2), entry(3, 1, GPID{3, 1}), entry(3, 1, GPID{3, 2})}, nil)
	if err := gpidsByApp.Decode(twice, &m); err != nil || len(m) != 1 || m[3][0] != (GPID{3, 2}) {
		t.Errorf("%v, %v", m, err)
	}
	for name, b := range map[string][]byte{
		"a count of entries": append(head(1<<30), entry(3, 0)...),
		"a count of gpids":   append(head(1), entry(3, 1<<30)...),
		"a negative count":   append(head(-1), entry(3, 0)...),
		"another key type":   append(appendI32([]byte{byte(kindI64), byte(kindSet)}, 1), entry(3, 0)...),
		"another value type": append(appendI32([]byte{byte(kindI32), byte(kindList)}, 1), entry(3, 0)...),
		"a cut entry":        append(head(1), entry(3, 1, GPID{3, 1})[:15]...),
	} {
		if err := gpidsByApp.Decode(b, &m); !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One key over and over must not unfold into more than a frame.
	const n = 4 << 20
	many := append(head(n), bytes.Repeat(entry(3, 0), n)...)
	var err error
	used := allocated(func() { err = gpidsByApp.Decode(many, &m) })
	if !errors.Is(err, ErrBudget) || used > MaxFrame {
		t.Errorf("%v after %d bytes", err, used)
	}
}

func TestHotkeyTypes(t *testing.T) {
	for _, kind := range []HotkeyType{HotkeyRead, HotkeyWrite} {
		if got, ok := ParseHotkeyType(kind.String()); !ok || got != kind {
			t.Errorf("%d is %s, which is %d", kind, kind, got)
		}
	}
	if _, ok := ParseHotkeyType("READ"); ok || HotkeyType(7).String() != "7" {
		t.Error("what no release knows has a name")
	}
}

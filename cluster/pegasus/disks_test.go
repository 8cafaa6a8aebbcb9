package pegasus

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

func TestDisks(t *testing.T) {
	b := newBox(t, 1)
	on(b.node, &wire.QueryDisk, func(_ wire.Header, q *wire.QueryDiskRequest) *wire.QueryDiskResponse {
		if q.Node != b.node.address() {
			t.Errorf("asked as %s", q.Node)
		}
		if q.AppName == "other" {
			return &wire.QueryDiskResponse{Err: wire.CodeObjectNotFound}
		}
		return &wire.QueryDiskResponse{Err: wire.OK, Disks: []wire.DiskInfo{
			{
				Tag: "ssd2", Dir: "/data/ssd2", CapacityMB: 1000, AvailableMB: 99,
				Primaries: map[int32][]wire.GPID{2: {{App: 2, Partition: 7}}}, Secondaries: map[int32][]wire.GPID{1: {{App: 1, Partition: 3}}, 2: {{App: 2}}},
			},
			{Tag: "ssd1", CapacityMB: math.MaxInt64, AvailableMB: -1},
			{Tag: "empty"},
		}}
	})
	d := open(t, 5*time.Second, b.meta.endpoint)
	got, err := d.Disks(t.Context(), b.node.endpoint, "")
	if err != nil {
		t.Fatal(err)
	}
	want := []Disk{
		{Tag: "ssd2", Dir: "/data/ssd2", Capacity: 1000 << 20, Available: 99 << 20, Replicas: []DiskReplica{{1, 3, false}, {2, 0, false}, {2, 7, true}}},
		{Tag: "ssd1", Capacity: math.MaxInt64 >> 20 << 20},
		{Tag: "empty"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for i, ratio := range []int64{9, 0, 100} {
		if r := got[i].AvailableRatio(); r != ratio {
			t.Errorf("%s: %d%%", got[i].Tag, r)
		}
	}
	if tags := d.DiskTags(); !slices.Equal(tags, []string{"empty", "ssd1", "ssd2"}) {
		t.Errorf("tags %v", tags)
	}
	_, err = d.Disks(t.Context(), b.node.endpoint, "other")
	wantError(t, err, spec.NotFound, "other", b.node.endpoint)
	_, err = d.Disks(t.Context(), "here", "")
	wantError(t, err, spec.Usage, "here")
	b.node.reject(wire.QueryDisk.Name, wire.CodeHandlerNotFound)
	_, err = d.Disks(t.Context(), b.node.endpoint, "")
	wantError(t, err, spec.Failed, "older release")
}

func TestMigrateDisk(t *testing.T) {
	b := newBox(t, 1)
	hint := "says the server"
	answer := wire.DiskMigrateResponse{Err: wire.OK}
	on(b.node, &wire.DiskMigrate, func(h wire.Header, q *wire.DiskMigrateRequest) *wire.DiskMigrateResponse {
		if h.GPID != q.PID || *q != (wire.DiskMigrateRequest{PID: wire.GPID{App: 2, Partition: 5}, Origin: "ssd1", Target: "ssd2"}) {
			t.Errorf("%+v %+v", h, q)
		}
		return &answer
	})
	d := open(t, 5*time.Second, b.meta.endpoint)
	migrate := func() error { return d.MigrateDisk(t.Context(), b.node.endpoint, 2, 5, "ssd1", "ssd2") }
	if err := migrate(); err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]struct {
		kind spec.ErrorKind
		hint string
	}{
		wire.CodeBusy: {spec.Unavailable, "query_disk"}, wire.CodeInvalidState: {spec.Refused, "changeleader"},
		wire.CodeObjectNotFound: {spec.NotFound, "query_disk"}, wire.CodeInvalidParameters: {spec.Failed, ""}, "ERR_PATH_ALREADY_EXIST": {spec.Failed, ""},
	} {
		answer = wire.DiskMigrateResponse{Err: code, Hint: &hint}
		wantError(t, migrate(), want.kind, "move 2.5 from ssd1 to ssd2", code, hint, want.hint)
	}
	answer = wire.DiskMigrateResponse{Err: wire.CodeBusy}
	wantError(t, migrate(), spec.Unavailable, "being moved already")
	b.node.silent(wire.DiskMigrate.Name)
	d = open(t, 300*time.Millisecond, b.meta.endpoint)
	wantError(t, d.MigrateDisk(t.Context(), b.node.endpoint, 2, 5, "ssd1", "ssd2"), spec.UnknownOutcome, b.node.endpoint)
	if n := b.node.calls(wire.DiskMigrate.Name); n != 8 {
		t.Errorf("%d calls: a change was repeated", n)
	}
}

func TestDetectHotkey(t *testing.T) {
	b := newBox(t, 1)
	var answer wire.DetectHotkeyResponse
	var asked wire.DetectHotkeyRequest
	on(b.node, &wire.DetectHotkey, func(_ wire.Header, q *wire.DetectHotkeyRequest) *wire.DetectHotkeyResponse {
		asked = *q
		return &answer
	})
	d := open(t, 5*time.Second, b.meta.endpoint)
	ask := func(action string) (Hotkey, error) {
		return d.DetectHotkey(t.Context(), b.node.endpoint, 2, 5, "write", action)
	}
	to := func(s string) *string { return &s }
	answer = wire.DetectHotkeyResponse{Err: wire.OK, Hint: to("starting to detect")}
	if h, err := ask(HotkeyStart); err != nil || h.Found || h.Hint != "starting to detect" {
		t.Errorf("%+v %v", h, err)
	}
	if want := (wire.DetectHotkeyRequest{Type: wire.HotkeyWrite, Action: wire.HotkeyStart, PID: wire.GPID{App: 2, Partition: 5}}); asked != want {
		t.Errorf("asked %+v", asked)
	}
	// Both ways in which servers name the state.
	for hint, state := range map[string]string{
		"Can't get hotkey now, now state: hotkey_collector_state::FINE_DETECTING": "FINE_DETECTING", "state STOPPED": "STOPPED", "": "",
	} {
		answer = wire.DetectHotkeyResponse{Err: wire.CodeBusy, Hint: &hint}
		if h, err := ask(HotkeyQuery); err != nil || h.Found || h.State != state {
			t.Errorf("%q: %+v %v", hint, h, err)
		}
	}
	for text, key := range map[string]string{
		`user_0042`: "user_0042", `a\x00\xFF\n\t\r\"\'\\b`: "a\x00\xff\n\t\r\"'\\b", ``: "",
		`ends in \`: `ends in \`, `\q`: `\q`, `\x0`: `\x0`, `\x0g`: `\x0g`,
	} {
		answer = wire.DetectHotkeyResponse{Err: wire.OK, Result: &text}
		if h, err := ask(HotkeyQuery); err != nil || !h.Found || string(h.Key) != key || h.State != "FINISHED" {
			t.Errorf("%s: %+v %v", text, h, err)
		}
	}
	answer = wire.DetectHotkeyResponse{Err: wire.CodeBusy, Hint: to("still detecting")}
	_, err := ask(HotkeyStart)
	wantError(t, err, spec.Unavailable, "still detecting", "-c stop")
	answer = wire.DetectHotkeyResponse{Err: wire.CodeObjectNotFound, Hint: to("not here")}
	_, err = ask(HotkeyQuery)
	wantError(t, err, spec.NotFound, "not here")
	answer = wire.DetectHotkeyResponse{Err: wire.CodeInvalidState}
	_, err = ask(HotkeyStop)
	wantError(t, err, spec.Unavailable, "primary")
	_, err = ask("begin")
	wantError(t, err, spec.Usage, "begin")
	// A question may be repeated, starting may not.
	b.node.silent(wire.DetectHotkey.Name)
	d = open(t, 300*time.Millisecond, b.meta.endpoint)
	_, err = ask(HotkeyQuery)
	wantError(t, err, spec.Unavailable)
	_, err = ask(HotkeyStop)
	wantError(t, err, spec.UnknownOutcome)
}

// A doctor names full disks of live nodes, and is not kept from the rest by servers that do not know the call.
func TestExamineDisks(t *testing.T) {
	b := newBox(t, 1)
	full, old, hangs := newServer(t), newServer(t), newServer(t)
	always(full, &wire.QueryDisk, wire.QueryDiskResponse{Err: wire.OK, Disks: []wire.DiskInfo{
		{Tag: "ssd1", CapacityMB: 1000, AvailableMB: 100}, {Tag: "ssd2", CapacityMB: 1000, AvailableMB: 99},
	}})
	hangs.silent(wire.QueryDisk.Name)
	list := wire.ListNodesResponse{Err: wire.OK, Nodes: []wire.NodeInfo{{Status: wire.NodeUnalive, Node: b.node.address()}}}
	for _, s := range []*server{full, old, hangs} {
		list.Nodes = append(list.Nodes, wire.NodeInfo{Status: wire.NodeAlive, Node: s.address()})
	}
	always(b.meta, &wire.ListNodes, list)
	always(b.meta, &wire.CallCommand, "get ok: ")
	d := open(t, 20*time.Second, b.meta.endpoint)
	found, err := d.Examine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found = slices.DeleteFunc(found, func(f cluster.Finding) bool { return f.Kind != "disk_full" })
	if len(found) != 1 || found[0].Object != full.endpoint || !found[0].Bad || !strings.Contains(found[0].What, "9% of disk ssd2") || found[0].Help != "query_disk -n "+full.endpoint {
		t.Errorf("%+v", found)
	}
}

// Whatever a server sends as a key, what is read is no longer than it, and plain text stands as it is.
func FuzzUnescapeKey(f *testing.F) {
	for _, text := range []string{"", "plain", `a\x00\n`, `\`, `\x`, `\x0`, `\xzz`, `\\`, "é"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key := unescapeKey(text)
		if len(key) > len(text) || !strings.Contains(text, `\`) && string(key) != text {
			t.Errorf("%q became %q", text, key)
		}
	})
}

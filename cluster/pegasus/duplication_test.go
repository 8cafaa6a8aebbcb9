package pegasus

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

func TestAddDuplication(t *testing.T) {
	meta := newServer(t)
	d := open(t, 5*time.Second, meta.endpoint)
	always(meta, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.OK})
	var asked wire.AddDupRequest
	hint := "said the server"
	add := func(n NewDuplication, answer wire.AddDupResponse) (int32, error) {
		on(meta, &wire.AddDup, func(_ wire.Header, q *wire.AddDupRequest) *wire.AddDupResponse {
			asked = *q
			return &answer
		})
		return d.AddDuplication(t.Context(), "t", n)
	}
	yes, no, name, two := true, false, "u", int32(2)
	if id, err := add(NewDuplication{Remote: "c", Checkpoint: true}, wire.AddDupResponse{Err: wire.OK, DupID: 7}); id != 7 || err != nil {
		t.Error(id, err)
	}
	// What servers up to 2.5 do not know is not sent unless it is given.
	if diff := cmp.Diff(asked, wire.AddDupRequest{AppName: "t", Remote: "c", Checkpoint: &yes}); diff != "" {
		t.Error(diff)
	}
	if _, err := add(NewDuplication{Remote: "c", RemoteTable: name, RemoteReplicas: 2}, wire.AddDupResponse{Err: wire.OK}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(asked, wire.AddDupRequest{AppName: "t", Remote: "c", Checkpoint: &no, RemoteApp: &name, RemoteReplicas: &two}); diff != "" {
		t.Error(diff)
	}
	for code, words := range map[string][]string{
		wire.CodeDupExist:          {"duplicated there already", "query_dup t"},
		wire.CodeInvalidParameters: {hint},
	} {
		_, err := add(NewDuplication{Remote: "c"}, wire.AddDupResponse{Err: code, Hint: &hint})
		wantError(t, err, spec.Failed, append(words, code)...)
	}
	_, err := add(NewDuplication{Remote: "c"}, wire.AddDupResponse{Err: wire.CodeInvalidParameters})
	wantError(t, err, spec.Failed, "configuration of the meta server")
	_, err = add(NewDuplication{Remote: "c"}, wire.AddDupResponse{Err: wire.CodeAppNotExist})
	wantError(t, err, spec.NotFound, `"t"`)
	meta.silent(wire.AddDup.Name)
	_, err = open(t, 200*time.Millisecond, meta.endpoint).AddDuplication(t.Context(), "t", NewDuplication{Remote: "c"})
	wantError(t, err, spec.UnknownOutcome)
}

func TestDuplications(t *testing.T) {
	meta := newServer(t)
	d := open(t, 5*time.Second, meta.endpoint)
	always(meta, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.OK})
	skip, name, three := wire.DupFailSkip, "u", int32(3)
	old := wire.DupEntry{DupID: 9, Status: wire.DupLog, Remote: "c", CreateMS: 1_000_000, FailMode: &skip, Progress: map[int32]int64{0: 5, 1: -9}}
	newer := wire.DupEntry{
		DupID: 2, Status: wire.DupPause, Remote: "d", RemoteApp: &name, RemoteReplicas: &three,
		States: map[int32]wire.DupPartition{0: {Confirmed: 5, LastCommitted: 7}},
	}
	want := []Duplication{
		{ID: 2, Status: "DS_PAUSE", Remote: "d", RemoteTable: "u", RemoteReplicas: 3, Partitions: map[int]Shipped{0: {5, 7}}},
		{ID: 9, Status: "DS_LOG", FailMode: "FAIL_SKIP", Remote: "c", Created: time.UnixMilli(1_000_000), Partitions: map[int]Shipped{0: {5, -1}, 1: {-1, -1}}},
	}
	always(meta, &wire.QueryDup, wire.QueryDupResponse{Err: wire.OK, AppID: 2, Entries: []wire.DupEntry{old, newer}})
	got, err := d.Duplications(t.Context(), "t")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	all, err := d.DuplicationsOf(t.Context(), []App{{Name: "a"}, {Name: "t", Duplicating: true}})
	if diff := cmp.Diff(map[string][]Duplication{"t": want}, all); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, able, err := d.ListDuplications(t.Context()); able || err != nil { // the server does not know the call
		t.Error(able, err)
	}
	always(meta, &wire.ListDups, wire.ListDupsResponse{Err: wire.OK, Apps: map[string]wire.DupTable{
		"t": {AppName: "t", Dups: map[int32]wire.DupEntry{9: old, 2: newer}}, "none": {AppName: "none"},
	}})
	all, able, err := d.ListDuplications(t.Context())
	if diff := cmp.Diff(map[string][]Duplication{"t": want}, all); diff != "" || err != nil || !able {
		t.Error(diff, able, err)
	}
	old.Progress = map[int32]int64{-1: 3}
	always(meta, &wire.QueryDup, wire.QueryDupResponse{Err: wire.OK, Entries: []wire.DupEntry{old}})
	_, err = d.Duplications(t.Context(), "t")
	wantError(t, err, spec.Failed, "makes no sense")
	always(meta, &wire.QueryDup, wire.QueryDupResponse{Err: wire.CodeAppNotExist})
	_, err = d.Duplications(t.Context(), "t")
	wantError(t, err, spec.NotFound, `"t"`)
	if all, err := d.DuplicationsOf(t.Context(), []App{{Name: "t", Duplicating: true}}); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

func TestChangeDuplication(t *testing.T) {
	meta := newServer(t)
	d := open(t, 5*time.Second, meta.endpoint)
	always(meta, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.OK})
	code := wire.OK
	var asked wire.ModifyDupRequest
	on(meta, &wire.ModifyDup, func(_ wire.Header, q *wire.ModifyDupRequest) *wire.ModifyDupResponse {
		asked = *q
		return &wire.ModifyDupResponse{Err: code}
	})
	for how, want := range map[string]wire.DupStatus{StartDup: wire.DupLog, PauseDup: wire.DupPause, RemoveDup: wire.DupRemoved} {
		if err := d.ChangeDuplication(t.Context(), "t", 3, how); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(asked, wire.ModifyDupRequest{AppName: "t", DupID: 3, Status: &want}); diff != "" {
			t.Error(how, diff)
		}
	}
	for mode, want := range map[string]wire.DupFailMode{"slow": wire.DupFailSlow, "skip": wire.DupFailSkip, "fast": wire.DupFailFast} {
		if err := d.SetDupFailMode(t.Context(), "t", 3, mode); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(asked, wire.ModifyDupRequest{AppName: "t", DupID: 3, FailMode: &want}); diff != "" {
			t.Error(mode, diff)
		}
	}
	wantError(t, d.ChangeDuplication(t.Context(), "t", 3, "stop"), spec.Usage, "stop")
	wantError(t, d.SetDupFailMode(t.Context(), "t", 3, "never"), spec.Usage, "never")
	for answer, c := range map[string]struct {
		kind  spec.ErrorKind
		words []string
	}{
		wire.CodeAppNotExist:       {spec.NotFound, []string{`"t"`}},
		wire.CodeObjectNotFound:    {spec.NotFound, []string{"no duplication 3", "query_dup t"}},
		wire.CodeBusy:              {spec.Failed, []string{"still being kept"}},
		wire.CodeInvalidParameters: {spec.Failed, []string{"cannot become", "DS_PAUSE"}},
	} {
		code = answer
		wantError(t, d.ChangeDuplication(t.Context(), "t", 3, PauseDup), c.kind, append(c.words, answer)...)
	}
	meta.silent(wire.ModifyDup.Name)
	short := open(t, 200*time.Millisecond, meta.endpoint)
	wantError(t, short.ChangeDuplication(t.Context(), "t", 3, PauseDup), spec.UnknownOutcome)
}

func TestDuplicationTrouble(t *testing.T) {
	now := time.Now()
	lagging := map[int]Shipped{0: {0, 9_000}, 1: {5, 1_005}, 2: {7, -1}}
	for name, c := range map[string]struct {
		dup  Duplication
		want string
	}{
		"level":             {Duplication{Status: "DS_LOG", Created: now.Add(-time.Hour), Partitions: map[int]Shipped{0: {9, 10}}}, ""},
		"paused":            {Duplication{Status: "DS_PAUSE"}, "duplication_paused"},
		"far behind":        {Duplication{Status: "DS_LOG", Partitions: lagging}, "duplication_lags"},
		"just begun":        {Duplication{Status: "DS_PREPARE", Created: now.Add(-time.Minute)}, ""},
		"begun long ago":    {Duplication{Status: "DS_APP", Created: now.Add(-time.Hour)}, "duplication_stuck"},
		"nobody says since": {Duplication{Status: "DS_APP"}, ""},
	} {
		kind, what, help := c.dup.trouble("t", now)
		if string(kind) != c.want || (c.want == "") != (what == "" && help == "") {
			t.Errorf("%s: %s, %s, %s", name, kind, what, help)
		}
	}
}

package pegasus

import (
	"maps"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

func TestSplitCalls(t *testing.T) {
	meta := newServer(t)
	d := open(t, 5*time.Second, meta.endpoint)
	always(meta, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.OK})
	hint := "said the server"
	start := func(code string) error {
		on(meta, &wire.StartSplit, func(_ wire.Header, q *wire.StartSplitRequest) *wire.HintResponse {
			if q.AppName != "t" || q.NewPartitions != 16 {
				t.Errorf("asked for %+v", q)
			}
			return &wire.HintResponse{Err: code, Hint: hint}
		})
		return d.StartSplit(t.Context(), "t", 16)
	}
	if err := start(wire.OK); err != nil {
		t.Error(err)
	}
	wantError(t, start(wire.CodeInvalidParameters), spec.Failed, wire.CodeInvalidParameters, hint)
	wantError(t, start(wire.CodeBusy), spec.Failed, "being split already", "partition_split query")
	wantError(t, start(wire.CodeAppNotExist), spec.NotFound, `"t"`)
	meta.silent(wire.StartSplit.Name)
	short := open(t, 200*time.Millisecond, meta.endpoint)
	wantError(t, short.StartSplit(t.Context(), "t", 16), spec.UnknownOutcome)

	type control = wire.ControlSplitRequest
	for how, want := range map[string]control{
		PauseSplit:   {AppName: "t", Control: wire.SplitPause, Parent: 3},
		RestartSplit: {AppName: "t", Control: wire.SplitRestart, Parent: 3},
		CancelSplit:  {AppName: "t", Control: wire.SplitCancel, Parent: -1},
	} {
		code := wire.OK
		on(meta, &wire.ControlSplit, func(_ wire.Header, q *wire.ControlSplitRequest) *wire.ControlSplitResponse {
			if cancels := how == CancelSplit; cancels != (q.OldPartitions != nil) || cancels && *q.OldPartitions != 8 {
				t.Errorf("%s: %v partitions", how, q.OldPartitions)
			}
			if q.OldPartitions = nil; *q != want {
				t.Errorf("%s asks for %+v", how, q)
			}
			return &wire.ControlSplitResponse{Err: code, Hint: &hint}
		})
		do := func() error { return d.ControlSplit(t.Context(), "t", how, 3, 8) }
		if err := do(); err != nil {
			t.Error(err)
		}
		code = wire.CodeChildRegistered
		wantError(t, do(), spec.Failed, code, "too late: "+hint)
		code = wire.CodeInvalidState
		wantError(t, do(), spec.Failed, code, hint, "partition_split query")
		code = wire.CodeAppDropped
		wantError(t, do(), spec.NotFound)
	}
	wantError(t, d.ControlSplit(t.Context(), "t", "stop", -1, 0), spec.Usage, "stop")
}

func TestSplitStatus(t *testing.T) {
	meta := newServer(t)
	d := open(t, 5*time.Second, meta.endpoint)
	ask := func(a wire.QuerySplitResponse) (*Split, error) {
		always(meta, &wire.QuerySplit, a)
		return d.Split(t.Context(), "t")
	}
	s, err := ask(wire.QuerySplitResponse{Err: wire.OK, NewPartitions: 8, Status: map[int32]wire.SplitStatus{0: wire.SplitPaused, 3: wire.SplitSplitting, 1: 9}})
	if want := map[int]string{0: "PAUSED", 3: "SPLITTING", 1: "9"}; err != nil || s.Partitions != 8 || !maps.Equal(s.Status, want) {
		t.Error(s, err)
	}
	if s, err := ask(wire.QuerySplitResponse{Err: wire.CodeInvalidState}); s != nil || err != nil {
		t.Error(s, err)
	}
	for name, a := range map[string]wire.QuerySplitResponse{
		"odd":          {Err: wire.OK, NewPartitions: 7},
		"none":         {Err: wire.OK},
		"a child":      {Err: wire.OK, NewPartitions: 8, Status: map[int32]wire.SplitStatus{4: wire.SplitSplitting}},
		"out of range": {Err: wire.OK, NewPartitions: 8, Status: map[int32]wire.SplitStatus{-1: wire.SplitSplitting}},
	} {
		if _, err := ask(a); err == nil || !strings.Contains(err.Error(), "makes no sense") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = ask(wire.QuerySplitResponse{Err: wire.CodeAppNotExist})
	wantError(t, err, spec.NotFound, `"t"`)
}

func TestCompactCalls(t *testing.T) {
	meta := newServer(t)
	d := open(t, 5*time.Second, meta.endpoint)
	always(meta, &wire.ClusterInfo, wire.ClusterInfoResponse{Err: wire.OK})
	code := wire.OK
	on(meta, &wire.StartCompact, func(_ wire.Header, q *wire.StartCompactRequest) *wire.HintResponse {
		if q.AppName != "t" || *q.TargetLevel != 2 || !*q.Bottommost || *q.MaxRunning != 3 || q.TriggerTime != nil {
			t.Errorf("asked for %+v", q)
		}
		return &wire.HintResponse{Err: code, Hint: "hint"}
	})
	do := func() error {
		return d.StartCompaction(t.Context(), "t", Compaction{Level: 2, Bottommost: true, AtATime: 3})
	}
	if err := do(); err != nil {
		t.Error(err)
	}
	code = wire.CodeOperationDisabled
	wantError(t, do(), spec.Failed, code, "manual_compact.disabled false")
	code = wire.CodeInvalidParameters
	wantError(t, do(), spec.Failed, code, "hint")
	code = wire.CodeAppNotExist
	wantError(t, do(), spec.NotFound)

	progress := func(n int32) *int32 { return &n }
	for name, c := range map[string]struct {
		a     wire.QueryCompactResponse
		known bool
		bad   bool
	}{
		"half":      {wire.QueryCompactResponse{Err: wire.OK, Progress: progress(50)}, true, false},
		"never":     {wire.QueryCompactResponse{Err: wire.CodeInvalidState}, false, false},
		"not told":  {wire.QueryCompactResponse{Err: wire.OK}, false, false},
		"too much":  {wire.QueryCompactResponse{Err: wire.OK, Progress: progress(101)}, false, true},
		"too small": {wire.QueryCompactResponse{Err: wire.OK, Progress: progress(-1)}, false, true},
		"no table":  {wire.QueryCompactResponse{Err: wire.CodeAppNotExist}, false, true},
	} {
		always(meta, &wire.QueryCompact, c.a)
		if percent, known, err := d.CompactionProgress(t.Context(), "t"); known != c.known || (err != nil) != c.bad || known && percent != 50 {
			t.Errorf("%s: %d %% %t, %v", name, percent, known, err)
		}
	}
}

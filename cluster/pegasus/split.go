package pegasus

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

var (
	startSplit   = metaRPC[wire.StartSplitRequest, wire.HintResponse]{&wire.StartSplit, func(a *wire.HintResponse) string { return a.Err }, nil}
	querySplit   = metaRPC[wire.QuerySplitRequest, wire.QuerySplitResponse]{&wire.QuerySplit, func(a *wire.QuerySplitResponse) string { return a.Err }, nil}
	controlSplit = metaRPC[wire.ControlSplitRequest, wire.ControlSplitResponse]{&wire.ControlSplit, func(a *wire.ControlSplitResponse) string { return a.Err }, nil}
	startCompact = metaRPC[wire.StartCompactRequest, wire.HintResponse]{&wire.StartCompact, func(a *wire.HintResponse) string { return a.Err }, nil}
	queryCompact = metaRPC[wire.QueryCompactRequest, wire.QueryCompactResponse]{&wire.QueryCompact, func(a *wire.QueryCompactResponse) string { return a.Err }, nil}
)

// Split is the split of a table that is under way.
type Split struct {
	Partitions int // after it; those from half of it on are the children
	// Status is that of the parents that are not done, by index: "SPLITTING", "PAUSING", "PAUSED" or "CANCELING".
	Status map[int]string
}

// Ways to control a split.
const (
	PauseSplit   = "pause"
	RestartSplit = "restart"
	CancelSplit  = "cancel"
)

// Compaction is what StartCompaction asks of the servers.
type Compaction struct {
	Level      int  // to which the files go; -1 is the deepest
	Bottommost bool // the deepest level is rewritten, too
	AtATime    int  // replicas that a node compacts together; 0 leaves what holds
}

// StartSplit begins to split a table into twice as many partitions. It answers before anything has happened.
func (d *Driver) StartSplit(ctx context.Context, table string, partitions int) error {
	op := fmt.Sprintf("split table %s into %d partitions", table, partitions)
	q := wire.StartSplitRequest{AppName: table, NewPartitions: int32(min(max(partitions, 0), 1<<30))}
	a, endpoint, err := startSplit.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return err
	case a.Err == wire.CodeBusy:
		return refusedSplit(op, endpoint, a.Err, "the table is being split already").WithHint("partition_split query shows how far it is")
	}
	return splitError(op, endpoint, table, a.Err, a.Hint, true)
}

// Split answers how the split of a table stands, nil when it is not being split.
func (d *Driver) Split(ctx context.Context, table string) (*Split, error) {
	op := "read the split of " + table
	a, endpoint, err := querySplit.call(ctx, d, op, &wire.QuerySplitRequest{AppName: table})
	switch {
	case err != nil:
		return nil, err
	case a.Err == wire.CodeInvalidState:
		return nil, nil
	case a.Err != wire.OK:
		return nil, splitError(op, endpoint, table, a.Err, optional(a.Hint), false)
	case a.NewPartitions <= 0 || a.NewPartitions%2 != 0:
		return nil, malformed(op, endpoint, "%d partitions after a split", a.NewPartitions)
	}
	s := &Split{Partitions: int(a.NewPartitions), Status: make(map[int]string, len(a.Status))}
	for parent, status := range a.Status {
		if parent < 0 || parent >= a.NewPartitions/2 {
			return nil, malformed(op, endpoint, "partition %d is split, of %d", parent, a.NewPartitions/2)
		}
		s.Status[int(parent)] = status.String()
	}
	return s, nil
}

// ControlSplit pauses or restarts the split of one parent, or of all for -1, or cancels that of the table, which must
// have had old partitions; only a cancel looks at that. It answers once this is noted, not when it has happened.
func (d *Driver) ControlSplit(ctx context.Context, table, how string, parent, old int) error {
	op := fmt.Sprintf("%s the split of %s", how, table)
	q := wire.ControlSplitRequest{AppName: table, Parent: int32(min(max(parent, -1), 1<<30))}
	switch how {
	case PauseSplit:
		q.Control = wire.SplitPause
	case RestartSplit:
		q.Control = wire.SplitRestart
	case CancelSplit:
		count := int32(min(max(old, 0), 1<<30))
		q.Control, q.Parent, q.OldPartitions = wire.SplitCancel, -1, &count
	default:
		return spec.Errorf(spec.Usage, "%q is no way to control a split", how).WithHint("%s, %s or %s", PauseSplit, RestartSplit, CancelSplit)
	}
	a, endpoint, err := controlSplit.call(ctx, d, op, &q)
	if err != nil {
		return err
	}
	switch a.Err {
	case wire.CodeChildRegistered:
		return refusedSplit(op, endpoint, a.Err, "it is too late: "+cmp.Or(optional(a.Hint), "partitions are split already"))
	case wire.CodeInvalidState:
		return refusedSplit(op, endpoint, a.Err, cmp.Or(optional(a.Hint), "the table, or the partition, is not being split")).
			WithHint("partition_split query shows what is")
	}
	return splitError(op, endpoint, table, a.Err, optional(a.Hint), true)
}

// StartCompaction has every replica of a table compacted. It answers before anything has happened.
func (d *Driver) StartCompaction(ctx context.Context, table string, c Compaction) error {
	op := "compact table " + table
	level, most := int32(min(max(c.Level, -1<<20), 1<<20)), int32(min(max(c.AtATime, -1), 1<<30))
	q := wire.StartCompactRequest{AppName: table, TargetLevel: &level, Bottommost: &c.Bottommost, MaxRunning: &most}
	a, endpoint, err := startCompact.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return err
	case a.Err == wire.CodeOperationDisabled:
		return refusedSplit(op, endpoint, a.Err, "the table's settings disable it").WithHint("set_app_envs manual_compact.disabled false")
	}
	return splitError(op, endpoint, table, a.Err, a.Hint, true)
}

// CompactionProgress answers the share of a table's replicas that are compacted, in percent, since a compaction was last
// started; not known when none was. A replica whose server was started again since counts for nothing, even if it was
// done.
func (d *Driver) CompactionProgress(ctx context.Context, table string) (percent int, known bool, err error) {
	op := "read the compaction of " + table
	a, endpoint, err := queryCompact.call(ctx, d, op, &wire.QueryCompactRequest{AppName: table})
	switch {
	case err != nil:
		return 0, false, err
	case a.Err == wire.CodeInvalidState:
		return 0, false, nil
	case a.Err != wire.OK:
		return 0, false, splitError(op, endpoint, table, a.Err, a.Hint, false)
	case a.Progress == nil:
		return 0, false, nil
	case *a.Progress < 0 || *a.Progress > 100:
		return 0, false, malformed(op, endpoint, "%d %%", *a.Progress)
	}
	return int(*a.Progress), true, nil
}

// splitError is the error of a call about a table that is split or compacted, nil for none.
func splitError(op, endpoint, table, code, hint string, change bool) error {
	switch code {
	case wire.OK:
		return nil
	case wire.CodeAppNotExist, wire.CodeAppDropped, wire.CodeObjectNotFound:
		return noTable(op, endpoint, table, code)
	}
	return codeError(op, endpoint, code, hint, change)
}

// refusedSplit is a refusal whose name means something else elsewhere.
func refusedSplit(op, endpoint, code, why string) *spec.Error {
	return &spec.Error{Kind: spec.Failed, Op: op, Endpoint: endpoint, Code: code, Err: errors.New(why)}
}

// optional is the text of a field that need not be there.
func optional(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

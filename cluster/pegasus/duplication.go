package pegasus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

var (
	addDup    = metaRPC[wire.AddDupRequest, wire.AddDupResponse]{&wire.AddDup, func(a *wire.AddDupResponse) string { return a.Err }, nil}
	modifyDup = metaRPC[wire.ModifyDupRequest, wire.ModifyDupResponse]{&wire.ModifyDup, func(a *wire.ModifyDupResponse) string { return a.Err }, nil}
	queryDup  = metaRPC[wire.QueryDupRequest, wire.QueryDupResponse]{&wire.QueryDup, func(a *wire.QueryDupResponse) string { return a.Err }, nil}
	listDups  = metaRPC[wire.ListDupsRequest, wire.ListDupsResponse]{&wire.ListDups, func(a *wire.ListDupsResponse) string { return a.Err }, nil}
)

// NewDuplication is what AddDuplication adds. RemoteTable "" is the same name, RemoteReplicas 0 as many replicas; servers up
// to 2.5 know nothing else.
type NewDuplication struct {
	Remote         string // a cluster in the servers' own configuration
	Checkpoint     bool   // with the rows that there are: the follower's table is made
	RemoteTable    string
	RemoteReplicas int
}

// Duplication ships the writes of a table to a table of another cluster.
type Duplication struct {
	ID             int32
	Status         string // "DS_PREPARE", "DS_APP", "DS_LOG", "DS_PAUSE", …
	FailMode       string // "FAIL_SLOW", "FAIL_SKIP", "FAIL_FAST"; "" when servers do not tell
	Remote         string
	RemoteTable    string // "" up to 2.5
	RemoteReplicas int    // 0 up to 2.5
	Created        time.Time
	Partitions     map[int]Shipped
}

// Shipped is how far a partition is, in decrees. -1 is not known: Confirmed before it has begun, Committed up to 2.5.
type Shipped struct{ Confirmed, Committed int64 }

// Ways to change a duplication.
const (
	StartDup  = "start"
	PauseDup  = "pause"
	RemoveDup = "remove"
)

// AddDuplication begins to duplicate a table, and answers the duplication's id before anything has happened.
func (d *Driver) AddDuplication(ctx context.Context, table string, n NewDuplication) (id int32, err error) {
	op := fmt.Sprintf("duplicate table %s to %s", table, n.Remote)
	q := wire.AddDupRequest{AppName: table, Remote: n.Remote, Checkpoint: &n.Checkpoint}
	if n.RemoteTable != "" {
		q.RemoteApp = &n.RemoteTable
	}
	if n.RemoteReplicas != 0 {
		count := int32(min(max(n.RemoteReplicas, -1), math.MaxInt32))
		q.RemoteReplicas = &count
	}
	a, endpoint, err := addDup.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return 0, err
	case a.Err == wire.CodeDupExist:
		return a.DupID, refusedSplit(op, endpoint, a.Err, "the table is being duplicated there already").WithHint("query_dup %s shows it", table)
	case a.Err == wire.CodeInvalidParameters && optional(a.Hint) == "":
		return 0, refusedSplit(op, endpoint, a.Err, "the cluster is not in the configuration of the meta server, or cannot be a follower")
	}
	return a.DupID, splitError(op, endpoint, table, a.Err, optional(a.Hint), true)
}

// Duplications lists the duplications of a table by id.
func (d *Driver) Duplications(ctx context.Context, table string) ([]Duplication, error) {
	op := "read the duplications of " + table
	a, endpoint, err := queryDup.call(ctx, d, op, &wire.QueryDupRequest{AppName: table})
	switch {
	case err != nil:
		return nil, err
	case a.Err != wire.OK:
		return nil, splitError(op, endpoint, table, a.Err, "", false)
	}
	list := make([]Duplication, len(a.Entries))
	for i := range a.Entries {
		if list[i], err = duplicationOf(op, endpoint, &a.Entries[i]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(list, func(a, b Duplication) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// maxPartitionIndex is more than any table has.
const maxPartitionIndex = 1 << 20

func duplicationOf(op, endpoint string, e *wire.DupEntry) (Duplication, error) {
	dup := Duplication{
		ID: e.DupID, Status: e.Status.String(), Remote: e.Remote, Created: milliTime(e.CreateMS), RemoteTable: optional(e.RemoteApp),
		Partitions: map[int]Shipped{},
	}
	if e.FailMode != nil {
		dup.FailMode = e.FailMode.String()
	}
	if e.RemoteReplicas != nil {
		dup.RemoteReplicas = int(*e.RemoteReplicas)
	}
	for i, confirmed := range e.Progress {
		dup.Partitions[int(i)] = Shipped{max(confirmed, -1), -1}
	}
	for i, s := range e.States {
		dup.Partitions[int(i)] = Shipped{max(s.Confirmed, -1), max(s.LastCommitted, -1)}
	}
	for i := range dup.Partitions {
		if i < 0 || i > maxPartitionIndex {
			return dup, malformed(op, endpoint, "duplication %d has a partition %d", e.DupID, i)
		}
	}
	return dup, nil
}

// DuplicationsOf lists the duplications of those of the tables that say they are duplicated, by name: a call for each.
func (d *Driver) DuplicationsOf(ctx context.Context, apps []App) (map[string][]Duplication, error) {
	all := map[string][]Duplication{}
	for _, app := range apps {
		if !app.Duplicating {
			continue
		}
		list, err := d.Duplications(ctx, app.Name)
		switch {
		case spec.KindOf(err) == spec.NotFound: // dropped meanwhile
		case err != nil:
			return nil, err
		case len(list) > 0:
			all[app.Name] = list
		}
	}
	return all, nil
}

// wireMatchAll has ListDups list every table (pattern_match_type PMT_MATCH_ALL).
const wireMatchAll = 1

// ListDuplications asks for all duplications at once, by table, as servers can from 2.6 on; not able when they cannot.
func (d *Driver) ListDuplications(ctx context.Context) (all map[string][]Duplication, able bool, err error) {
	op := "list duplications"
	a, endpoint, err := listDups.call(ctx, d, op, &wire.ListDupsRequest{MatchType: wireMatchAll})
	var refused *spec.Error
	switch {
	case errors.As(err, &refused) && refused.Code == wire.CodeHandlerNotFound:
		return nil, false, nil
	case err != nil:
		return nil, true, err
	case a.Err != wire.OK:
		return nil, true, codeError(op, endpoint, a.Err, a.Hint, false)
	}
	all = map[string][]Duplication{}
	for name, app := range a.Apps {
		for _, id := range slices.Sorted(maps.Keys(app.Dups)) {
			e := app.Dups[id]
			dup, err := duplicationOf(op, endpoint, &e)
			if err != nil {
				return nil, true, err
			}
			all[name] = append(all[name], dup)
		}
	}
	return all, true, nil
}

// ChangeDuplication starts, pauses or removes a duplication. It answers once this is noted.
func (d *Driver) ChangeDuplication(ctx context.Context, table string, id int32, how string) error {
	var status wire.DupStatus
	switch how {
	case StartDup:
		status = wire.DupLog
	case PauseDup:
		status = wire.DupPause
	case RemoveDup:
		status = wire.DupRemoved
	default:
		return spec.Errorf(spec.Usage, "%q is no way to change a duplication", how).WithHint("%s, %s or %s", StartDup, PauseDup, RemoveDup)
	}
	return d.modifyDuplication(ctx, fmt.Sprintf("%s the duplication %d of %s", how, id, table), &wire.ModifyDupRequest{AppName: table, DupID: id, Status: &status})
}

// SetDupFailMode says what a duplication does about what it can never ship: "slow", "skip" or "fast".
func (d *Driver) SetDupFailMode(ctx context.Context, table string, id int32, mode string) error {
	for _, m := range []wire.DupFailMode{wire.DupFailSlow, wire.DupFailSkip, wire.DupFailFast} {
		if m.String() == "FAIL_"+strings.ToUpper(mode) {
			op := fmt.Sprintf("set the fail mode of the duplication %d of %s", id, table)
			return d.modifyDuplication(ctx, op, &wire.ModifyDupRequest{AppName: table, DupID: id, FailMode: &m})
		}
	}
	return spec.Errorf(spec.Usage, "%q is no fail mode", mode).WithHint("slow, skip or fast")
}

func (d *Driver) modifyDuplication(ctx context.Context, op string, q *wire.ModifyDupRequest) error {
	a, endpoint, err := modifyDup.call(ctx, d, op, q)
	switch {
	case err != nil:
		return err
	case a.Err == wire.CodeObjectNotFound:
		e := spec.Errorf(spec.NotFound, "%s has no duplication %d", q.AppName, q.DupID)
		e.Op, e.Endpoint, e.Code = op, endpoint, a.Err
		return e.WithHint("query_dup %s lists what it has", q.AppName)
	case a.Err == wire.CodeBusy:
		return refusedSplit(op, endpoint, a.Err, "an earlier change is still being kept").WithHint("try again in a moment")
	case a.Err == wire.CodeInvalidParameters:
		return refusedSplit(op, endpoint, a.Err, "it cannot become that from what it is").
			WithHint("only DS_LOG can be paused and only DS_PAUSE started; query_dup %s shows its status", q.AppName)
	}
	return splitError(op, endpoint, q.AppName, a.Err, "", true)
}

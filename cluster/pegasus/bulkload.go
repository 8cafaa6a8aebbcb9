package pegasus

import (
	"cmp"
	"context"
	"fmt"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

var (
	startBulkLoad   = metaRPC[wire.StartBulkLoadRequest, wire.HintResponse]{&wire.StartBulkLoad, func(a *wire.HintResponse) string { return a.Err }, nil}
	controlBulkLoad = metaRPC[wire.ControlBulkLoadRequest, wire.BulkLoadResponse]{&wire.ControlBulkLoad, func(a *wire.BulkLoadResponse) string { return a.Err }, nil}
	queryBulkLoad   = metaRPC[wire.QueryBulkLoadRequest, wire.QueryBulkLoadResponse]{&wire.QueryBulkLoad, func(a *wire.QueryBulkLoadResponse) string { return a.Err }, nil}
	clearBulkLoad   = metaRPC[wire.ClearBulkLoadRequest, wire.HintResponse]{&wire.ClearBulkLoad, func(a *wire.HintResponse) string { return a.Err }, nil}
)

// NewBulkLoad is what StartBulkLoad loads: Root/Cluster/Table of a block service.
type NewBulkLoad struct {
	Table, Cluster, Provider, Root string
	// Behind has the rows that there are win. The table must have been created with rocksdb.allow_ingest_behind=true.
	Behind bool
}

// BulkLoad is how the bulk load of a table stands, or how the last one ended.
type BulkLoad struct {
	Status     string // "BLS_DOWNLOADING", "BLS_DOWNLOADED", "BLS_INGESTING", "BLS_SUCCEED", "BLS_FAILED", …
	Loading    bool   // it is not over
	Code       string // "ERR_OK", or why it failed
	Hint       string
	Replicas   int // that each partition shall have
	Partitions []BulkPartition
}

// BulkPartition is a partition of a bulk load. Replicas are by endpoint.
type BulkPartition struct {
	Status   string
	Replicas map[string]BulkReplica
}

// BulkReplica is how far a replica is; -1, "" and nil are not told, as most are in most states.
type BulkReplica struct {
	Progress          int    // percent of the download
	Download          string // an error name
	Ingest            string // "running", "succeed", "failed", "" for neither
	CleanedUp, Paused *bool
}

// Ways to control a bulk load.
const (
	PauseBulkLoad       = "pause"
	RestartBulkLoad     = "restart"
	CancelBulkLoad      = "cancel"
	ForceCancelBulkLoad = "force_cancel"
)

// StartBulkLoad begins to load files into a table. It answers when what is to be loaded was found, before anything is. The
// meta server is at the level steady afterwards, and stays there.
func (d *Driver) StartBulkLoad(ctx context.Context, n NewBulkLoad) error {
	op := "bulk load " + n.Table
	q := wire.StartBulkLoadRequest{AppName: n.Table, Cluster: n.Cluster, Provider: n.Provider, Root: n.Root, Behind: n.Behind}
	a, endpoint, err := startBulkLoad.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return err
	case a.Err == wire.OK:
		return nil
	}
	why, hint := "", ""
	switch a.Err {
	case wire.CodeBusy:
		why, hint = "a table is being bulk loaded already", "query_bulk_load_status shows how far it is"
	case wire.CodeInconsistent:
		why, hint = "bulk_load_info is of a table with another id or partition count, or the table was not created with rocksdb.allow_ingest_behind",
			"ls shows the id and the count, get_app_envs the setting"
	case wire.CodeInvalidParameters:
		why, hint = "the servers know no such block service", "the servers' own configuration has the block services"
	case wire.CodeFileOperation:
		why, hint = "the meta server cannot open the block service", "check that it is reachable from the servers"
	case wire.CodeObjectNotFound:
		why, hint = "there is no bulk_load_info", fmt.Sprintf("it belongs at %s/%s/%s on %s", n.Root, n.Cluster, n.Table, n.Provider)
	case wire.CodeCorruption:
		why = "bulk_load_info is damaged"
	default:
		return splitError(op, endpoint, n.Table, a.Err, a.Hint, true)
	}
	return refusedSplit(op, endpoint, a.Err, cmp.Or(a.Hint, why)).WithHint("%s", hint)
}

// ControlBulkLoad pauses, restarts or cancels a bulk load. It answers once this is noted.
func (d *Driver) ControlBulkLoad(ctx context.Context, table, how string) error {
	op := fmt.Sprintf("%s the bulk load of %s", how, table)
	q := wire.ControlBulkLoadRequest{AppName: table}
	switch how {
	case PauseBulkLoad:
		q.Control = wire.BulkPause
	case RestartBulkLoad:
		q.Control = wire.BulkRestart
	case CancelBulkLoad:
		q.Control = wire.BulkCancel
	case ForceCancelBulkLoad:
		q.Control = wire.BulkForceCancel
	default:
		return spec.Errorf(spec.Usage, "%q is no way to control a bulk load", how).
			WithHint("%s, %s, %s or %s", PauseBulkLoad, RestartBulkLoad, CancelBulkLoad, ForceCancelBulkLoad)
	}
	a, endpoint, err := controlBulkLoad.call(ctx, d, op, &q)
	if err != nil {
		return err
	}
	switch a.Err {
	case wire.CodeInactiveState:
		return refusedSplit(op, endpoint, a.Err, "the table is not being bulk loaded")
	case wire.CodeInvalidState:
		return refusedSplit(op, endpoint, a.Err, cmp.Or(optional(a.Hint), "it cannot be done in its state")).
			WithHint("pause needs BLS_DOWNLOADING, restart BLS_PAUSED, cancel either; query_bulk_load_status shows the state")
	}
	return splitError(op, endpoint, table, a.Err, optional(a.Hint), true)
}

// BulkLoad answers how the bulk load of a table stands, or how the last one ended; Status is "BLS_INVALID" when there was
// none.
func (d *Driver) BulkLoad(ctx context.Context, table string) (BulkLoad, error) {
	op := "read the bulk load of " + table
	a, endpoint, err := queryBulkLoad.call(ctx, d, op, &wire.QueryBulkLoadRequest{AppName: table})
	switch {
	case err != nil:
		return BulkLoad{}, err
	case a.Err == wire.CodeAppNotExist || a.Err == wire.CodeAppDropped || a.Err == wire.CodeServiceNotActive:
		return BulkLoad{}, splitError(op, endpoint, table, a.Err, optional(a.Hint), false)
	case len(a.States) > len(a.Partitions) || a.MaxReplicas < 0:
		return BulkLoad{}, malformed(op, endpoint, "the states of %d partitions, of %d", len(a.States), len(a.Partitions))
	}
	b := BulkLoad{
		Status: a.Status.String(), Loading: a.Loading != nil && *a.Loading, Code: a.Err, Hint: optional(a.Hint), Replicas: int(a.MaxReplicas),
		Partitions: make([]BulkPartition, len(a.Partitions)),
	}
	for i, status := range a.Partitions {
		p := BulkPartition{Status: status.String(), Replicas: map[string]BulkReplica{}}
		if i < len(a.States) {
			for at, s := range a.States[i] {
				if p.Replicas[d.name(at, nil)], err = bulkReplicaOf(op, endpoint, s); err != nil {
					return BulkLoad{}, err
				}
			}
		}
		b.Partitions[i] = p
	}
	return b, nil
}

var ingestWords = map[wire.IngestStatus]string{wire.IngestRunning: "running", wire.IngestSucceed: "succeed", wire.IngestFailed: "failed"}

func bulkReplicaOf(op, endpoint string, s wire.BulkLoadState) (BulkReplica, error) {
	r := BulkReplica{Progress: -1, Download: optional(s.DownloadStatus), CleanedUp: s.CleanedUp, Paused: s.Paused}
	if s.Ingest != nil {
		r.Ingest = ingestWords[*s.Ingest]
	}
	if s.Progress != nil {
		if r.Progress = int(*s.Progress); r.Progress < 0 || r.Progress > 100 {
			return r, malformed(op, endpoint, "%d %%", r.Progress)
		}
	}
	return r, nil
}

// ClearBulkLoad has the meta server forget how the last bulk load of a table ended.
func (d *Driver) ClearBulkLoad(ctx context.Context, table string) error {
	op := "clear the bulk load of " + table
	a, endpoint, err := clearBulkLoad.call(ctx, d, op, &wire.ClearBulkLoadRequest{AppName: table})
	switch {
	case err != nil:
		return err
	case a.Err == wire.CodeInvalidState:
		return refusedSplit(op, endpoint, a.Err, "the table is being bulk loaded").WithHint("cancel_bulk_load ends it")
	}
	return splitError(op, endpoint, table, a.Err, a.Hint, true)
}

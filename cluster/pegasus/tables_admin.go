package pegasus

import (
	"context"
	"fmt"

	"shardsh/cluster/pegasus/wire"
)

var (
	recallApp       = metaRPC[wire.RecallAppRequest, wire.RecallAppResponse]{&wire.RecallApp, func(a *wire.RecallAppResponse) string { return a.Err }, nil}
	renameApp       = metaRPC[wire.RenameAppRequest, wire.HintResponse]{&wire.RenameApp, func(a *wire.HintResponse) string { return a.Err }, nil}
	getReplicaCount = metaRPC[wire.GetReplicaCountRequest, wire.ReplicaCountResponse]{&wire.GetReplicaCount, func(a *wire.ReplicaCountResponse) string { return a.Err }, nil}
	setReplicaCount = metaRPC[wire.SetReplicaCountRequest, wire.ReplicaCountResponse]{&wire.SetReplicaCount, func(a *wire.ReplicaCountResponse) string { return a.Err }, nil}
)

// RecallApp takes a dropped table back, under another name unless that is "", and answers it. Its partitions get their
// primaries afterwards. A table whose time has run out is NotFound.
func (d *Driver) RecallApp(ctx context.Context, id int32, name string) (App, error) {
	a, err := recallApp.ok(ctx, d, fmt.Sprintf("recall table %d", id), &wire.RecallAppRequest{AppID: id, NewName: name})
	if err != nil {
		return App{}, err
	}
	return appOf(&a.Info), nil
}

// RenameApp gives a table another name. Clients that use the old one find no table.
func (d *Driver) RenameApp(ctx context.Context, old, name string) error {
	op := "rename table " + old
	a, endpoint, err := renameApp.call(ctx, d, op, &wire.RenameAppRequest{Old: old, New: name})
	switch {
	case err != nil:
		return err
	case a.Err != wire.OK:
		return codeError(op, endpoint, a.Err, a.Hint, true)
	}
	return nil
}

// ReplicaCount answers how many replicas each partition of a table shall have.
func (d *Driver) ReplicaCount(ctx context.Context, table string) (int, error) {
	op := "read the replica count of " + table
	a, endpoint, err := getReplicaCount.call(ctx, d, op, &wire.GetReplicaCountRequest{AppName: table})
	switch {
	case err != nil:
		return 0, err
	case a.Err != wire.OK:
		return 0, codeError(op, endpoint, a.Err, a.Hint, false)
	}
	return int(a.Count), nil
}

// SetReplicaCount says how many replicas each partition of a table shall have and answers how many it was before. The
// replicas follow: missing ones are copied, those too many dropped.
func (d *Driver) SetReplicaCount(ctx context.Context, table string, count int) (old int, err error) {
	op := fmt.Sprintf("set the replica count of %s to %d", table, count)
	q := wire.SetReplicaCountRequest{AppName: table, Count: int32(min(max(count, 0), 1<<30))}
	a, endpoint, err := setReplicaCount.call(ctx, d, op, &q)
	switch {
	case err != nil:
		return 0, err
	case a.Err != wire.OK:
		return 0, codeError(op, endpoint, a.Err, a.Hint, true)
	}
	return int(a.Count), nil
}

// ClearEnvs deletes the envs of a table whose names start with the prefix and a dot, "" for all.
func (d *Driver) ClearEnvs(ctx context.Context, table, prefix string) error {
	return d.updateEnvs(ctx, "clear envs of "+table, &wire.UpdateAppEnvRequest{AppName: table, Op: wire.EnvClear, ClearPrefix: &prefix})
}

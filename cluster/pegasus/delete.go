package pegasus

import (
	"context"
	"sync"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// Bounds of DeleteRows: rows and bytes of one call, and calls under way at a time.
const (
	deleteRows   = 100
	deleteBytes  = 256 << 10
	deletesAhead = 16
)

// MultiDel deletes rows under one hash key, all or none, and answers how many keys the server counted: all of them,
// whether they were there or not. All of it must fit a write (1 MiB by default).
func (d *Driver) MultiDel(ctx context.Context, table string, hash []byte, sorts [][]byte) (int64, Ack, error) {
	op := "delete rows of " + table
	if err := checkHash(op, hash); err != nil {
		return 0, Ack{}, err
	}
	return d.multiRemove(ctx, op, table, hash, sorts)
}

func (d *Driver) multiRemove(ctx context.Context, op, table string, hash []byte, sorts [][]byte) (int64, Ack, error) {
	h := wire.Hash(hash, nil)
	args := wire.MultiRemoveRequest{HashKey: hash, SortKeys: sorts, MaxCount: int64(len(sorts))}
	var a wire.MultiRemoveResponse
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.MultiRemove, &args, &a); err != nil {
		return 0, Ack{}, err
	}
	ack := Ack{AppID: a.AppID, Partition: int(a.Partition), Decree: a.Decree, Server: a.Server}
	return a.Count, ack, statusError(op, a.Server, a.Error)
}

// RowKey names a row.
type RowKey struct{ Hash, Sort []byte }

// DeleteRows deletes rows of any hash keys, neighbours of one hash key together, several calls at a time. It waits for
// all of its calls and answers how many rows were acknowledged, also with an error, which is the first one; no new call
// starts after it.
func (d *Driver) DeleteRows(ctx context.Context, table string, rows []RowKey) (deleted int64, err error) {
	op := "delete rows of " + table
	var mu sync.Mutex
	var first error
	group := new(sync.WaitGroup)
	slots := make(chan struct{}, deletesAhead)
	failed := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return first != nil
	}
	for len(rows) > 0 {
		slots <- struct{}{}
		if failed() {
			break
		}
		n := runOf(rows)
		batch := rows[:n]
		rows = rows[n:]
		group.Go(func() {
			defer func() { <-slots }()
			err := d.deleteRun(ctx, op, table, batch)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				deleted += int64(len(batch))
			} else if first == nil || spec.KindOf(err) == spec.UnknownOutcome {
				first = err
			}
		})
	}
	group.Wait()
	return deleted, first
}

// runOf is how many rows from the first on go into one call.
func runOf(rows []RowKey) int {
	size := 0
	for i, r := range rows {
		size += len(r.Sort) + 16
		if i > 0 && (i >= deleteRows || size > deleteBytes || string(r.Hash) != string(rows[0].Hash)) {
			return i
		}
	}
	return len(rows)
}

func (d *Driver) deleteRun(ctx context.Context, op, table string, rows []RowKey) error {
	if len(rows[0].Hash) == 0 { // such rows lie where their sort key says
		for _, r := range rows {
			if _, err := d.Del(ctx, table, nil, r.Sort); err != nil {
				return err
			}
		}
		return nil
	}
	sorts := make([][]byte, len(rows))
	for i, r := range rows {
		sorts[i] = r.Sort
	}
	n, ack, err := d.multiRemove(ctx, op, table, rows[0].Hash, sorts)
	if err == nil && n != int64(len(sorts)) {
		return malformed(op, ack.Server, "%d rows deleted of %d", n, len(sorts))
	}
	return err
}

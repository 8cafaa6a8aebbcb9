package pegasus

import (
	"context"
	"errors"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// SortValue is a row under a hash key that is given beside it.
type SortValue struct{ Sort, Value []byte }

// MultiSet writes rows under one hash key, all of them or none, with one time to live (0 leaves it to the table). All
// of it must fit a write (1 MiB by default).
func (d *Driver) MultiSet(ctx context.Context, table string, hash []byte, rows []SortValue, ttl time.Duration) (Ack, error) {
	op := "set rows of " + table
	if len(hash) == 0 || len(hash) > wire.MaxHashKey {
		return Ack{}, &spec.Error{Kind: spec.Usage, Op: op, Err: errors.New("the hash key must have 1 to 65534 bytes")}
	}
	expires, err := wire.ExpireTS(time.Now(), ttl)
	if err != nil {
		return Ack{}, &spec.Error{Kind: spec.Usage, Op: op, Err: err}
	}
	args := wire.MultiPutRequest{HashKey: hash, Rows: make([]wire.KeyValue, len(rows)), ExpireTS: expires}
	for i, r := range rows {
		args.Rows[i] = wire.KeyValue{Key: r.Sort, Value: r.Value}
	}
	h := wire.Hash(hash, nil)
	var a wire.UpdateResponse
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.MultiPut, &args, &a); err != nil {
		return Ack{}, err
	}
	return updateAck(&a), statusError(op, a.Server, a.Error)
}

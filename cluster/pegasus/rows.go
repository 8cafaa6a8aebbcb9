package pegasus

import (
	"context"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// fullKey makes the key of a row. Only data made outside of clients has an empty hash key.
func fullKey(op string, hash, sort []byte) ([]byte, error) {
	key, err := wire.EncodeKey(hash, sort)
	if err != nil {
		return nil, &spec.Error{Kind: spec.Usage, Op: op, Err: err}
	}
	return key, nil
}

// statusError is a storage error inside an answer.
func statusError(op, server string, status int32) error {
	if status == wire.StatusOK {
		return nil
	}
	return &spec.Error{Kind: spec.Failed, Op: op, Endpoint: server, Err: storageStatus(status)}
}

// Set writes a row; ttl 0 leaves it to the table (env default_ttl). The value must fit a write (1 MiB by default).
func (d *Driver) Set(ctx context.Context, table string, hash, sort, value []byte, ttl time.Duration) (Ack, error) {
	op := "set a row of " + table
	key, err := fullKey(op, hash, sort)
	if err != nil {
		return Ack{}, err
	}
	expires, err := wire.ExpireTS(time.Now(), ttl)
	if err != nil {
		return Ack{}, &spec.Error{Kind: spec.Usage, Op: op, Err: err}
	}
	h := wire.Hash(hash, sort)
	var a wire.UpdateResponse
	args := wire.PutRequest{Key: key, Value: value, ExpireTS: expires}
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.Put, &args, &a); err != nil {
		return Ack{}, err
	}
	return updateAck(&a), statusError(op, a.Server, a.Error)
}

func updateAck(a *wire.UpdateResponse) Ack {
	return Ack{AppID: a.AppID, Partition: int(a.Partition), Decree: a.Decree, Server: a.Server}
}

// Get reads a row. A row that is not there is not an error.
func (d *Driver) Get(ctx context.Context, table string, hash, sort []byte) (value []byte, found bool, ack Ack, err error) {
	op := "get a row of " + table
	key, err := fullKey(op, hash, sort)
	if err != nil {
		return nil, false, Ack{}, err
	}
	h := wire.Hash(hash, sort)
	var a wire.GetResponse
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.Get, &key, &a); err != nil {
		return nil, false, Ack{}, err
	}
	ack = Ack{AppID: a.AppID, Partition: int(a.Partition), Decree: -1, Server: a.Server}
	if a.Error == wire.StatusNotFound {
		return nil, false, ack, nil
	}
	if err := statusError(op, a.Server, a.Error); err != nil {
		return nil, false, ack, err
	}
	return a.Value, true, ack, nil
}

// Del removes a row; removing one that is not there succeeds.
func (d *Driver) Del(ctx context.Context, table string, hash, sort []byte) (Ack, error) {
	op := "delete a row of " + table
	key, err := fullKey(op, hash, sort)
	if err != nil {
		return Ack{}, err
	}
	h := wire.Hash(hash, sort)
	var a wire.UpdateResponse
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.Remove, &key, &a); err != nil {
		return Ack{}, err
	}
	return updateAck(&a), statusError(op, a.Server, a.Error)
}

// TTL answers how long a row has left, -1 when it never expires.
func (d *Driver) TTL(ctx context.Context, table string, hash, sort []byte) (left time.Duration, found bool, ack Ack, err error) {
	op := "read the ttl of a row of " + table
	key, err := fullKey(op, hash, sort)
	if err != nil {
		return 0, false, Ack{}, err
	}
	h := wire.Hash(hash, sort)
	var a wire.TTLResponse
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.TTL, &key, &a); err != nil {
		return 0, false, Ack{}, err
	}
	ack = Ack{AppID: a.AppID, Partition: int(a.Partition), Decree: -1, Server: a.Server}
	if a.Error == wire.StatusNotFound {
		return 0, false, ack, nil
	}
	if err := statusError(op, a.Server, a.Error); err != nil {
		return 0, false, ack, err
	}
	if a.TTL < 0 {
		return -1, true, ack, nil
	}
	return time.Duration(a.TTL) * time.Second, true, ack, nil
}

// SortKeyCount counts the rows under a hash key.
func (d *Driver) SortKeyCount(ctx context.Context, table string, hash []byte) (int64, Ack, error) {
	op := "count the sort keys in " + table
	if err := checkHash(op, hash); err != nil {
		return 0, Ack{}, err
	}
	h := wire.Hash(hash, nil)
	var a wire.CountResponse
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.SortKeyCount, &hash, &a); err != nil {
		return 0, Ack{}, err
	}
	ack := Ack{AppID: a.AppID, Partition: int(a.Partition), Decree: -1, Server: a.Server}
	if a.Error == wire.StatusIncomplete { // too many for one call: a scan may take its time
		n, err := d.countUnder(ctx, table, hash)
		return n, ack, err
	}
	if err := statusError(op, a.Server, a.Error); err != nil {
		return 0, ack, err
	}
	return a.Count, ack, nil
}

// Locate tells where a row lives, asking the meta server.
func (d *Driver) Locate(ctx context.Context, table string, hash, sort []byte) (Location, error) {
	op := "locate a row of " + table
	if _, err := fullKey(op, hash, sort); err != nil {
		return Location{}, err
	}
	r, err := d.resolve(ctx, op, table)
	if err != nil {
		return Location{}, err
	}
	h := wire.Hash(hash, sort)
	i := r.index(h)
	p := &r.Partitions[i]
	return Location{
		AppID: r.AppID, Partitions: len(r.Partitions), Partition: i, Hash: h,
		Primary: p.Primary, Secondaries: p.Secondaries,
	}, nil
}

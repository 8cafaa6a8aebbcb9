package sandbox

import (
	"errors"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// Tables that were made with rocksdb.allow_ingest_behind=true keep for good which keys were deleted, as RocksDB keeps the
// deletions of such a column family through every compaction: what is ingested behind must not bring back what was deleted
// before. The keys are beside the rows, under a tag of their own; a key that was written again has both.

const envIngestBehind = "rocksdb.allow_ingest_behind"

// behind says that rows may be ingested behind those that there are.
func (a *app) behind() bool { return a.Envs[envIngestBehind] == "true" }

func deletedPrefix(pid wire.GPID) []byte { return tagged('t', pid) }

// deleteRow deletes a row whose full key is given in parts, and keeps that it did where it matters.
func (r *replica) deleteRow(b *engine.Batch, a *app, key ...[]byte) error {
	if err := deleteRow(b, r.prefix, key...); err != nil || !a.behind() {
		return err
	}
	return b.Set(joined(r.deleted, key...), nil, nil)
}

func joined(prefix []byte, parts ...[]byte) []byte {
	key := append([]byte{}, prefix...)
	for _, part := range parts {
		key = append(key, part...)
	}
	return key
}

// shadows says whether a loaded row of a key would be out of sight behind what there is: a row, even one that has expired,
// or a deletion.
func (r *replica) shadows(full []byte) (bool, error) {
	for _, prefix := range [][]byte{r.prefix, r.deleted} {
		_, closer, err := r.s.store.Get(joined(prefix, full))
		if err == nil {
			return true, closer.Close()
		}
		if !errors.Is(err, engine.ErrNotFound) {
			return false, err
		}
	}
	return false, nil
}

// clearRows deletes all that a replica holds of its partition but its state.
func clearRows(b *engine.Batch, pid wire.GPID) error {
	var errs []error
	for _, prefix := range [][]byte{rowPrefix(pid), deletedPrefix(pid)} {
		errs = append(errs, b.DeleteRange(prefix, engine.After(prefix), nil))
	}
	return errors.Join(errs...)
}

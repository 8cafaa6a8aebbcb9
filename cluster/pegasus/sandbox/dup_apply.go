package sandbox

import (
	"errors"
	"fmt"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// What the primary of a follower does with the writes of another cluster. They are one write of its own, in their order,
// and never shipped on.

// laggingAfter is how late a write is that counts as lagging (Pegasus: dup_lagging_write_threshold_ms).
const laggingAfter = 10 * time.Second

// clusterID is a cluster's number in the timetags of its rows: its place among the sandbox's clusters, from 1 on; 0 is
// none of these.
func clusterID(name string) int {
	for i, c := range siblings() {
		if c.Name == name {
			return i + 1
		}
	}
	return 0
}

// timetagOf is the timetag of a write of a cluster.
func timetagOf(stampMicros int64, cluster int8, deletes bool) uint64 {
	tag := uint64(stampMicros)<<8 | uint64(uint8(cluster))<<1
	if deletes {
		tag |= 1
	}
	return tag
}

func (s *replicaServer) duplicated() method {
	return change(s, &wire.Duplicate, true, func(r *replica, a *app, q *wire.DuplicateRequest, out *wire.DuplicateResponse) func(*engine.Batch, int64, time.Time) error {
		out.Error = new(int32)
		return func(b *engine.Batch, _ int64, now time.Time) error {
			if hint := s.checkEntries(q.Entries); hint != "" {
				*out.Error, out.Hint = wire.StatusInvalidArgument, &hint
				return nil
			}
			w := &foreign{r: r, a: a, b: b, now: now, tags: map[string]uint64{}}
			for i := range q.Entries {
				if err := w.apply(&q.Entries[i]); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

// checkEntries says what is wrong with writes; all are looked at before one is applied.
func (s *replicaServer) checkEntries(entries []wire.DuplicateEntry) (hint string) {
	own := clusterID(s.net.cluster())
	for _, e := range entries {
		switch {
		case e.Timestamp == nil || e.Code == nil || e.RawMessage == nil || e.ClusterID == nil:
			return "a write is incomplete"
		case int(*e.ClusterID) < 1 || int(*e.ClusterID) > len(siblings()):
			return "request cluster id is unconfigured"
		case int(*e.ClusterID) == own:
			return "self-duplicating"
		}
		m := message{*e.Code, *e.RawMessage}
		if _, err := hashOfMessage(m); err != nil {
			return "unrecognized task code " + m.code
		}
	}
	return ""
}

// foreign applies writes of another cluster to a batch.
type foreign struct {
	r    *replica
	a    *app
	b    *engine.Batch
	now  time.Time
	tags map[string]uint64 // of rows that the batch sets; 0 of those that it deletes
}

func (w *foreign) apply(e *wire.DuplicateEntry) error {
	stats := &w.r.stats
	lag := w.now.Sub(time.UnixMicro(*e.Timestamp))
	stats.add(statDupRequests, 1)
	stats.lag.add(max(lag.Milliseconds(), 0))
	if lag > laggingAfter {
		stats.add(statDupLagging, 1)
	}
	tag := timetagOf(*e.Timestamp, *e.ClusterID, false)
	verify := e.VerifyTimetag != nil && *e.VerifyTimetag
	switch *e.Code {
	case wire.Put.Name:
		var q wire.PutRequest
		if err := wire.Put.DecodeArgs(*e.RawMessage, &q); err != nil {
			return err
		}
		return w.put(tag, verify, q.ExpireTS, q.Value, q.Key)
	case wire.Remove.Name:
		var key []byte
		if err := wire.Remove.DecodeArgs(*e.RawMessage, &key); err != nil {
			return err
		}
		return w.remove(key)
	case wire.MultiPut.Name:
		var q wire.MultiPutRequest
		if err := wire.MultiPut.DecodeArgs(*e.RawMessage, &q); err != nil {
			return err
		}
		for i := range q.Rows {
			if err := w.put(tag, verify, q.ExpireTS, q.Rows[i].Value, fullKey(q.HashKey, q.Rows[i].Key)); err != nil {
				return err
			}
		}
		return nil
	case wire.MultiRemove.Name:
		var q wire.MultiRemoveRequest
		err := wire.MultiRemove.DecodeArgs(*e.RawMessage, &q)
		for i := 0; err == nil && i < len(q.SortKeys); i++ {
			err = w.remove(fullKey(q.HashKey, q.SortKeys[i]))
		}
		return err
	}
	return fmt.Errorf("the write %s cannot be applied", *e.Code)
}

func fullKey(hash, sort []byte) []byte { return append(append(hashKeyLength(hash), hash...), sort...) }

// put sets a row, unless its time is to be looked at and there is one that is as new.
func (w *foreign) put(tag uint64, verify bool, expire int32, value, full []byte) error {
	if verify {
		has, known := w.tags[string(full)]
		if !known {
			old, err := w.r.value(full)
			if err != nil && !errors.Is(err, engine.ErrNotFound) {
				return err
			}
			has = tagOf(old)
		}
		if has >= tag {
			return nil
		}
	}
	w.tags[string(full)] = tag
	return putRow(w.b, w.r.prefix, w.a.expiry(expire, w.now), tag, value, full)
}

func (w *foreign) remove(full []byte) error {
	w.tags[string(full)] = 0
	return w.r.deleteRow(w.b, w.a, full)
}

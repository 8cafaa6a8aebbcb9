package sandbox

import (
	"errors"
	"math"
	"strconv"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// maxWriteBody is the largest body of a write request (Pegasus: max_allowed_write_size).
const maxWriteBody = 1 << 20

// methods are what a replica server answers.
func (s *replicaServer) methods() map[string]method {
	return map[string]method{
		wire.Put.Name:              s.put(),
		wire.Remove.Name:           s.remove(),
		wire.MultiPut.Name:         s.multiPut(),
		wire.MultiRemove.Name:      s.multiRemove(),
		wire.Incr.Name:             s.incr(),
		wire.CheckAndSet.Name:      s.checkAndSet(),
		wire.CheckAndMutate.Name:   s.checkAndMutate(),
		wire.Get.Name:              on(&wire.Get, s.get),
		wire.TTL.Name:              on(&wire.TTL, s.ttl),
		wire.MultiGet.Name:         on(&wire.MultiGet, s.multiGet),
		wire.SortKeyCount.Name:     on(&wire.SortKeyCount, s.sortKeyCount),
		wire.Duplicate.Name:        s.duplicated(),
		wire.GetScanner.Name:       on(&wire.GetScanner, s.getScanner),
		wire.Scan.Name:             on(&wire.Scan, s.scan),
		wire.ClearScanner.Name:     ordered(on(&wire.ClearScanner, s.clearScanner)),
		wire.QueryAppInfo.Name:     on(&wire.QueryAppInfo, s.queryAppInfo),
		wire.QueryReplicaInfo.Name: on(&wire.QueryReplicaInfo, s.queryReplicaInfo),
		wire.QueryDisk.Name:        on(&wire.QueryDisk, s.queryDisk),
		wire.DiskMigrate.Name:      on(&wire.DiskMigrate, s.diskMigrate),
		wire.DetectHotkey.Name:     on(&wire.DetectHotkey, s.detectHotkey),
		wire.CallCommand.Name:      on(&wire.CallCommand, s.callCommand),
		wire.Negotiate.Name:        on(&wire.Negotiate, negotiate),
	}
}

// read finds the replica that a read is for and runs it; the store stays open meanwhile. The one place that every
// read passes, for what a table's envs may forbid.
func (s *replicaServer) read(in *inbound, do func(r *replica, a *app) error) (code string) {
	r, err := s.use(in.req.GPID)
	if err != nil {
		s.stats.readFails.Add(1)
		return wire.CodeObjectNotFound
	}
	defer s.leave()
	a, code := r.readable(in.req.Backup, in.req.PartitionHash)
	if code != "" {
		s.stats.readFails.Add(1)
		return code
	}
	if s.settings.denyClient.Load() {
		return codeSilence
	}
	v := r.limits.reads(a, in)
	r.stats.verdict(v, statReadDelayed, statReadRejected)
	if in.c.l.rest(v.after); v.code != "" {
		return v.code
	}
	r.stats.call(in.req.Name)
	charge := in.charge
	in.charge = func(bytes int) {
		r.stats.add(statReadUnits, units(bytes))
		if charge != nil {
			charge(bytes)
		}
	}
	if err := do(r, a); err != nil {
		s.log("%s of %s on %s: %v", in.req.Name, r.pid, s.address, err)
		s.stats.readFails.Add(1)
		return wire.CodeReplicationFailure
	}
	return ""
}

func (s *replicaServer) get(in *inbound, key *[]byte, out *wire.GetResponse) string {
	return s.read(in, func(r *replica, _ *app) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyRead].captureKey(*key)
		value, err := r.value(*key)
		if errors.Is(err, engine.ErrNotFound) {
			out.Error = wire.StatusNotFound
			return nil
		}
		out.Value = dataOf(value)
		return err
	})
}

func (s *replicaServer) ttl(in *inbound, key *[]byte, out *wire.TTLResponse) string {
	return s.read(in, func(r *replica, _ *app) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyRead].captureKey(*key)
		value, err := r.value(*key)
		if errors.Is(err, engine.ErrNotFound) {
			out.Error = wire.StatusNotFound
			return nil
		}
		out.TTL = -1
		if expire := expireOf(value); expire != 0 {
			out.TTL = int32(int64(uint32(expire)) + wire.Epoch - time.Now().Unix())
		}
		return err
	})
}

// value reads a row that has not expired.
func (r *replica) value(full []byte) ([]byte, error) {
	value, err := r.s.store.Read(r.storeKey(full))
	if err == nil && wire.Expired(expireOf(value), time.Now()) {
		return nil, engine.ErrNotFound
	}
	return value, err
}

func (s *replicaServer) multiGet(in *inbound, q *wire.MultiGetRequest, out *wire.MultiGetResponse) string {
	return s.read(in, func(r *replica, _ *app) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		err := r.multiGet(q, out)
		r.hot[wire.HotkeyRead].capture(q.HashKey, len(out.Rows))
		return err
	})
}

func (s *replicaServer) sortKeyCount(in *inbound, hash *[]byte, out *wire.CountResponse) string {
	return s.read(in, func(r *replica, _ *app) (err error) {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyRead].capture(*hash, 1)
		out.Count, err = r.sortKeyCount(*hash)
		return err
	})
}

func (s *replicaServer) getScanner(in *inbound, q *wire.GetScannerRequest, out *wire.ScanResponse) string {
	in.release = func() { s.reuse(out) }
	return s.read(in, func(r *replica, _ *app) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		return r.getScanner(q, out)
	})
}

func (s *replicaServer) scan(in *inbound, q *wire.ScanRequest, out *wire.ScanResponse) string {
	in.release = func() { s.reuse(out) }
	return s.read(in, func(r *replica, _ *app) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		return r.scan(q.ContextID, out)
	})
}

// reuse takes back the memory of an answer that has been written down.
func (s *replicaServer) reuse(out *wire.ScanResponse) {
	if out.Written != nil {
		s.rows.put(out.Written.Bytes)
	}
}

func (s *replicaServer) clearScanner(in *inbound, id *int64, _ *struct{}) string {
	return s.read(in, func(r *replica, _ *app) error {
		r.clearScan(*id)
		return nil
	})
}

// change makes the method of a write. What prepare answers is applied in the partition's order; a nil apply is
// answered at once. The one place that every write passes, for what a table's envs may forbid.
func change[Q, A any](s *replicaServer, rpc *wire.RPC[Q, A], reads bool,
	prepare func(r *replica, a *app, q *Q, out *A) func(*engine.Batch, int64, time.Time) error,
) method {
	return method{ordered: true, run: func(in *inbound) {
		q, out := new(Q), new(A)
		if err := rpc.DecodeArgs(in.req.Args, q); err != nil {
			in.c.close()
			in.done(nil)
			return
		}
		if in.bodySize() > maxWriteBody {
			in.reject(wire.CodeInvalidData)
			return
		}
		r, a, p, code := s.writable(in.req.GPID, in.req.PartitionHash)
		if code == "" && len(a.Dups) > 0 && !a.AtomicIdempotent && !idempotent(in.req.Name) {
			code = wire.CodeOperationDisabled // no follower would come to the same
			r.stats.add(statDupDisabled, 1)
		}
		if code != "" {
			s.stats.writeFails.Add(1)
			in.reject(code)
			return
		}
		v := r.limits.writes(a, in)
		r.stats.verdict(v, statWriteDelayed, statWriteRejected)
		switch {
		case v.code == codeSilence || s.settings.denyClient.Load():
			in.done(nil)
			return
		case v.code != "":
			in.c.l.later(v.after, func() { in.reject(v.code) })
			return
		case !in.c.l.gate.Writes.Take(1):
			in.reject(wire.CodeBusy)
			return
		}
		r.stats.call(in.req.Name)
		r.stats.add(statWriteUnits, units(in.size))
		w := &write{
			size: in.size, hash: in.req.PartitionHash, reads: reads, apply: prepare(r, a, q, out), sent: message{in.req.Name, in.req.Args},
		}
		w.answer = func(code string) {
			if code != "" {
				s.stats.writeFails.Add(1)
				in.reject(code)
				return
			}
			in.done(rpc.AppendAnswer(nil, in.req, out))
		}
		in.c.l.later(v.after, func() {
			if !p.enqueue(task{write: w}) {
				in.reject(wire.CodeBusy)
			}
		})
	}}
}

func (s *replicaServer) writable(pid wire.GPID, hash uint64) (r *replica, a *app, p *primary, code string) {
	if r = s.replica(pid); r == nil {
		return nil, nil, nil, wire.CodeObjectNotFound
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status != wire.ReplicaPrimary || r.loop == nil || s.alone() {
		return nil, nil, nil, wire.CodeInvalidState
	}
	if r.ingesting {
		return nil, nil, nil, wire.CodeOperationDisabled
	}
	return r, r.app, r.loop, r.misplaced(hash)
}

// expiry is when a row written now with that field is gone: a table may have a default TTL.
func (a *app) expiry(given int32, now time.Time) int32 {
	if given != 0 {
		return given
	}
	ttl, err := strconv.ParseInt(a.Envs[envDefaultTTL], 10, 32)
	if err != nil || ttl <= 0 {
		return 0
	}
	return int32(now.Unix() - wire.Epoch + ttl)
}

func (s *replicaServer) put() method {
	return change(s, &wire.Put, false, func(r *replica, a *app, q *wire.PutRequest, out *wire.UpdateResponse) func(*engine.Batch, int64, time.Time) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyWrite].captureKey(q.Key)
		return func(b *engine.Batch, decree int64, now time.Time) error {
			out.Decree = decree
			return putRow(b, r.prefix, a.expiry(q.ExpireTS, now), r.timetag(now), q.Value, q.Key)
		}
	})
}

func (s *replicaServer) remove() method {
	return change(s, &wire.Remove, false, func(r *replica, a *app, key *[]byte, out *wire.UpdateResponse) func(*engine.Batch, int64, time.Time) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyWrite].captureKey(*key)
		return func(b *engine.Batch, decree int64, _ time.Time) error {
			out.Decree = decree
			return r.deleteRow(b, a, *key)
		}
	})
}

func (s *replicaServer) multiPut() method {
	return change(s, &wire.MultiPut, false, func(r *replica, a *app, q *wire.MultiPutRequest, out *wire.UpdateResponse) func(*engine.Batch, int64, time.Time) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyWrite].capture(q.HashKey, len(q.Rows))
		if len(q.Rows) == 0 || len(q.HashKey) > wire.MaxHashKey {
			out.Error = wire.StatusInvalidArgument
		}
		return func(b *engine.Batch, decree int64, now time.Time) error {
			if out.Decree = decree; out.Error != 0 {
				return nil
			}
			expire, tag, head := a.expiry(q.ExpireTS, now), r.timetag(now), hashKeyLength(q.HashKey)
			for i := range q.Rows {
				if err := putRow(b, r.prefix, expire, tag, q.Rows[i].Value, head, q.HashKey, q.Rows[i].Key); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

func (s *replicaServer) multiRemove() method {
	return change(s, &wire.MultiRemove, false, func(r *replica, a *app, q *wire.MultiRemoveRequest, out *wire.MultiRemoveResponse) func(*engine.Batch, int64, time.Time) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyWrite].capture(q.HashKey, len(q.SortKeys))
		if len(q.SortKeys) == 0 || len(q.HashKey) > wire.MaxHashKey {
			out.Error = wire.StatusInvalidArgument
		}
		return func(b *engine.Batch, decree int64, _ time.Time) error {
			if out.Decree = decree; out.Error != 0 {
				return nil
			}
			head := hashKeyLength(q.HashKey)
			for _, sort := range q.SortKeys {
				if err := r.deleteRow(b, a, head, q.HashKey, sort); err != nil {
					return err
				}
			}
			out.Count = int64(len(q.SortKeys)) // Pegasus counts keys, whether they were there or not
			return nil
		}
	})
}

func (s *replicaServer) incr() method {
	return change(s, &wire.Incr, true, func(r *replica, a *app, q *wire.IncrRequest, out *wire.IncrResponse) func(*engine.Batch, int64, time.Time) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyRead].captureKey(q.Key)
		r.hot[wire.HotkeyWrite].captureKey(q.Key)
		return func(b *engine.Batch, decree int64, now time.Time) error {
			out.Decree = decree
			expire, err := r.increment(q, out)
			if err != nil || out.Error != 0 {
				return err
			}
			data := strconv.AppendInt(nil, out.NewValue, 10)
			return putRow(b, r.prefix, a.expiry(expire, now), r.timetag(now), data, q.Key)
		}
	})
}

// increment computes the new value and expiry. A row that is not there counts as 0, as does an empty one.
func (r *replica) increment(q *wire.IncrRequest, out *wire.IncrResponse) (expire int32, err error) {
	value, err := r.value(q.Key)
	if err != nil {
		if !errors.Is(err, engine.ErrNotFound) {
			return 0, err
		}
		out.NewValue = q.Increment
		return max(q.ExpireTS, 0), nil
	}
	old := int64(0)
	if data := dataOf(value); len(data) > 0 {
		var ok bool
		if old, ok = parseInt(data); !ok {
			out.Error = wire.StatusInvalidArgument
			return 0, nil
		}
	}
	if q.Increment > 0 && old > math.MaxInt64-q.Increment || q.Increment < 0 && old < math.MinInt64-q.Increment {
		out.Error, out.NewValue = wire.StatusInvalidArgument, old
		return 0, nil
	}
	out.NewValue = old + q.Increment
	switch {
	case q.ExpireTS == 0:
		return expireOf(value), nil
	case q.ExpireTS < 0:
		return 0, nil
	}
	return q.ExpireTS, nil
}

func (s *replicaServer) queryReplicaInfo(_ *inbound, _ *wire.QueryNodeRequest, out *wire.QueryReplicaInfoResponse) string {
	out.Err, out.Replicas = wire.OK, []wire.ReplicaInfo{}
	for _, r := range s.all() {
		state := r.report()
		out.Replicas = append(out.Replicas, wire.ReplicaInfo{
			PID: r.pid, Ballot: max(state.Ballot, state.At.Ballot), Status: state.Status, AppType: appType, DiskTag: s.disks.tag(r.pid),
			LastCommitted: state.At.Decree, LastPrepared: state.At.Decree, LastDurable: state.At.Decree,
			ManualCompact: new(int32(state.Compact)),
		})
	}
	return ""
}

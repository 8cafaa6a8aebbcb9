package sandbox

import (
	"bytes"
	"encoding/binary"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// Limits of one range read, as Pegasus's server has them.
const (
	maxScanRows      = 1000
	maxMultiGetRows  = 3000
	maxMultiGetBytes = 30 << 20
	maxReadTime      = 30 * time.Second
	scanLife         = 5 * time.Minute / timers // of a context nobody comes back for (5 min in Pegasus)
)

// scanContext is an open scan: an iterator, which is a view of the partition at the moment the scan was opened, and
// what the scan was opened with.
type scanContext struct {
	iter    *engine.Iterator // stands on the next row
	stop    []byte           // a store key
	opts    wire.GetScannerRequest
	batch   int
	expires time.Time
}

// getScanner opens a scan and reads its first batch.
func (r *replica) getScanner(q *wire.GetScannerRequest, out *wire.ScanResponse) error {
	if badFilter(q.HashKeyFilter) || badFilter(q.SortKeyFilter) {
		out.Error = wire.StatusInvalidArgument
		return nil
	}
	start, inclusive := q.StartKey, q.StartInclusive
	if q.HashKeyFilter == wire.FilterPrefix && len(q.HashKeyPattern) > 0 {
		// Keys are ordered by the length of the hash key first, so a prefix bounds only the start.
		if first := append(hashKeyLength(q.HashKeyPattern), q.HashKeyPattern...); bytes.Compare(first, start) > 0 {
			start, inclusive = first, true
		}
	}
	if emptyRange(start, q.StopKey, inclusive, q.StopInclusive) {
		return nil // Pegasus leaves the context at 0 here, although there is none
	}
	iter, err := r.s.store.Iterate(r.prefix, r.end)
	if err != nil {
		return err
	}
	from := r.storeKey(start)
	iter.SeekGE(from)
	if !inclusive && iter.Valid() && bytes.Equal(iter.Key(), from) {
		iter.Next()
	}
	c := &scanContext{iter: iter, stop: r.storeKey(q.StopKey), opts: *q, batch: maxScanRows}
	if q.BatchSize > 0 && q.BatchSize < maxScanRows {
		c.batch = int(q.BatchSize)
	}
	c.opts.HashKeyPattern, c.opts.SortKeyPattern = bytes.Clone(q.HashKeyPattern), bytes.Clone(q.SortKeyPattern)
	// The first batch may look at more rows than it may return; the later ones may not.
	return r.scanBatch(c, maxScanRows, out)
}

// scan continues a scan.
func (r *replica) scan(id int64, out *wire.ScanResponse) error {
	c := r.takeScan(id)
	if c == nil {
		out.Error = wire.StatusNotFound
		return nil
	}
	return r.scanBatch(c, c.batch, out)
}

// scanBatch reads rows until one of the limits, and keeps the context when there is more.
func (r *replica) scanBatch(c *scanContext, maxSeen int, out *wire.ScanResponse) error {
	now := time.Now()
	r.mu.Lock()
	check := r.hashCheck(c.opts.ValidatePartitionHash == nil || *c.opts.ValidatePartitionHash)
	r.mu.Unlock()
	counting, expiry := isTrue(c.opts.OnlyReturnCount), isTrue(c.opts.ReturnExpireTS)
	out.Written = &wire.RowBuffer{Bytes: r.s.rows.get()}
	count, complete, late := int32(0), false, false
	for seen := 0; int(count) < c.batch && seen < maxSeen && c.iter.Valid(); seen++ {
		past := bytes.Compare(c.iter.Key(), c.stop)
		if past > 0 || past == 0 && !c.opts.StopInclusive {
			complete = true
			break
		}
		if late = seen%128 == 127 && time.Since(now) > maxReadTime; late {
			break
		}
		key, value := c.iter.Key()[prefixSize:], c.iter.Value()
		if !wire.Expired(expireOf(value), now) && check(key) && c.matches(key) {
			count++
			if !counting {
				c.add(out.Written, key, value, expiry)
			}
		}
		if past == 0 {
			complete = true
			break
		}
		c.iter.Next()
	}
	if counting {
		out.Count = &count
	}
	if err := c.iter.Error(); err != nil {
		_ = c.iter.Close()
		return err
	}
	switch {
	case late:
		out.Error = wire.StatusIncomplete
	case c.iter.Valid() && !complete:
		out.ContextID = r.keepScan(c)
		return nil
	default:
		out.ContextID = wire.ScanComplete
	}
	return c.iter.Close()
}

// add adds a row of the store to an answer.
func (c *scanContext) add(rows *wire.RowBuffer, key, value []byte, expiry bool) {
	var data []byte
	if !c.opts.NoValue {
		data = dataOf(value)
	}
	expire := int32(0)
	if expiry {
		expire = expireOf(value)
	}
	rows.Add(key, data, expire)
}

func (c *scanContext) matches(key []byte) bool {
	if c.opts.HashKeyFilter == wire.FilterNone && c.opts.SortKeyFilter == wire.FilterNone {
		return true
	}
	hash, sort, err := wire.DecodeKey(key)
	return err == nil && matches(c.opts.HashKeyFilter, c.opts.HashKeyPattern, hash) &&
		matches(c.opts.SortKeyFilter, c.opts.SortKeyPattern, sort)
}

// hashCheck answers which rows belong to the partition: all of them, unless the table's env says that rows left over
// from a split are to be told apart and the request wants that too. r.mu is held.
func (r *replica) hashCheck(wanted bool) func(key []byte) bool {
	if !wanted || r.app.Envs[envValidateHash] != "true" || r.group.Count <= 0 {
		return func([]byte) bool { return true }
	}
	version := uint64(r.group.Count - 1)
	return func(key []byte) bool {
		hash, sort, err := wire.DecodeKey(key)
		return err == nil && wire.Hash(hash, sort)&version == uint64(r.pid.Partition)
	}
}

// keepScan keeps a context under a new id; -2 when the replica has just stopped being the primary.
func (r *replica) keepScan(c *scanContext) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status != wire.ReplicaPrimary {
		_ = c.iter.Close()
		return wire.ScanNotExist
	}
	id := r.s.scanIDs.Add(1)
	c.expires = time.Now().Add(scanLife)
	r.scans[id] = c
	return id
}

func (r *replica) takeScan(id int64) *scanContext {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scans[id]
	delete(r.scans, id)
	return c
}

func (r *replica) clearScan(id int64) {
	if c := r.takeScan(id); c != nil {
		_ = c.iter.Close()
	}
}

// closeScans closes all contexts; r.mu is held.
func (r *replica) closeScans() {
	for id, c := range r.scans {
		_ = c.iter.Close()
		delete(r.scans, id)
	}
}

func (r *replica) dropScans() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeScans()
}

// sweepScans closes the contexts that nobody came back for.
func (s *replicaServer) sweepScans() {
	tick := time.NewTicker(scanLife / 15)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-tick.C:
			s.disks.sweep()
			for _, r := range s.all() {
				r.expireScans(now)
			}
		}
	}
}

func (r *replica) expireScans(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, c := range r.scans {
		if now.After(c.expires) {
			_ = c.iter.Close()
			delete(r.scans, id)
		}
	}
}

// storeKey is the key under which a row of the partition is stored.
func (r *replica) storeKey(full []byte) []byte {
	return append(append(make([]byte, 0, len(r.prefix)+len(full)), r.prefix...), full...)
}

func emptyRange(start, stop []byte, startInclusive, stopInclusive bool) bool {
	c := bytes.Compare(start, stop)
	return c > 0 || c == 0 && (!startInclusive || !stopInclusive)
}

func badFilter(f wire.FilterType) bool { return f < wire.FilterNone || f > wire.FilterPostfix }

func matches(f wire.FilterType, pattern, value []byte) bool {
	switch {
	case f == wire.FilterNone || len(pattern) == 0:
		return true
	case f == wire.FilterAnywhere:
		return bytes.Contains(value, pattern)
	case f == wire.FilterPrefix:
		return bytes.HasPrefix(value, pattern)
	}
	return bytes.HasSuffix(value, pattern)
}

func isTrue(b *bool) bool { return b != nil && *b }

// arena keeps copies of rows in few allocations.
type arena struct{ free []byte }

const arenaChunk = 32 << 10

func (a *arena) copy(b []byte) []byte {
	if len(b) > len(a.free) {
		a.free = make([]byte, max(arenaChunk, len(b)))
	}
	c := a.free[:len(b):len(b)]
	a.free = a.free[len(b):]
	copy(c, b)
	return c
}

func (a *arena) row(key, value []byte, noValue, expiry bool) wire.KeyValue {
	kv := wire.KeyValue{Key: a.copy(key)}
	if !noValue {
		kv.Value = a.copy(dataOf(value))
	}
	if expiry {
		kv.ExpireTS = expireOf(value)
	}
	return kv
}

// multiGet reads some or all rows of a hash key.
func (r *replica) multiGet(q *wire.MultiGetRequest, out *wire.MultiGetResponse) error {
	if badFilter(q.SortKeyFilter) {
		out.Error = wire.StatusInvalidArgument
		return nil
	}
	if len(q.HashKey) > wire.MaxHashKey {
		out.Error = wire.StatusInvalidArgument
		return nil
	}
	limit := readLimit{rows: maxMultiGetRows, bytes: maxMultiGetBytes, started: time.Now()}
	if q.MaxSize > 0 && int(q.MaxSize) < limit.bytes {
		limit.bytes = int(q.MaxSize)
	}
	most := maxMultiGetRows
	if q.MaxCount > 0 && int(q.MaxCount) < most {
		most = int(q.MaxCount)
	}
	if len(q.SortKeys) > 0 {
		return r.multiGetKeys(q, most, limit, out)
	}
	return r.multiGetRange(q, most, limit, out)
}

// readLimit counts what a range read has looked at and collected.
type readLimit struct {
	rows, bytes int
	started     time.Time
	seen        int
}

func (l *readLimit) reached() bool {
	return l.seen >= l.rows || l.bytes <= 0 || l.seen%128 == 127 && time.Since(l.started) > maxReadTime
}

func (r *replica) multiGetKeys(q *wire.MultiGetRequest, most int, limit readLimit, out *wire.MultiGetResponse) error {
	var rows arena
	for _, sort := range q.SortKeys {
		if len(out.Rows) >= most || limit.reached() {
			out.Error = wire.StatusIncomplete
			return nil
		}
		limit.seen++
		value, closer, err := r.s.store.Get(r.fullKey(q.HashKey, sort))
		if err == engine.ErrNotFound {
			continue
		}
		if err != nil {
			return err
		}
		if !wire.Expired(expireOf(value), limit.started) {
			kv := rows.row(sort, value, q.NoValue, false)
			limit.bytes -= len(kv.Key) + len(kv.Value)
			out.Rows = append(out.Rows, kv)
		}
		if err := closer.Close(); err != nil {
			return err
		}
	}
	return nil
}

// fullKey is the store key of a row given by hash and sort key.
func (r *replica) fullKey(hash, sort []byte) []byte {
	key := make([]byte, 0, len(r.prefix)+2+len(hash)+len(sort))
	key = binary.BigEndian.AppendUint16(append(key, r.prefix...), uint16(len(hash)))
	return append(append(key, hash...), sort...)
}

func (r *replica) multiGetRange(q *wire.MultiGetRequest, most int, limit readLimit, out *wire.MultiGetResponse) error {
	start, stop := r.fullKey(q.HashKey, q.StartSortKey), r.fullKey(q.HashKey, q.StopSortKey)
	startIn, stopIn := q.StartInclusive, q.StopInclusive
	if len(q.StopSortKey) == 0 {
		stop, stopIn = engine.After(r.fullKey(q.HashKey, nil)), false
	}
	if q.SortKeyFilter == wire.FilterPrefix && len(q.SortKeyPattern) > 0 {
		first := r.fullKey(q.HashKey, q.SortKeyPattern)
		if bytes.Compare(first, start) > 0 {
			start, startIn = first, true
		}
		if last := engine.After(first); bytes.Compare(last, stop) <= 0 {
			stop, stopIn = last, false
		}
	}
	if emptyRange(start, stop, startIn, stopIn) {
		return nil
	}
	if !startIn {
		start = append(start, 0)
	}
	if stopIn {
		stop = append(stop, 0)
	}
	iter, err := r.s.store.Iterate(start, stop)
	if err != nil {
		return err
	}
	ok, step := iter.First(), iter.Next
	if q.Reverse {
		ok, step = iter.Last(), iter.Prev
	}
	var rows arena
	head := prefixSize + 2 + len(q.HashKey)
	for ; ok; ok = step() {
		if len(out.Rows) >= most || limit.reached() {
			out.Error = wire.StatusIncomplete
			break
		}
		limit.seen++
		sort, value := iter.Key()[head:], iter.Value()
		if wire.Expired(expireOf(value), limit.started) || !matches(q.SortKeyFilter, q.SortKeyPattern, sort) {
			continue
		}
		kv := rows.row(sort, value, q.NoValue, false)
		limit.bytes -= len(kv.Key) + len(kv.Value)
		out.Rows = append(out.Rows, kv)
	}
	if q.Reverse { // rows are answered in key order either way
		for i, j := 0, len(out.Rows)-1; i < j; i, j = i+1, j-1 {
			out.Rows[i], out.Rows[j] = out.Rows[j], out.Rows[i]
		}
	}
	if err := iter.Error(); err != nil {
		_ = iter.Close()
		return err
	}
	return iter.Close()
}

// sortKeyCount counts the rows of a hash key.
func (r *replica) sortKeyCount(hash []byte) (int64, error) {
	start := r.fullKey(hash, nil)
	iter, err := r.s.store.Iterate(start, engine.After(start))
	if err != nil {
		return 0, err
	}
	now, count := time.Now(), int64(0)
	for ok := iter.First(); ok; ok = iter.Next() {
		if !wire.Expired(expireOf(iter.Value()), now) {
			count++
		}
	}
	if err := iter.Error(); err != nil {
		_ = iter.Close()
		return 0, err
	}
	return count, iter.Close()
}

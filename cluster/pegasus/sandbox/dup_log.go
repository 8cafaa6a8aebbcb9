package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// The log of a partition of a table that is duplicated: what clients wrote, by decree. It is part of the mutations, so
// every member of the group has it and any of them can go on shipping; what all followers have is cut off with the next
// mutation. A table that is not duplicated has none.
//
// An entry is timestamp_us(8), then for each message that is to be shipped code_length(2) code args_length(4) args. A
// write that is not shipped, such as one that came from another cluster, has none: decrees have no gaps.

func logPrefix(pid wire.GPID) []byte { return tagged('l', pid) }

func logKey(pid wire.GPID, decree int64) []byte {
	return binary.BigEndian.AppendUint64(logPrefix(pid), uint64(decree))
}

// message is a write as its client sent it.
type message struct {
	code string
	args []byte
}

func appendMessage(entry []byte, m message) []byte {
	entry = append(binary.BigEndian.AppendUint16(entry, uint16(len(m.code))), m.code...)
	return append(binary.BigEndian.AppendUint32(entry, uint32(len(m.args))), m.args...)
}

// errLog is a log that does not have what it should.
var errLog = errors.New("the log is damaged")

// parseEntry reads an entry; what it answers aliases it.
func parseEntry(entry []byte) (stamp int64, messages []message, err error) {
	if len(entry) < 8 {
		return 0, nil, errLog
	}
	stamp = int64(binary.BigEndian.Uint64(entry))
	for rest := entry[8:]; len(rest) > 0; {
		if len(rest) < 2 {
			return 0, nil, errLog
		}
		n := int(binary.BigEndian.Uint16(rest))
		if rest = rest[2:]; len(rest) < n+4 {
			return 0, nil, errLog
		}
		m := message{code: string(rest[:n])}
		size := int64(binary.BigEndian.Uint32(rest[n:]))
		if rest = rest[n+4:]; int64(len(rest)) < size {
			return 0, nil, errLog
		}
		m.args, rest = rest[:size], rest[size:]
		messages = append(messages, m)
	}
	return stamp, messages, nil
}

// logged says whether writes have to be kept for followers, and up to which decree all of these have them; r.mu is held.
func (r *replica) logged() (yes bool, confirmed int64) {
	if len(r.app.Dups) == 0 {
		return false, 0
	}
	confirmed = -1
	for i, d := range r.app.Dups {
		has, known := r.confirmed[d.ID]
		if !known {
			return true, -1
		}
		if i == 0 || has < confirmed {
			confirmed = has
		}
	}
	return true, confirmed
}

// logWrite adds the entry of a write that has just been applied to the batch; first is how many changes the batch had
// before. A conditional write is shipped as what it came to.
func logWrite(b *engine.Batch, r *replica, w *write, first uint32, decree int64, now time.Time) error {
	entry := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMicro()))
	switch {
	case w.sent.code == wire.Duplicate.Name || w.sent.code == "":
	case idempotent(w.sent.code):
		entry = appendMessage(entry, w.sent)
	default:
		var err error
		if entry, err = appendEffects(entry, b, r.prefix, first); err != nil {
			return err
		}
	}
	return b.Set(logKey(r.pid, decree), entry, nil)
}

// idempotent says whether a write comes to the same on another cluster.
func idempotent(code string) bool {
	switch code {
	case wire.Incr.Name, wire.CheckAndSet.Name, wire.CheckAndMutate.Name:
		return false
	}
	return true
}

// appendEffects adds the rows that the last changes of a batch set and delete, as puts and removals.
func appendEffects(entry []byte, b *engine.Batch, prefix []byte, first uint32) ([]byte, error) {
	reader := b.Reader()
	for i := uint32(0); ; i++ {
		kind, key, value, ok, err := reader.Next()
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return entry, nil
		case i < first || !bytes.HasPrefix(key, prefix): // what is kept of a deletion is no change of a row
			continue
		}
		full := key[len(prefix):]
		if kind == engine.KindDelete {
			entry = appendMessage(entry, message{wire.Remove.Name, wire.Remove.AppendArgs(nil, &full)})
			continue
		}
		q := wire.PutRequest{Key: full, Value: dataOf(value), ExpireTS: expireOf(value)}
		entry = appendMessage(entry, message{wire.Put.Name, wire.Put.AppendArgs(nil, &q)})
	}
}

// trimLog cuts off what all followers have.
func trimLog(b *engine.Batch, pid wire.GPID, confirmed int64) error {
	if confirmed < 0 {
		return nil
	}
	return b.DeleteRange(logPrefix(pid), logKey(pid, confirmed+1), nil)
}

// dropLog deletes the log of a table that is not duplicated any more; the replica is of no use for shipping. Every
// member does so by itself, when it hears.
func (r *replica) dropLog() {
	if !r.s.enter() {
		return
	}
	defer r.s.leave()
	r.mu.Lock()
	if len(r.app.Dups) > 0 { // again
		r.mu.Unlock()
		return
	}
	prefix := logPrefix(r.pid)
	b := r.s.store.NewBatch()
	err := b.DeleteRange(prefix, engine.After(prefix), nil)
	var pending engine.Pending
	if err == nil {
		pending, err = r.s.store.ApplyAsync(b)
	}
	r.mu.Unlock()
	if err == nil {
		err = pending.Wait()
	}
	if err != nil {
		r.s.log("drop the log of %s on %s: %v", r.pid, r.s.address, err)
	}
}

// piece is what is read of a log at once.
type piece struct {
	entries []wire.DuplicateEntry
	hash    uint64 // of the last entry
	last    int64  // its decree
	bytes   int
	count   int64 // of decrees
}

// shipBytes is how much of a log goes into a request (Pegasus: duplicate_log_batch_bytes).
const shipBytes = 4096

// readLog reads what follows on a decree; nothing when there is nothing yet. The store is in use.
func (r *replica) readLog(after int64) (piece, error) {
	r.mu.Lock()
	at := r.at
	r.mu.Unlock()
	p := piece{last: after}
	if at.Decree <= after {
		return p, nil
	}
	prefix := logPrefix(r.pid)
	iter, err := r.s.store.Iterate(logKey(r.pid, after+1), engine.After(prefix))
	if err != nil {
		return p, err
	}
	for ok := iter.First(); ok && err == nil && p.bytes < shipBytes; ok = iter.Next() {
		err = r.readEntry(&p, iter.Key(), iter.Value())
	}
	if err = errors.Join(err, iter.Error(), iter.Close()); err != nil {
		return p, err
	}
	if p.count == 0 {
		return p, fmt.Errorf("%w: it has nothing after decree %d, of %d", errLog, after, at.Decree)
	}
	return p, nil
}

func (r *replica) readEntry(p *piece, key, value []byte) error {
	if len(key) != prefixSize+8 {
		return errLog
	}
	decree := int64(binary.BigEndian.Uint64(key[prefixSize:]))
	if decree != p.last+1 {
		return fmt.Errorf("%w: decree %d is missing", errLog, p.last+1)
	}
	stamp, messages, err := parseEntry(append([]byte(nil), value...))
	if err != nil {
		return fmt.Errorf("%w: decree %d", err, decree)
	}
	own := int8(clusterID(r.s.net.cluster()))
	for _, m := range messages {
		hash, err := hashOfMessage(m)
		if err != nil {
			return fmt.Errorf("%w: decree %d: %w", errLog, decree, err)
		}
		p.entries = append(p.entries, wire.DuplicateEntry{Timestamp: &stamp, Code: &m.code, RawMessage: &m.args, ClusterID: &own})
		p.hash = hash
		p.bytes += len(m.args)
	}
	p.last = decree
	p.count++
	return nil
}

// hashOfMessage is the hash of the hash key that a write is for.
func hashOfMessage(m message) (uint64, error) {
	switch m.code {
	case wire.Put.Name:
		var q wire.PutRequest
		err := wire.Put.DecodeArgs(m.args, &q)
		return hashOfKey(q.Key, err)
	case wire.Remove.Name:
		var key []byte
		err := wire.Remove.DecodeArgs(m.args, &key)
		return hashOfKey(key, err)
	case wire.MultiPut.Name:
		var q wire.MultiPutRequest
		err := wire.MultiPut.DecodeArgs(m.args, &q)
		return wire.Hash(q.HashKey, nil), err
	case wire.MultiRemove.Name:
		var q wire.MultiRemoveRequest
		err := wire.MultiRemove.DecodeArgs(m.args, &q)
		return wire.Hash(q.HashKey, nil), err
	}
	return 0, fmt.Errorf("%q is no write that is shipped", m.code)
}

func hashOfKey(full []byte, err error) (uint64, error) {
	if err != nil {
		return 0, err
	}
	hash, sort, err := wire.DecodeKey(full)
	return wire.Hash(hash, sort), err
}

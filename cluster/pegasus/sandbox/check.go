package sandbox

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// The conditional writes. Like every write that looks at rows they run with all writes before them in the store, and
// what they change goes to the secondaries as plain rows of one mutation: a check is made once, by the primary.

func (s *replicaServer) checkAndSet() method {
	return change(s, &wire.CheckAndSet, true, func(r *replica, a *app, q *wire.CheckAndSetRequest, out *wire.CheckResponse) func(*engine.Batch, int64, time.Time) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyRead].capture(q.HashKey, 1)
		r.hot[wire.HotkeyWrite].capture(q.HashKey, 1)
		return func(b *engine.Batch, decree int64, now time.Time) error {
			out.Decree = decree
			c := check{q.HashKey, q.CheckSortKey, q.CheckOperand, q.CheckType, q.ReturnCheckValue}
			if err := r.check(c, out); err != nil || out.Error != 0 {
				return err
			}
			sort := q.CheckSortKey
			if q.SetDiffSortKey {
				sort = q.SetSortKey
			}
			return putRow(b, r.prefix, a.expiry(q.ExpireTS, now), r.timetag(now), q.SetValue, hashKeyLength(q.HashKey), q.HashKey, sort)
		}
	})
}

func (s *replicaServer) checkAndMutate() method {
	return change(s, &wire.CheckAndMutate, true, func(r *replica, a *app, q *wire.CheckAndMutateRequest, out *wire.CheckResponse) func(*engine.Batch, int64, time.Time) error {
		out.AppID, out.Partition, out.Server = r.pid.App, r.pid.Partition, s.address
		r.hot[wire.HotkeyRead].capture(q.HashKey, 1)
		r.hot[wire.HotkeyWrite].capture(q.HashKey, len(q.Mutations))
		return func(b *engine.Batch, decree int64, now time.Time) error {
			out.Decree = decree
			if !validMutations(q.Mutations) {
				out.Error = wire.StatusInvalidArgument
				return nil
			}
			c := check{q.HashKey, q.CheckSortKey, q.CheckOperand, q.CheckType, q.ReturnCheckValue}
			if err := r.check(c, out); err != nil || out.Error != 0 {
				return err
			}
			tag, head := r.timetag(now), hashKeyLength(q.HashKey)
			for i := range q.Mutations {
				m := &q.Mutations[i]
				var err error
				if m.Operation == wire.MutatePut {
					err = putRow(b, r.prefix, a.expiry(m.ExpireTS, now), tag, m.Value, head, q.HashKey, m.SortKey)
				} else {
					err = r.deleteRow(b, a, head, q.HashKey, m.SortKey)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}
	})
}

func validMutations(list []wire.Mutation) bool {
	for _, m := range list {
		if m.Operation != wire.MutatePut && m.Operation != wire.MutateDelete {
			return false
		}
	}
	return len(list) > 0
}

// check is the condition of a write.
type check struct {
	hash, sort, operand []byte
	kind                wire.CheckType
	wanted              bool // the value that was looked at is answered
}

// check looks at a row and leaves in out what it found; the write is to be made when out.Error stays 0.
func (r *replica) check(c check, out *wire.CheckResponse) error {
	if c.kind < wire.CheckNone || c.kind > wire.CheckIntGreater || len(c.hash) > wire.MaxHashKey {
		out.Error = wire.StatusInvalidArgument
		return nil
	}
	value, err := r.value(append(append(hashKeyLength(c.hash), c.hash...), c.sort...))
	exist := err == nil
	if !exist && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	var data []byte
	if exist {
		data = dataOf(value)
	}
	if c.wanted {
		out.CheckValueReturned, out.CheckValueExist, out.CheckValue = true, exist, data
	}
	switch passed, valid := c.passes(data, exist); {
	case !valid:
		out.Error = wire.StatusInvalidArgument
	case !passed:
		out.Error = wire.StatusTryAgain
	}
	return nil
}

// passes compares; valid is false when integers were to be compared and one of the two is none.
func (c check) passes(value []byte, exist bool) (passed, valid bool) {
	switch {
	case c.kind == wire.CheckNone:
		return true, true
	case c.kind == wire.CheckNotExist:
		return !exist, true
	case c.kind == wire.CheckNotExistOrEmpty:
		return len(value) == 0, true
	case !exist:
		return false, true
	case c.kind == wire.CheckExist:
		return true, true
	case c.kind == wire.CheckNotEmpty:
		return len(value) > 0, true
	case c.kind == wire.CheckAnywhere:
		return bytes.Contains(value, c.operand), true
	case c.kind == wire.CheckPrefix:
		return bytes.HasPrefix(value, c.operand), true
	case c.kind == wire.CheckPostfix:
		return bytes.HasSuffix(value, c.operand), true
	case c.kind <= wire.CheckBytesGreater:
		return compares(c.kind-wire.CheckBytesLess, bytes.Compare(value, c.operand)), true
	}
	have, ok1 := parseInt(value)
	want, ok2 := parseInt(c.operand)
	if !ok1 || !ok2 {
		return false, false
	}
	order := 0
	switch {
	case have < want:
		order = -1
	case have > want:
		order = 1
	}
	return compares(c.kind-wire.CheckIntLess, order), true
}

// compares tells whether an order satisfies the comparison: 0 to 4 are <, <=, ==, >= and >.
func compares(comparison wire.CheckType, order int) bool {
	switch comparison {
	case 0:
		return order < 0
	case 1:
		return order <= 0
	case 2:
		return order == 0
	case 3:
		return order >= 0
	}
	return order > 0
}

// parseInt reads a value as Pegasus does, by C's strtoll in base 0 over the whole of it: spaces and a sign may stand
// before the digits, 0x makes them hexadecimal and 0 octal.
func parseInt(value []byte) (int64, bool) {
	text := strings.TrimLeft(string(value), " \t\n\v\f\r")
	sign := ""
	if text != "" && (text[0] == '-' || text[0] == '+') {
		sign, text = text[:1], text[1:]
	}
	base := 10
	switch {
	case len(text) > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'):
		base, text = 16, text[2:]
	case len(text) > 1 && text[0] == '0':
		base, text = 8, text[1:]
	}
	if text == "" || text[0] == '-' || text[0] == '+' {
		return 0, false
	}
	n, err := strconv.ParseInt(sign+text, base, 64)
	return n, err == nil
}

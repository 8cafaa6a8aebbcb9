package pegasus

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// What we ask for at a time when rows of one hash key are read: less than servers cap an answer at (3000 rows or 30 MiB),
// so that no answer is large.
const (
	pageRows  = 1000
	pageBytes = 4 << 20
)

// SortValue is a row under a hash key that is given beside it.
type SortValue struct{ Sort, Value []byte }

// MultiSet writes rows under one hash key, all of them or none, with one time to live (0 leaves it to the table). All
// of it must fit a write (1 MiB by default).
func (d *Driver) MultiSet(ctx context.Context, table string, hash []byte, rows []SortValue, ttl time.Duration) (Ack, error) {
	op := "set rows of " + table
	if err := checkHash(op, hash); err != nil {
		return Ack{}, err
	}
	expires, err := wire.ExpireTS(time.Now(), ttl)
	if err != nil {
		return Ack{}, &spec.Error{Kind: spec.Usage, Op: op, Err: err}
	}
	list := d.lists.get()
	defer d.lists.put(list)
	for _, r := range rows {
		*list = append(*list, wire.KeyValue{Key: r.Sort, Value: r.Value})
	}
	args := wire.MultiPutRequest{HashKey: hash, Rows: *list, ExpireTS: expires}
	h := wire.Hash(hash, nil)
	var a wire.UpdateResponse
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.MultiPut, &args, &a); err != nil {
		return Ack{}, err
	}
	return updateAck(&a), statusError(op, a.Server, a.Error)
}

// lists keeps the memory of the rows of one request for the next.
type lists struct{ pool sync.Pool }

// longestList bounds what is kept.
const longestList = 1 << 12

func (l *lists) get() *[]wire.KeyValue {
	if list, ok := l.pool.Get().(*[]wire.KeyValue); ok {
		return list
	}
	return new([]wire.KeyValue)
}

func (l *lists) put(list *[]wire.KeyValue) {
	if cap(*list) <= longestList {
		clear(*list) // the rows are not kept
		*list = (*list)[:0]
		l.pool.Put(list)
	}
}

func checkHash(op string, hash []byte) error {
	if len(hash) == 0 || len(hash) > wire.MaxHashKey {
		return &spec.Error{Kind: spec.Usage, Op: op, Err: errors.New("the hash key must have 1 to 65534 bytes")}
	}
	return nil
}

// MultiGet reads the rows of some sort keys under one hash key, in the order of the keys. Rows that are not there are
// left out.
func (d *Driver) MultiGet(ctx context.Context, table string, hash []byte, sorts [][]byte) ([]SortValue, Ack, error) {
	op := "get rows of " + table
	if err := checkHash(op, hash); err != nil {
		return nil, Ack{}, err
	}
	left := distinct(sorts)
	if len(left) == 0 {
		return nil, Ack{}, &spec.Error{Kind: spec.Usage, Op: op, Err: errors.New("no sort key is named")}
	}
	var rows []SortValue
	for {
		args := wire.MultiGetRequest{HashKey: hash, SortKeys: left, MaxCount: pageRows, MaxSize: pageBytes}
		a, ack, err := d.multiGet(ctx, op, table, &args)
		if err != nil {
			return rows, ack, err
		}
		position := make(map[string]int, len(left))
		for i, sort := range left {
			position[string(sort)] = i
		}
		through := -1
		for _, kv := range a.Rows {
			i, asked := position[string(kv.Key)]
			if !asked || i <= through {
				return rows, ack, malformed(op, a.Server, "a row that was not asked for")
			}
			through = i
			rows = append(rows, SortValue{kv.Key, kv.Value})
		}
		if a.Error == wire.StatusOK {
			return rows, ack, nil
		}
		if through < 0 {
			return rows, ack, noFurther(op, a.Server)
		}
		if left = left[through+1:]; len(left) == 0 {
			return rows, ack, nil
		}
	}
}

// distinct drops repetitions.
func distinct(sorts [][]byte) [][]byte {
	seen := make(map[string]bool, len(sorts))
	var list [][]byte
	for _, sort := range sorts {
		if !seen[string(sort)] {
			seen[string(sort)] = true
			list = append(list, sort)
		}
	}
	return list
}

// multiGet makes one call. An answer that is incomplete is not an error.
func (d *Driver) multiGet(ctx context.Context, op, table string, args *wire.MultiGetRequest) (*wire.MultiGetResponse, Ack, error) {
	h := wire.Hash(args.HashKey, nil)
	a := new(wire.MultiGetResponse)
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.MultiGet, args, a); err != nil {
		return nil, Ack{}, err
	}
	ack := Ack{AppID: a.AppID, Partition: int(a.Partition), Decree: -1, Server: a.Server}
	if a.Error == wire.StatusIncomplete {
		return a, ack, nil
	}
	return a, ack, statusError(op, a.Server, a.Error)
}

func noFurther(op, server string) error {
	e := spec.Errorf(spec.Failed, "the server has more rows but answers none of them")
	e.Op, e.Endpoint = op, server
	return e.WithHint("a narrower range or another filter needs less time per call")
}

// RangeOptions say which rows under one hash key are read.
type RangeOptions struct {
	SortRange
	SortKey Filter
	NoValue bool
	MaxRows int64 // stop after so many; 0 for no limit
	// Reverse starts at the end of the range and answers the last row first.
	Reverse bool
}

// RangeRow is a row of a range, and who answered it.
type RangeRow struct {
	SortValue
	Ack Ack
}

// MultiGetRange reads a range of the rows under one hash key, page by page: while an answer says that more remains, the
// next one is asked for from the last row on. There is no snapshot across pages.
func (d *Driver) MultiGetRange(ctx context.Context, table string, hash []byte, o RangeOptions) iter.Seq2[RangeRow, error] {
	return func(yield func(RangeRow, error) bool) {
		p, err := newPager("get a range of "+table, table, hash, o)
		if err != nil {
			yield(RangeRow{}, err)
			return
		}
		for more := true; more; {
			var rows []wire.KeyValue
			var ack Ack
			rows, ack, more, err = p.next(ctx, d)
			if err != nil {
				yield(RangeRow{}, err)
				return
			}
			for i := range rows {
				kv := &rows[i]
				if o.Reverse {
					kv = &rows[len(rows)-1-i]
				}
				if !p.options.keeps(kv.Key) {
					continue
				}
				if !yield(RangeRow{SortValue{kv.Key, kv.Value}, ack}, nil) {
					return
				}
				if p.left--; o.MaxRows > 0 && p.left <= 0 {
					return
				}
			}
		}
	}
}

package pegasus

import (
	"bytes"
	"context"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// pager reads a range under one hash key in pages.
type pager struct {
	op, table string
	hash      []byte
	options   RangeOptions
	left      int64 // rows still wanted, when they are limited
	args      wire.MultiGetRequest
	scan      *scanner // what goes on when a page came without rows
}

func newPager(op, table string, hash []byte, o RangeOptions) (*pager, error) {
	if err := checkHash(op, hash); err != nil {
		return nil, err
	}
	filter, ok := filterType(o.SortKey)
	if !ok {
		return nil, &spec.Error{Kind: spec.Usage, Op: op, Err: errNoFilter}
	}
	p := &pager{op: op, table: table, hash: hash, options: o, left: o.MaxRows}
	p.args = wire.MultiGetRequest{
		HashKey: hash, MaxCount: pageRows, MaxSize: pageBytes, NoValue: o.NoValue, Reverse: o.Reverse,
		StartSortKey: o.Start, StopSortKey: o.Stop, StartInclusive: !o.AfterStart, StopInclusive: o.IncludingStop,
		SortKeyFilter: filter, SortKeyPattern: o.SortKey.Pattern,
	}
	return p, nil
}

// keeps compares exactly what servers compare as a prefix.
func (o *RangeOptions) keeps(sort []byte) bool {
	return o.SortKey.Type != "exact" || bytes.Equal(sort, o.SortKey.Pattern)
}

// next reads a page; more says that another one may follow.
func (p *pager) next(ctx context.Context, d *Driver) (rows []wire.KeyValue, ack Ack, more bool, err error) {
	if p.scan != nil {
		return p.scanNext(ctx)
	}
	if p.options.MaxRows > 0 && p.left < pageRows && p.options.SortKey.Type != "exact" {
		p.args.MaxCount = int32(p.left)
	}
	a, ack, err := d.multiGet(ctx, p.op, p.table, &p.args)
	if err != nil || a.Error == wire.StatusOK {
		var list []wire.KeyValue
		if a != nil {
			list = a.Rows
		}
		return list, ack, false, err
	}
	if len(a.Rows) == 0 {
		// It looked at as many rows as it may and none matched, so there is no key to go on after. A scan remembers.
		if p.options.Reverse {
			return nil, ack, false, noFurther(p.op, a.Server)
		}
		p.scan, err = p.scanner(ctx, d)
		return nil, ack, err == nil && p.scan != nil, err
	}
	first, last := a.Rows[0].Key, a.Rows[len(a.Rows)-1].Key
	switch {
	case !p.options.Reverse:
		if c := bytes.Compare(last, p.args.StartSortKey); c < 0 || c == 0 && !p.args.StartInclusive {
			return nil, ack, false, malformed(p.op, a.Server, "a row before the range")
		}
		p.args.StartSortKey, p.args.StartInclusive = last, false
	case len(first) == 0: // nothing comes before the empty sort key
		return a.Rows, ack, false, nil
	default:
		c := bytes.Compare(first, p.args.StopSortKey)
		if len(p.args.StopSortKey) > 0 && (c > 0 || c == 0 && !p.args.StopInclusive) {
			return nil, ack, false, malformed(p.op, a.Server, "a row behind the range")
		}
		p.args.StopSortKey, p.args.StopInclusive = first, false
	}
	return a.Rows, ack, true, nil
}

// scanner opens a scan of what is left of the range; nil when nothing is.
func (p *pager) scanner(ctx context.Context, d *Driver) (*scanner, error) {
	plan, err := newScanPlan(p.op, p.table, ScanOptions{
		Partition: -1, Batch: pageRows, NoValue: p.options.NoValue, HashKey: Filter{"exact", p.hash}, SortKey: p.options.SortKey,
		Range: &SortRange{
			Start: p.args.StartSortKey, AfterStart: !p.args.StartInclusive, Stop: p.args.StopSortKey, IncludingStop: p.args.StopInclusive,
		},
	})
	if err != nil {
		return nil, err
	}
	r, list, err := d.scanTargets(ctx, plan)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return d.newScanner(plan, r, list[0]), nil
}

func (p *pager) scanNext(ctx context.Context) (rows []wire.KeyValue, ack Ack, more bool, err error) {
	b := p.scan.next(ctx)
	ack = Ack{AppID: p.scan.appID, Partition: p.scan.index, Decree: -1, Server: b.server}
	for i := range b.rows {
		_, sort, err := wire.DecodeKey(b.rows[i].Key)
		if err != nil {
			return nil, ack, false, malformed(p.op, b.server, "%v", err)
		}
		b.rows[i].Key = sort
	}
	return b.rows, ack, b.err == nil && !b.done, b.err
}

// countUnder counts the rows under a hash key by a scan.
func (d *Driver) countUnder(ctx context.Context, table string, hash []byte) (n int64, err error) {
	for c, err := range d.Count(ctx, table, ScanOptions{Partition: -1, HashKey: Filter{"exact", hash}}) {
		if err != nil {
			return n, err
		}
		n += c.Rows
	}
	return n, nil
}

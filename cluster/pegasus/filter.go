package pegasus

import (
	"bytes"
	"errors"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// maxBatch is what servers cap a batch at.
const maxBatch = 1000

// scanPlan is a scan's options made ready: what the server filters, what is left to us, and which keys are read.
type scanPlan struct {
	op, table string
	options   ScanOptions
	batch     int32
	noValue   bool

	start, stop []byte // start inclusive, stop exclusive
	// full is the server's full_scan: needed whenever the range starts outside of one hash key, because its prefix
	// bloom filter would otherwise hide rows.
	full bool
	// only is the hash of the one hash key that is read, when the filter is exact.
	only *uint64

	hashType, sortType     wire.FilterType
	hashBytes, sortBytes   []byte
	checkHash, checkSort   bool // exact: the server cannot compare that way
	checkValue             func(value []byte) bool
	clientSide, needsValue bool
}

// newScanPlan checks options. A server knows three ways to compare keys; "exact" is asked for as a prefix and checked
// here, and an exact hash key becomes a range within its partition. Values are always compared here.
func newScanPlan(op, table string, o ScanOptions) (*scanPlan, error) {
	p := &scanPlan{op: op, table: table, options: o, batch: maxBatch, noValue: o.NoValue, full: true}
	if o.Batch > 0 {
		p.batch = int32(min(o.Batch, maxBatch))
	}
	p.start, p.stop = []byte{0, 0}, []byte{0xff, 0xff}
	var ok [3]bool
	p.hashType, ok[0] = filterType(o.HashKey)
	p.sortType, ok[1] = filterType(o.SortKey)
	_, ok[2] = filterType(o.Value)
	if ok != [3]bool{true, true, true} {
		return nil, p.usage(errNoFilter.Error())
	}
	p.hashBytes, p.sortBytes = o.HashKey.Pattern, o.SortKey.Pattern
	p.checkSort = o.SortKey.Type == "exact"
	p.needsValue = o.Value.Type != "" && (len(o.Value.Pattern) > 0 || o.Value.Type == "exact")
	if p.needsValue {
		if o.NoValue {
			return nil, p.usage("rows cannot be chosen by values that are not read")
		}
		p.checkValue = o.Value.match
	}
	switch {
	case o.HashKey.Type == "exact":
		if err := p.narrow(); err != nil {
			return nil, err
		}
	case o.Range != nil:
		return nil, p.usage("a range of sort keys needs an exact hash key")
	}
	p.clientSide = p.checkHash || p.checkSort || p.needsValue
	if o.MaxRows > 0 && o.MaxRows < int64(p.batch) && !p.clientSide {
		p.batch = int32(o.MaxRows)
	}
	return p, nil
}

var errNoFilter = errors.New("a filter is anywhere, prefix, postfix or exact")

func (p *scanPlan) usage(why string) error {
	return &spec.Error{Kind: spec.Usage, Op: p.op, Err: errors.New(why)}
}

// narrow turns an exact hash key into the range of its rows. No hash key filter may be sent then: a server crashes on a
// prefix filter in a scan that is not a full one.
func (p *scanPlan) narrow() error {
	hash := p.options.HashKey.Pattern
	var err error
	if p.start, err = fullKey(p.op, hash, nil); err != nil {
		return err
	}
	p.hashType, p.hashBytes = wire.FilterNone, nil
	if len(hash) == 0 {
		// Rows without a hash key lie in the partition of their sort key: all partitions, keys that start with 00 00.
		p.stop = []byte{0, 1}
		if p.options.Range != nil {
			return p.usage("a range of sort keys needs a hash key")
		}
		return nil
	}
	h := wire.Hash(hash, nil)
	p.full, p.only = false, &h
	p.stop = wire.Successor(p.start)
	if t := p.options.SortKey.Type; (t == "exact" || t == "prefix") && len(p.sortBytes) > 0 {
		if p.start, err = fullKey(p.op, hash, p.sortBytes); err != nil {
			return err
		}
		p.stop = wire.Successor(p.start)
	}
	if r := p.options.Range; r != nil {
		return p.cut(r)
	}
	return nil
}

// cut bounds the range further by sort keys. Both ends are made to fit "start inclusive, stop exclusive": the key that
// comes right after another one is that key with a zero byte behind it.
func (p *scanPlan) cut(r *SortRange) error {
	hash := p.options.HashKey.Pattern
	start, err := fullKey(p.op, hash, r.Start)
	if err != nil {
		return err
	}
	if r.AfterStart {
		start = append(start, 0)
	}
	if bytes.Compare(start, p.start) > 0 {
		p.start = start
	}
	if len(r.Stop) == 0 {
		return nil
	}
	stop, err := fullKey(p.op, hash, r.Stop)
	if err != nil {
		return err
	}
	if r.IncludingStop {
		stop = append(stop, 0)
	}
	if bytes.Compare(stop, p.stop) < 0 {
		p.stop = stop
	}
	return nil
}

func filterType(f Filter) (t wire.FilterType, known bool) {
	switch f.Type {
	case "":
		return wire.FilterNone, true
	case "anywhere":
		return wire.FilterAnywhere, true
	case "prefix", "exact":
		return wire.FilterPrefix, true
	case "postfix":
		return wire.FilterPostfix, true
	}
	return 0, false
}

func (f Filter) match(b []byte) bool {
	switch f.Type {
	case "anywhere":
		return bytes.Contains(b, f.Pattern)
	case "prefix":
		return bytes.HasPrefix(b, f.Pattern)
	case "postfix":
		return bytes.HasSuffix(b, f.Pattern)
	case "exact":
		return bytes.Equal(b, f.Pattern)
	}
	return true
}

// keep decides about a row what the server could not.
func (p *scanPlan) keep(sort, value []byte) bool {
	if p.checkSort && !bytes.Equal(sort, p.sortBytes) {
		return false
	}
	return p.checkValue == nil || p.checkValue(value)
}

// partitions lists what a scan goes through on a route. Children of a split that are not ready hold nothing yet: their
// rows are still with their parents.
func (p *scanPlan) partitions(r *route) ([]int, error) {
	n := len(r.Partitions)
	if want := p.options.Partition; want >= n || want < -1 {
		return nil, p.usage("table " + p.table + " has no such partition")
	}
	var list []int
	if bytes.Compare(p.start, p.stop) >= 0 {
		return nil, nil // a server would answer an empty range as if there were more
	}
	for i := range n {
		switch {
		case p.options.Partition >= 0 && i != p.options.Partition:
		case p.only != nil && i != r.index(*p.only):
		case !r.unready(i):
			list = append(list, i)
		}
	}
	if len(list) == 0 && p.options.Partition >= 0 && p.only == nil {
		e := spec.Errorf(spec.Unavailable, "partition %d of table %s is not ready", p.options.Partition, p.table)
		e.Op = p.op
		return nil, e.WithHint("a split is under way: its rows are still in partition %d", p.options.Partition-n/2)
	}
	return list, nil
}

// Match reports whether bytes are what the filter looks for. A filter of no type matches everything.
func (f Filter) Match(b []byte) bool { return f.match(b) }

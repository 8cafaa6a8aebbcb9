package tablet

import (
	"cmp"
	"iter"
	"math"

	"github.com/RaduBerinde/btreemap"

	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/wire"
)

// indexState is where an index is on its way out: it is not read from once DeleteIndex was called, and its place can be
// taken again after two collections.
type indexState int

const (
	indexReady indexState = iota
	indexWaiting
	indexDeleting
	indexDeleted
)

// index has a partition's rows in the order of one ColumnKey: by key, under a key the newest first, and among equal times
// the last one written first. It is guarded by its partition's lock.
type index struct {
	name    string
	columns []string
	tsName  string // the column that orders rows, "" for the time of the put
	ttl     ttl
	state   indexState
	unique  bool // a clustered index: one row a key and time

	rows *btreemap.BTreeMap[place, *entry]
	keys map[string]*keyRows
	segs []uint64 // rows a segment, which is only counted
	size uint64   // bytes that the store would count for the index itself
}

// keyRows is a key and how many rows it has.
type keyRows struct {
	key  string
	rows uint64
	seg  int
}

// place is where a row stands in an index.
type place struct {
	key *keyRows
	ts  uint64
	seq uint64 // the entry's index
}

const treeDegree = 32

// What the store counts for a key and for a row in an index, roughly: its skip lists' nodes (OpenMLDB: storage/record.h).
const (
	keyCost = 160
	rowCost = 56
)

func newIndex(m *common.ColumnKey, segments int) *index {
	x := &index{
		name: m.GetIndexName(), columns: m.GetColName(), tsName: m.GetTsName(), ttl: ttlOf(m.GetTtl()),
		unique: m.GetType() == clustered, segs: make([]uint64, segments),
	}
	if m.GetFlag() != 0 {
		x.state = indexDeleted
	}
	if len(x.columns) == 0 {
		x.columns = []string{x.name}
	}
	x.clear()
	return x
}

func (x *index) clear() {
	x.rows = btreemap.New[place, *entry](treeDegree, comparePlaces)
	x.keys = map[string]*keyRows{}
	clear(x.segs)
	x.size = 0
}

func comparePlaces(a, b place) int {
	if a.key != b.key {
		if c := cmp.Compare(a.key.key, b.key.key); c != 0 {
			return c
		}
	}
	if a.ts != b.ts {
		return cmp.Compare(b.ts, a.ts)
	}
	return cmp.Compare(b.seq, a.seq)
}

// insert adds a row, and answers its key as the index has it: a key of many rows is kept once.
func (x *index) insert(key string, ts uint64, e *entry) string {
	k := x.keys[key]
	if k == nil {
		k = &keyRows{key: key, seg: int(uint64(wire.Hash64(key)) % uint64(len(x.segs)))}
		x.keys[key] = k
		x.size += keyCost + uint64(len(key))
	}
	x.rows.ReplaceOrInsert(place{k, ts, e.index}, e)
	k.rows++
	x.segs[k.seg]++
	x.size += rowCost
	e.refs++
	return k.key
}

// remove takes a row out; it answers whether that was the last index that had it.
func (x *index) remove(p place) (e *entry, gone bool) {
	_, e, found := x.rows.Delete(p)
	if !found {
		return nil, false
	}
	x.segs[p.key.seg]--
	x.size -= rowCost
	if p.key.rows--; p.key.rows == 0 {
		delete(x.keys, p.key.key)
		x.size -= keyCost + uint64(len(p.key.key))
	}
	e.refs--
	return e, e.refs == 0
}

// under reads a key's rows from a time on, the newest first.
func (x *index) under(key string, from uint64) iter.Seq2[place, *entry] {
	k := x.keys[key]
	if k == nil {
		return func(func(place, *entry) bool) {}
	}
	return x.rows.Ascend(
		btreemap.GE(place{k, from, math.MaxUint64}), btreemap.LE(place{k, 0, 0}))
}

// placeOf counts the rows of a key that are newer than a time.
func (x *index) placeOf(key string, than uint64) (n uint64) {
	for p := range x.under(key, math.MaxUint64) {
		if p.ts <= than {
			break
		}
		n++
	}
	return n
}

// from reads all rows from a key and time on; a key that is not there stands for the next one.
func (x *index) from(key string, ts uint64) iter.Seq2[place, *entry] {
	return x.rows.Ascend(btreemap.GE(place{&keyRows{key: key}, ts, math.MaxUint64}), btreemap.Max[place]())
}

// live reads the rows from a key and time on that have not expired.
func (x *index) live(key string, ts uint64, e expiry) iter.Seq2[place, *entry] {
	return func(yield func(place, *entry) bool) {
		var current *keyRows
		var newer uint64
		for p, row := range x.from(key, ts) {
			if p.key != current {
				current, newer = p.key, 0
				if e.countsRows() && p.key.key == key {
					newer = x.placeOf(key, p.ts)
				}
			}
			if !e.expired(p.ts, newer) && !yield(p, row) {
				return
			}
			newer++
		}
	}
}

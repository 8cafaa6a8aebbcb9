package pegasus

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
)

// behindTable makes a table that rows can be ingested behind.
func (b *coldbox) behindTable(partitions int) {
	b.t.Helper()
	_, err := b.CreateApp(b.t.Context(), NewApp{Name: "behind", Partitions: partitions, Replicas: 3, Envs: map[string]string{"rocksdb.allow_ingest_behind": "true"}})
	b.do(err)
	b.founded("behind")
}

func inputKey(i int) (hash, sort []byte) {
	return fmt.Appendf(nil, "hash%d", i%37), fmt.Appendf(nil, "sort%05d", i)
}

func rowName(i int) string {
	hash, sort := inputKey(i)
	return fmt.Sprintf("%q %q", hash, sort)
}

// change writes rows from..to-1, or deletes them for a value of "".
func (b *coldbox) change(table string, from, to int, value string) {
	b.t.Helper()
	for i := from; i < to; i++ {
		hash, sort := inputKey(i)
		var err error
		switch {
		case value != "":
			_, err = b.Set(b.t.Context(), table, hash, sort, []byte(value), 0)
		case i%3 == 0:
			_, err = b.Del(b.t.Context(), table, hash, sort)
		case i%3 == 1:
			_, _, err = b.MultiDel(b.t.Context(), table, hash, [][]byte{sort})
		default:
			_, err = b.CheckAndMutate(b.t.Context(), table, hash, Check{Sort: []byte("nobody"), Type: "not_exist"}, []Mutation{{Delete: true, Sort: sort}})
		}
		b.do(err)
	}
}

// What is newer than the loaded rows wins, whether it was written or deleted, before the load began, while it downloaded or
// after it, and whichever replica has become the primary since.
func TestIngestBehindNewerWins(t *testing.T) {
	b := newColdbox(t, nil)
	b.behindTable(4)
	in := b.input("behind").fill(0, 400, "loaded")
	want := maps.Clone(in.rows)
	set := func(from, to int, value string) {
		b.change("behind", from, to, value)
		for i := from; i < to; i++ {
			if delete(want, rowName(i)); value != "" {
				want[rowName(i)] = value
			}
		}
	}
	set(0, 100, "live")
	set(50, 100, "")
	set(60, 70, "again")
	set(100, 140, "") // of rows that were never there
	// Replicas that learn what they missed, and those that copy all, know the deletions too.
	for _, n := range b.c.Nodes() {
		b.do(b.c.Kill(t.Context(), n.Endpoint))
		if strings.HasSuffix(n.Endpoint, ":34801") {
			b.eventually("writes are taken without "+n.Endpoint, func() bool {
				a, err := b.Partitions(t.Context(), "behind")
				return err == nil && !slices.ContainsFunc(a.Partitions, func(p Partition) bool { return p.Primary == "" || p.Primary == n.Endpoint })
			})
			set(140, 150, "")
		}
		b.do(b.c.Start(t.Context(), n.Endpoint))
		b.eventually("all replicas are there", func() bool {
			a, err := b.Partitions(t.Context(), "behind")
			return err == nil && !slices.ContainsFunc(a.Partitions, func(p Partition) bool { return p.Primary == "" || len(p.Secondaries) < 2 })
		})
	}
	b.arm("bulk.download", 1_000_000)
	b.do(in.load(true))
	b.loads("behind", "BLS_DOWNLOADING")
	set(200, 220, "meanwhile")
	set(210, 230, "")
	b.arm("bulk.download", 0)
	b.loads("behind", "BLS_SUCCEED")
	set(300, 310, "")
	set(310, 320, "later")
	b.expect("behind", b.contents("behind"), want)
	// Once more changes nothing: what was deleted since stays so.
	b.do(in.load(true))
	b.loads("behind", "BLS_SUCCEED")
	b.expect("behind again", b.contents("behind"), want)
	// Without it loaded rows win.
	b.do(in.load(false))
	b.loads("behind", "BLS_SUCCEED")
	b.expect("in front", b.contents("behind"), in.rows)
}

// Deletions go with the rows when a table is split, and rows that expired stay away, too, once compaction has removed them.
func TestIngestBehindAfterSplitAndCompaction(t *testing.T) {
	b := newColdbox(t, nil)
	b.behindTable(4)
	b.change("behind", 0, 50, "")
	for i := 50; i < 60; i++ {
		hash, sort := inputKey(i)
		_, err := b.Set(t.Context(), "behind", hash, sort, []byte("short"), time.Second)
		b.do(err)
	}
	b.do(b.StartSplit(t.Context(), "behind", 8))
	b.eventually("it is split", func() bool {
		s, err := b.Split(t.Context(), "behind")
		b.do(err)
		return s == nil && b.table("behind").Partitions == 8
	})
	b.change("behind", 60, 70, "")
	b.eventually("rows have expired", func() bool { return len(b.contents("behind")) == 0 })
	b.eventually("a compaction begins", func() bool { return b.StartCompaction(t.Context(), "behind", Compaction{Level: -1}) == nil })
	b.eventually("it is compacted", func() bool {
		percent, known, err := b.CompactionProgress(t.Context(), "behind")
		b.do(err)
		return known && percent == 100
	})
	in := b.input("behind").fill(0, 200, "loaded")
	b.do(in.load(true))
	b.loads("behind", "BLS_SUCCEED")
	want := maps.Clone(in.rows)
	for i := range 70 {
		delete(want, rowName(i))
	}
	b.expect("behind", b.contents("behind"), want)
}

// mixed is an external table of rows by full keys, where a value of "" is a deletion.
func (b *coldbox) mixed(rows map[string]string) []byte {
	b.t.Helper()
	o := rocksdb.DefaultWriterOptions()
	o.External = true
	var out bytes.Buffer
	w, err := rocksdb.NewTableWriter(&out, o)
	b.do(err)
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		if rows[k] == "" {
			b.do(w.Add(rocksdb.InternalKey{User: []byte(k), Kind: rocksdb.KindDelete}, nil))
			continue
		}
		value, err := rocksdb.Value{Data: []byte(rows[k])}.AppendTo(nil, 1)
		b.do(err)
		b.do(w.Put([]byte(k), value))
	}
	_, err = w.Finish()
	b.do(err)
	return out.Bytes()
}

// A file may hold deletions: split_backup gives one to partitions without rows. In front they delete, behind they do nothing.
func TestIngestDeletions(t *testing.T) {
	b := newColdbox(t, nil)
	b.behindTable(4)
	for _, behind := range []bool{true, false} {
		b.change("behind", 0, 8, "live")
		in := b.input("behind")
		want, parts := map[string]string{}, make([]map[string]string, 4)
		for i := range 100 {
			hash, sort := inputKey(i)
			key, err := wire.EncodeKey(hash, sort)
			b.do(err)
			at := wire.PartitionOf(wire.Hash(hash, nil), 4)
			if parts[at] == nil {
				parts[at] = map[string]string{}
			}
			switch {
			case i >= 8:
				parts[at][string(key)], want[rowName(i)] = "loaded", "loaded"
			case i < 4:
				parts[at][string(key)] = ""
				if behind {
					want[rowName(i)] = "live"
				}
			default:
				want[rowName(i)] = "live"
			}
		}
		for at, rows := range parts {
			in.partition(at, b.mixed(rows))
		}
		b.do(in.load(behind))
		b.loads("behind", "BLS_SUCCEED")
		b.expect(fmt.Sprint("behind: ", behind), b.contents("behind"), want)
	}
}

// Trouble that passes has the bulk load begin anew; trouble that comes again and again ends it.
func TestBulkLoadTrouble(t *testing.T) {
	b := newColdbox(t, nil)
	in := b.input("demo").fill(0, 100, "v")
	b.arm("bulk.trouble", 10)
	b.do(in.load(false))
	b.loads("demo", "BLS_SUCCEED")
	b.expect("after trouble", b.contents("demo"), in.rows)
	b.arm("bulk.trouble", 11)
	b.do(in.load(false))
	if l := b.loads("demo", "BLS_FAILED"); l.Code != wire.CodeRetryExhausted || l.Loading {
		t.Errorf("%+v", l)
	}
	b.arm("bulk.trouble", 0)
	b.do(in.load(false))
	b.loads("demo", "BLS_SUCCEED")
}

package pegasus

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
)

// write writes a file as a local_service has it.
func (b *coldbox) write(name string, content []byte) {
	b.t.Helper()
	b.do(os.MkdirAll(filepath.Dir(name), 0o755))
	b.do(os.WriteFile(name, content, 0o600))
	sum := md5.Sum(content)
	meta := fmt.Sprintf(`{"size":%d,"md5":"%s"}`, len(content), hex.EncodeToString(sum[:]))
	b.do(os.WriteFile(filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".meta"), []byte(meta), 0o600))
}

// sst is an external table of rows, by full keys.
func (b *coldbox) sst(rows map[string]string) []byte {
	b.t.Helper()
	o := rocksdb.DefaultWriterOptions()
	o.External = true
	var out bytes.Buffer
	w, err := rocksdb.NewTableWriter(&out, o)
	b.do(err)
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		value, err := rocksdb.Value{Data: []byte(rows[k])}.AppendTo(nil, 1)
		b.do(err)
		b.do(w.Put([]byte(k), value))
	}
	_, err = w.Finish()
	b.do(err)
	return out.Bytes()
}

// input is a bulk load below /root of disk, one or more files a partition.
type input struct {
	b    *coldbox
	dir  string
	app  App
	rows map[string]string // all rows by "hash" "sort"
}

func (b *coldbox) input(table string) *input {
	b.t.Helper()
	in := &input{b, b.place("disk", "root/onebox", table), b.table(table), map[string]string{}}
	b.do(os.RemoveAll(in.dir))
	b.write(filepath.Join(in.dir, "bulk_load_info"), fmt.Appendf(nil, `{"app_id":%d,"app_name":"%s","partition_count":%d}`, in.app.ID, table, in.app.Partitions))
	return in
}

// fill adds rows from..to-1 with values that begin so; every partition gets some.
func (in *input) fill(from, to int, value string) *input {
	in.b.t.Helper()
	parts := make([]map[string]string, in.app.Partitions)
	for i := range parts {
		parts[i] = map[string]string{}
	}
	for i := from; i < to; i++ {
		hash, sort := fmt.Appendf(nil, "hash%d", i%37), fmt.Appendf(nil, "sort%05d", i)
		key, err := wire.EncodeKey(hash, sort)
		in.b.do(err)
		parts[wire.PartitionOf(wire.Hash(hash, nil), len(parts))][string(key)] = fmt.Sprint(value, i)
		in.rows[fmt.Sprintf("%q %q", hash, sort)] = fmt.Sprint(value, i)
	}
	for i, rows := range parts {
		in.partition(i, in.b.sst(rows))
	}
	return in
}

// partition writes the files of a partition and their list.
func (in *input) partition(i int, files ...[]byte) {
	type file struct {
		Name string `json:"name"`
		Size int    `json:"size"`
		MD5  string `json:"md5"`
	}
	var list struct {
		Files []file `json:"files"`
		Total int    `json:"file_total_size"`
	}
	for n, content := range files {
		name := fmt.Sprintf("part%d.sst", n)
		in.b.write(in.at(i, name), content)
		sum := md5.Sum(content)
		list.Files, list.Total = append(list.Files, file{name, len(content), hex.EncodeToString(sum[:])}), list.Total+len(content)
	}
	text, err := json.Marshal(list)
	in.b.do(err)
	in.b.write(in.at(i, "bulk_load_metadata"), text)
}

func (in *input) at(i int, name string) string { return filepath.Join(in.dir, fmt.Sprint(i), name) }

func (in *input) load(behind bool) error {
	in.b.t.Helper()
	return in.b.StartBulkLoad(in.b.t.Context(), NewBulkLoad{in.app.Name, "onebox", "disk", "/root", behind})
}

// loads waits until a bulk load is in a state.
func (b *coldbox) loads(table, status string) BulkLoad {
	b.t.Helper()
	var l BulkLoad
	b.eventually(table+" is "+status, func() bool {
		var err error
		l, err = b.BulkLoad(b.t.Context(), table)
		b.do(err)
		over := strings.Contains("BLS_SUCCEED BLS_FAILED BLS_CANCELED", status)
		return l.Status == status && l.Loading == !over
	})
	return l
}

func (b *coldbox) level() string {
	b.t.Helper()
	info, err := clusterInfo.ok(b.t.Context(), b.Driver, "read the level", &struct{}{})
	b.do(err)
	return info.Values[slices.Index(info.Keys, "meta_function_level")]
}

func (b *coldbox) expect(what string, got, want map[string]string) {
	b.t.Helper()
	if len(got) != len(want) {
		b.t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
	}
	wrong := map[string]string{}
	for k, v := range want {
		if got[k] != v {
			wrong[k] = got[k]
		}
	}
	if len(wrong) > 0 {
		b.t.Fatalf("%s: %d rows are wrong: %v", what, len(wrong), wrong)
	}
}

// founded waits until every partition of a new table has its place.
func (b *coldbox) founded(table string) {
	b.t.Helper()
	b.eventually(table+" has primaries", func() bool {
		a, err := b.Partitions(b.t.Context(), table)
		return err == nil && !slices.ContainsFunc(a.Partitions, func(p Partition) bool { return p.Primary == "" })
	})
}

// Loaded rows win over those that there are, or with ingest_behind the other way round; rows that are only in one of the
// two are there in the end.
func TestBulkLoad(t *testing.T) {
	b := newColdbox(t, nil)
	_, err := b.CreateApp(t.Context(), NewApp{Name: "behind", Partitions: 4, Replicas: 3, Envs: map[string]string{"rocksdb.allow_ingest_behind": "true"}})
	b.do(err)
	b.founded("behind")
	_, err = controlMeta.ok(t.Context(), b.Driver, "balance", &wire.ControlMetaRequest{Level: wire.LevelLively})
	b.do(err)
	for _, table := range []string{"demo", "behind"} {
		behind := table == "behind"
		b.fill(table, 0, 200, "live")
		before := b.contents(table)
		in := b.input(table).fill(100, 400, "loaded")
		b.do(in.load(behind))
		if a := b.table(table); !a.BulkLoading || b.level() != "steady" {
			t.Errorf("meanwhile: %+v, level %s", a, b.level())
		}
		l := b.loads(table, "BLS_SUCCEED")
		want := maps.Clone(before)
		for k, v := range in.rows {
			if _, has := before[k]; !has || !behind {
				want[k] = v
			}
		}
		b.expect(table, b.contents(table), want)
		if a := b.table(table); a.BulkLoading || b.level() != "steady" || l.Code != wire.OK || l.Hint == "" || len(l.Partitions) != 4 || l.Replicas != 3 {
			t.Errorf("in the end: %+v, level %s, %+v", a, b.level(), l)
		}
		b.do(b.ClearBulkLoad(t.Context(), table))
		if l, err := b.BulkLoad(t.Context(), table); err != nil || l.Loading || l.Status != "BLS_INVALID" {
			t.Errorf("after it was cleared: %+v", l)
		}
	}
}

func TestBulkLoadRefusals(t *testing.T) {
	b := newColdbox(t, nil)
	in := b.input("demo").fill(0, 100, "v")
	info := filepath.Join(in.dir, "bulk_load_info")
	good := b.read(info)
	begin := NewBulkLoad{"demo", "onebox", "disk", "/root", false}
	b.do(b.DropApp(t.Context(), "TableA", 0))
	for name, c := range map[string]struct {
		change func(*NewBulkLoad)
		want   string
	}{
		"no table":       {func(n *NewBulkLoad) { n.Table = "nobody" }, wire.CodeAppNotExist},
		"a dropped one":  {func(n *NewBulkLoad) { n.Table = "TableA" }, wire.CodeAppDropped},
		"behind":         {func(n *NewBulkLoad) { n.Behind = true }, wire.CodeInconsistent},
		"a provider":     {func(n *NewBulkLoad) { n.Provider = "s3_service" }, wire.CodeInvalidParameters},
		"another root":   {func(n *NewBulkLoad) { n.Root = "/" }, wire.CodeObjectNotFound},
		"no JSON":        {func(*NewBulkLoad) { b.write(info, []byte("{")) }, wire.CodeCorruption},
		"another count":  {func(*NewBulkLoad) { b.write(info, bytes.ReplaceAll(good, []byte(`count":4`), []byte(`count":8`))) }, wire.CodeInconsistent},
		"another table":  {func(*NewBulkLoad) { b.write(info, bytes.ReplaceAll(good, []byte(`app_id":`), []byte(`app_id":1`))) }, wire.CodeInconsistent},
		"without a meta": {func(*NewBulkLoad) { b.do(os.Remove(filepath.Join(in.dir, ".bulk_load_info.meta"))) }, wire.CodeObjectNotFound},
	} {
		n := begin
		b.write(info, good)
		c.change(&n)
		if err := b.StartBulkLoad(t.Context(), n); codeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	b.write(info, good)
	for _, how := range []string{PauseBulkLoad, RestartBulkLoad, CancelBulkLoad, ForceCancelBulkLoad} {
		if err := b.ControlBulkLoad(t.Context(), "demo", how); codeOf(err) != wire.CodeInactiveState {
			t.Errorf("%s of none: %v", how, err)
		}
	}
	if _, err := b.BulkLoad(t.Context(), "nobody"); codeOf(err) != wire.CodeAppNotExist {
		t.Errorf("the load of no table: %v", err)
	}
	b.arm("bulk.download", 1_000_000)
	b.do(in.load(false))
	if err := in.load(false); codeOf(err) != wire.CodeBusy {
		t.Errorf("a second one: %v", err)
	}
	if err := b.ClearBulkLoad(t.Context(), "demo"); codeOf(err) != wire.CodeInvalidState {
		t.Errorf("cleared while it goes on: %v", err)
	}
	if err := b.ControlBulkLoad(t.Context(), "demo", RestartBulkLoad); codeOf(err) != wire.CodeInvalidState {
		t.Errorf("restarted while it goes on: %v", err)
	}
	if err := b.StartSplit(t.Context(), "demo", 8); codeOf(err) != wire.CodeInvalidState {
		t.Errorf("split while it goes on: %v", err)
	}
	b.do(b.ControlBulkLoad(t.Context(), "demo", PauseBulkLoad))
	b.loads("demo", "BLS_PAUSED")
	b.do(b.ControlBulkLoad(t.Context(), "demo", RestartBulkLoad))
	b.loads("demo", "BLS_DOWNLOADING")
	b.do(b.ControlBulkLoad(t.Context(), "demo", CancelBulkLoad))
	b.loads("demo", "BLS_CANCELED")
	b.arm("bulk.download", 0)
	if got := b.contents("demo"); len(got) != 0 {
		t.Errorf("%d rows of a load that was canceled", len(got))
	}
	// While files are ingested nobody writes, and only force cancels.
	b.arm("bulk.ingesting", 1_000_000)
	b.do(in.load(false))
	b.loads("demo", "BLS_INGESTING")
	b.eventually("writes are refused", func() bool {
		_, err := b.Set(t.Context(), "demo", []byte("h"), []byte("s"), []byte("v"), 0)
		return codeOf(err) == wire.CodeOperationDisabled
	})
	if err := b.ControlBulkLoad(t.Context(), "demo", CancelBulkLoad); codeOf(err) != wire.CodeInvalidState {
		t.Errorf("canceled while it ingests: %v", err)
	}
	b.do(b.ControlBulkLoad(t.Context(), "demo", ForceCancelBulkLoad))
	b.loads("demo", "BLS_CANCELED")
	b.arm("bulk.ingesting", 0)
	b.eventually("writes are taken", func() bool {
		_, err := b.Set(t.Context(), "demo", []byte("h"), []byte("s"), []byte("v"), 0)
		return err == nil
	})
}

// What is wrong with the files fails the load, before a row of theirs is there.
func TestBulkLoadOfBadFiles(t *testing.T) {
	b := newColdbox(t, nil)
	_, err := b.CreateApp(t.Context(), NewApp{Name: "behind", Partitions: 4, Replicas: 3, Envs: map[string]string{"rocksdb.allow_ingest_behind": "true"}})
	b.do(err)
	for _, c := range []struct {
		name   string
		behind bool
		harm   func(*input)
		want   string
	}{
		{"a byte", false, func(in *input) {
			name := in.at(2, "part0.sst")
			content := b.read(name)
			content[len(content)/2] ^= 1
			b.write(name, content)
		}, wire.CodeCorruption},
		{"a byte more", false, func(in *input) {
			b.write(in.at(2, "part0.sst"), append(b.read(in.at(2, "part0.sst")), 0))
		}, wire.CodeCorruption},
		{"no list", false, func(in *input) { b.do(os.Remove(in.at(2, "bulk_load_metadata"))) }, wire.CodeFileOperation},
		{"no file", false, func(in *input) { b.do(os.Remove(in.at(2, "part0.sst"))) }, wire.CodeFileOperation},
		{"an empty partition", false, func(in *input) { in.partition(2) }, wire.CodeCorruption},
		{"no table", false, func(in *input) { in.partition(2, []byte("no table")) }, wire.CodeIngestionFailed},
		{"the point", false, func(*input) { b.arm("bulk.ingest", 1) }, wire.CodeIngestionFailed},
		{"files that overlap", true, func(in *input) {
			content := b.read(in.at(2, "part0.sst"))
			in.partition(2, content, content)
		}, wire.CodeIngestionFailed},
	} {
		table := "demo"
		if c.behind {
			table = "behind"
		}
		in := b.input(table).fill(0, 200, "v")
		c.harm(in)
		b.do(in.load(c.behind))
		l := b.loads(table, "BLS_FAILED")
		if l.Code != c.want {
			t.Errorf("%s: %s, want %s", c.name, l.Code, c.want)
		}
		if n := len(b.contents(table)); n > 0 && c.want != wire.CodeIngestionFailed {
			t.Errorf("%s: %d rows", c.name, n)
		}
	}
	// Files that overlap are taken when they are not put behind: the later one wins.
	in := b.input("demo").fill(0, 200, "v")
	key, err := wire.EncodeKey([]byte("hash1"), []byte("sort00001"))
	b.do(err)
	i := wire.PartitionOf(wire.Hash([]byte("hash1"), nil), 4)
	in.partition(int(i), b.read(in.at(int(i), "part0.sst")), b.sst(map[string]string{string(key): "later"}))
	in.rows[`"hash1" "sort00001"`] = "later"
	b.do(in.load(false))
	b.loads("demo", "BLS_SUCCEED")
	b.expect("overlapping", b.contents("demo"), in.rows)
}

// A bulk load goes on through the death of replica servers and of the leading meta server.
func TestBulkLoadThroughKills(t *testing.T) {
	b := newColdbox(t, nil)
	in := b.input("demo").fill(0, 2000, "v")
	b.arm("bulk.ingesting", 1_000_000)
	b.do(in.load(false))
	b.loads("demo", "BLS_INGESTING")
	nodes := b.c.Nodes()
	b.do(b.c.Kill(t.Context(), nodes[0].Endpoint))
	b.do(b.c.Start(t.Context(), nodes[0].Endpoint))
	b.do(b.c.Kill(t.Context(), nodes[2].Endpoint))
	b.do(b.c.Start(t.Context(), nodes[2].Endpoint))
	b.arm("bulk.ingesting", 0)
	b.loads("demo", "BLS_SUCCEED")
	b.expect("through kills", b.contents("demo"), in.rows)
}

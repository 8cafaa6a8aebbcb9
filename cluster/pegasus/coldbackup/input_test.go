package coldbackup_test

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

	"shardsh/cluster/pegasus/backuptest"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
)

// loadInput is the input of a bulk load on this machine, below root/onebox/TableB.
type loadInput struct {
	t    *testing.T
	dir  string
	want coldbackup.LoadInfo
}

const inputDir = "root/onebox/TableB"

// newLoadInput makes the input for a table of rows, two files a partition.
func newLoadInput(t *testing.T, partitions, rows int) *loadInput {
	t.Helper()
	in := &loadInput{t, t.TempDir(), coldbackup.LoadInfo{AppID: 7, AppName: "TableB", PartitionCount: int32(partitions)}}
	parts := make([]map[string]string, partitions)
	for i := range parts {
		parts[i] = map[string]string{}
	}
	for i := range rows {
		hash, sort := fmt.Appendf(nil, "hash%d", i), fmt.Appendf(nil, "sort%d", i)
		key, err := wire.EncodeKey(hash, sort)
		in.do(err)
		parts[wire.PartitionOf(wire.Hash(hash, sort), partitions)][string(key)] = fmt.Sprint("value ", i)
	}
	for i, rows := range parts {
		keys := slices.Sorted(maps.Keys(rows))
		in.partition(i, in.sst(true, keys[:len(keys)/2], rows), in.sst(true, keys[len(keys)/2:], rows))
	}
	info, err := json.Marshal(in.want)
	in.do(err)
	in.write("bulk_load_info", info)
	return in
}

func (in *loadInput) do(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

func (in *loadInput) path(name string) string {
	return filepath.Join(in.dir, filepath.FromSlash(inputDir), filepath.FromSlash(name))
}

func (in *loadInput) write(name string, content []byte) {
	in.t.Helper()
	in.do(os.MkdirAll(filepath.Dir(in.path(name)), 0o755))
	in.do(os.WriteFile(in.path(name), content, 0o600))
}

func (in *loadInput) read(name string) []byte {
	in.t.Helper()
	b, err := os.ReadFile(in.path(name))
	in.do(err)
	return b
}

func (in *loadInput) sst(external bool, keys []string, rows map[string]string) []byte {
	in.t.Helper()
	o := rocksdb.DefaultWriterOptions()
	o.External, o.BlockSize = external, 256
	var b bytes.Buffer
	w, err := rocksdb.NewTableWriter(&b, o)
	in.do(err)
	for _, k := range keys {
		value, err := rocksdb.Value{Data: []byte(rows[k])}.AppendTo(nil, 1)
		in.do(err)
		in.do(w.Put([]byte(k), value))
	}
	_, err = w.Finish()
	in.do(err)
	return b.Bytes()
}

// partition writes the files of a partition, and their list.
func (in *loadInput) partition(i int, files ...[]byte) {
	in.t.Helper()
	var list []coldbackup.File
	for n, content := range files {
		name, sum := fmt.Sprintf("%06d.sst", n+1), md5.Sum(content)
		in.write(fmt.Sprintf("%d/%s", i, name), content)
		list = append(list, coldbackup.File{Name: name, Size: int64(len(content)), MD5: hex.EncodeToString(sum[:])})
	}
	text, err := coldbackup.EncodeLoadMetadata(list)
	in.do(err)
	in.write(fmt.Sprintf("%d/bulk_load_metadata", i), text)
}

// problems looks at the input, and with all reads it whole.
func (in *loadInput) problems(all, behind bool) []coldbackup.Problem {
	in.t.Helper()
	s := backuptest.Dir(in.dir)
	found, err := coldbackup.LoadInput(in.t.Context(), s, inputDir, in.want, behind)
	in.do(err)
	if len(found.Problems) > 0 || !all {
		return found.Problems
	}
	problems, err := coldbackup.CheckInput(in.t.Context(), s, found, 4, func(int64) error { return nil })
	in.do(err)
	return problems
}

func TestInput(t *testing.T) {
	in := newLoadInput(t, 4, 400)
	if p := in.problems(true, true); len(p) > 0 {
		t.Fatalf("a good input: %v", p)
	}
	found, err := coldbackup.LoadInput(t.Context(), backuptest.Dir(in.dir), inputDir, in.want, false)
	in.do(err)
	if files, size, rows := found.Totals(); files != 8 || rows != 400 || size < 8000 {
		t.Errorf("%d files, %d bytes, %d rows", files, size, rows)
	}
}

// One byte that is another one is found, and the file named, whichever byte it is: in a table by a full check, in a list
// because it says something else then.
func TestInputFlippedByte(t *testing.T) {
	in := newLoadInput(t, 2, 30)
	for _, name := range []string{"bulk_load_info", "0/bulk_load_metadata", "1/bulk_load_metadata", "0/000001.sst", "1/000002.sst"} {
		good := in.read(name)
		step := 1
		if strings.HasSuffix(name, ".sst") {
			step = 5
		}
		for i := 0; i < len(good); i += step {
			for _, bit := range []byte{0x01, 0x20} {
				bad := bytes.Clone(good)
				bad[i] ^= bit
				in.write(name, bad)
				found := in.problems(true, false)
				if len(found) == 0 {
					t.Fatalf("%s: byte %d, %q instead of %q, is not found", name, i, bad[i], good[i])
				}
				want, exact := inputDir+"/"+name, true
				if strings.HasSuffix(name, "metadata") { // the list and what it lists contradict each other
					want, exact = inputDir+"/"+name[:2], false
				}
				if p := found[0].Path; p != want && (exact || !strings.HasPrefix(p, want)) {
					t.Fatalf("%s: byte %d: it is said of %s: %s", name, i, p, found[0].Why)
				}
			}
		}
		in.write(name, good)
	}
}

func TestInputProblems(t *testing.T) {
	for name, c := range map[string]struct {
		behind bool
		harm   func(*loadInput)
		path   string // below inputDir
		why    string
	}{
		"no info":       {harm: func(in *loadInput) { in.do(os.Remove(in.path("bulk_load_info"))) }, path: "bulk_load_info", why: "it is missing"},
		"another table": {harm: func(in *loadInput) { in.want.AppName = "TableC" }, path: "bulk_load_info", why: `it is for the table "TableB"`},
		"another id":    {harm: func(in *loadInput) { in.want.AppID = 8 }, path: "bulk_load_info", why: "it is for a table with the id 7, and that of TableB is 8"},
		"another count": {harm: func(in *loadInput) { in.want.PartitionCount = 4 }, path: "bulk_load_info", why: "it is for 2 partitions, and TableB has 4"},
		"no partition":  {harm: func(in *loadInput) { in.do(os.RemoveAll(in.path("1"))) }, path: "1/bulk_load_metadata", why: "it is missing"},
		"no list":       {harm: func(in *loadInput) { in.do(os.Remove(in.path("0/bulk_load_metadata"))) }, path: "0/bulk_load_metadata", why: "it is missing"},
		"no file":       {harm: func(in *loadInput) { in.do(os.Remove(in.path("0/000002.sst"))) }, path: "0/000002.sst", why: "it is missing"},
		"a byte more":   {harm: func(in *loadInput) { in.write("0/000002.sst", append(in.read("0/000002.sst"), 0)) }, path: "0/000002.sst", why: "bytes instead of"},
		"an empty list": {harm: func(in *loadInput) { in.write("0/bulk_load_metadata", []byte(`{"files":[],"file_total_size":0}`)) }, path: "0/bulk_load_metadata", why: "it lists no byte"},
		"elsewhere": {harm: func(in *loadInput) {
			in.write("0/bulk_load_metadata", []byte(`{"files":[{"name":"../x","size":1,"md5":""}],"file_total_size":1}`))
		}, path: "0/bulk_load_metadata", why: "is no file name"},
		"no table":        {harm: func(in *loadInput) { in.partition(0, []byte("no table")) }, path: "0/000001.sst", why: "a table of 8 bytes"},
		"not external":    {harm: func(in *loadInput) { in.partition(0, in.sst(false, []string{"\x00\x01hs"}, nil)) }, path: "0/000001.sst", why: "not made to be ingested"},
		"no entry":        {harm: func(in *loadInput) { in.partition(0, in.sst(true, nil, nil)) }, path: "0/000001.sst", why: "it has no entry"},
		"other half":      {harm: func(in *loadInput) { in.partition(0, in.read("1/000001.sst")) }, path: "0/000001.sst", why: "belongs to partition 1"},
		"overlap":         {behind: true, harm: func(in *loadInput) { in.partition(0, in.read("0/000001.sst"), in.read("0/000001.sst")) }, path: "0/000002.sst", why: "overlap with those of 000001.sst"},
		"overlap, before": {harm: func(in *loadInput) { in.partition(0, in.read("0/000001.sst"), in.read("0/000001.sst")) }},
	} {
		in := newLoadInput(t, 2, 100)
		c.harm(in)
		found := in.problems(false, c.behind)
		if c.why == "" {
			if len(found) > 0 {
				t.Errorf("%s: %v", name, found)
			}
			continue
		}
		if len(found) == 0 || found[0].Path != inputDir+"/"+c.path || !strings.Contains(found[0].Why, c.why) {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// A row in the middle of a file that belongs elsewhere is found by a full check only.
func TestInputStray(t *testing.T) {
	in := newLoadInput(t, 2, 100)
	rows, strays := map[string]string{}, 0
	for i := range 100 {
		hash := fmt.Appendf(nil, "hash%d", i)
		key, err := wire.EncodeKey(hash, []byte("s"))
		in.do(err)
		if wire.PartitionOf(wire.Hash(hash, nil), 2) == 0 || i == 50 && strays == 0 {
			rows[string(key)] = "v"
		} else if i == 51 {
			rows[string(key)], strays = "v", 1
		}
	}
	in.partition(0, in.sst(true, slices.Sorted(maps.Keys(rows)), rows))
	if p := in.problems(false, false); len(p) > 0 {
		t.Fatalf("the ends are where they belong: %v", p)
	}
	if p := in.problems(true, false); len(p) != 1 || !strings.Contains(p[0].Why, "belongs to partition 1") {
		t.Errorf("%v", p)
	}
}

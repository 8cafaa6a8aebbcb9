package rocksdb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fixtures are the tables of testdata: how RocksDB 7.8.3 wrote them. See testdata/README.md.
var fixtures = []string{
	"2 lz4 crc32c plain", "2 none xxhash hash", "3 zlib xxhash64 bloom", "4 snappy crc32c deltas", "5 zstd xxh3 two", "5 lz4hc crc32c first",
}

func fixtureName(form string) string {
	return filepath.Join("testdata", strings.ReplaceAll(form, " ", "-")+".sst")
}

func fixtureRows() []row {
	rows := pegasusRows(90, 24)
	rows[5].kind, rows[5].value = 'D', ""
	return append(rows, row{'R', "a", "b"}, row{'R', "c", "d"})
}

func manifestFixture(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/checkpoint/CURRENT")
	if err != nil {
		t.Fatal(err)
	}
	name, err := ParseCurrent(b)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join("testdata/checkpoint", name)
}

func TestFixtures(t *testing.T) {
	for _, form := range fixtures {
		b, err := os.ReadFile(fixtureName(form))
		if err != nil {
			t.Fatal(err)
		}
		sameRows(t, entriesOf(t, b), fixtureRows())
		table, err := OpenTable(inMemory(b), ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(form)
		if got := string(rune('0' + table.FormatVersion())); got != fields[0] || table.Checksum().String() != fields[2] || !table.Properties().External() {
			t.Errorf("%s: format version %s, %v", form, got, table.Checksum())
		}
		if n := table.Properties().Entries(); n != 92 {
			t.Errorf("%s: %d entries", form, n)
		}
		it := table.NewIterator()
		for _, r := range fixtureRows()[:90] {
			if !it.SeekGE([]byte(r.key)) || string(it.Key().User) != r.key {
				t.Errorf("%s: %q is not found", form, r.key)
			}
		}
		it.Close()
	}
}

// The checkpoint has several levels, range deletions, and an ingested table whose number only the MANIFEST knows;
// checkpoint.rows is what RocksDB's own iterator says it holds.
func TestCheckpointFixture(t *testing.T) {
	b, err := os.ReadFile("testdata/checkpoint.rows")
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenCheckpoint(t.Context(), folder("testdata/checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	sameRows(t, append(rowsOf(t, c), row{'M', MetaDataVersion, "1"}), parseRows(t, b))
	family := c.Family(DefaultFamily)
	levels, outside, ranges := map[int]bool{}, 0, 0
	for _, f := range family.Files {
		levels[f.Level] = true
		table, err := c.openTable(t.Context(), &f, 0)
		if err != nil {
			t.Fatal(err)
		}
		if inside, err := table.Properties().globalSeqno(); table.Properties().External() && inside == 0 && f.LargestSeqno > 0 && err == nil {
			outside++
		}
		ranges += len(table.RangeDeletions())
		table.file.Close()
	}
	if len(levels) < 2 || outside != 1 || ranges == 0 {
		t.Errorf("levels %v, %d ingested tables, %d range deletions", levels, outside, ranges)
	}
	if v, err := c.DataVersion(t.Context()); v != 1 || err != nil {
		t.Errorf("data version %d: %v", v, err)
	}
	if !slices.Contains(c.Files(), "CURRENT") || len(c.Files()) != len(family.Files)+3 {
		t.Errorf("the files are %v", c.Files())
	}
}

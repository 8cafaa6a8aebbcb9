//go:build integration

package rocksdb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// client is the program that drives the real RocksDB.
func client(t *testing.T) string {
	t.Helper()
	script, err := filepath.Abs("../../../.ci/clients/rocksdb")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(script)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "rocksdb")
}

func appendRow(b []byte, r row) []byte {
	b = append(b, r.kind)
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(r.key))), r.key...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(r.value))), r.value...)
}

// randomChanges are puts, deletions, range deletions, flushes and compactions over a few hundred keys.
func randomChanges(seed uint64, n int) []row {
	r := rand.New(rand.NewPCG(seed, 3))
	keys := pegasusRows(500, 0)
	var changes []row
	for i := range n {
		k := keys[r.IntN(len(keys))].key
		switch p := r.IntN(1000); {
		case p < 2:
			changes = append(changes, row{'C', "", ""})
		case p < 12:
			changes = append(changes, row{'F', "", ""})
		case p < 22:
			other := keys[r.IntN(len(keys))].key
			changes = append(changes, row{'R', min(k, other), max(k, other)})
		case p < 250:
			changes = append(changes, row{'D', k, ""})
		default:
			changes = append(changes, row{'P', k, fmt.Sprintf("value %d of %x", i, k)})
		}
	}
	return changes
}

// ask runs the client with rows on its input and returns the rows of its output.
func ask(t *testing.T, program string, in []row, args ...string) []row {
	t.Helper()
	var input, errors bytes.Buffer
	for _, r := range in {
		input.Write(appendRow(nil, r))
	}
	cmd := exec.Command(program, args...)
	cmd.Stdin, cmd.Stderr = &input, &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rocksdb %s: %v: %s", strings.Join(args, " "), err, errors.String())
	}
	return parseRows(t, out)
}

// Tables written by RocksDB in every form are read, entry by entry.
func TestReadRocksDBTables(t *testing.T) {
	program, dir := client(t), t.TempDir()
	rows := pegasusRows(1500, 40)
	rows[7].value = strings.Repeat("a long value that compresses well ", 4000) // a block of 136 KB
	rows[9].kind, rows[9].value = 'D', ""
	rows = append(rows, row{'R', "a", "b"}, row{'R', "c", "d"})
	for _, version := range []string{"2", "3", "4", "5"} {
		for _, compression := range []string{"none", "snappy", "zlib", "lz4", "lz4hc", "zstd"} {
			for i, checksum := range []string{"crc32c", "xxhash", "xxhash64", "xxh3", "none"} {
				for _, layout := range []string{"plain", "hash", "deltas", "two", "first", "bloom"} {
					if i > 0 && layout != "plain" {
						continue
					}
					name := strings.Join([]string{version, compression, checksum, layout}, " ")
					file := filepath.Join(dir, "t.sst")
					ask(t, program, rows, append([]string{"table", file}, strings.Fields(name)...)...)
					b, err := os.ReadFile(file)
					if err != nil {
						t.Fatal(err)
					}
					table, err := OpenTable(inMemory(b), ReadOptions{})
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if got := table.Checksum().String(); got != checksum {
						t.Errorf("%s: checksum %s", name, got)
					}
					sameRows(t, entriesOf(t, b), rows)
					seekAll(t, table, rows[:1500])
				}
			}
		}
	}
}

func seekAll(t *testing.T, table *Table, rows []row) {
	t.Helper()
	it := table.NewIterator()
	defer it.Close()
	for i := 0; i < len(rows); i += 37 {
		if !it.SeekGE([]byte(rows[i].key)) || string(it.Key().User) != rows[i].key || string(it.Value()) != rows[i].value {
			t.Fatalf("a seek to %q: %v %q", rows[i].key, it.Err(), it.Key().User)
		}
	}
	if it.SeekGE([]byte("\xff\xff\xff")) || it.Err() != nil {
		t.Fatalf("a seek behind the end: %v", it.Err())
	}
}

// Tables written here are verified and read by RocksDB and by its sst_dump, and ingested both ways.
func TestRocksDBTakesOurTables(t *testing.T) {
	program, dir := client(t), t.TempDir()
	rows := pegasusRows(5000, 100)
	older := slices.Clone(rows[:1000])
	for i := range older {
		older[i].value = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00live"
	}
	n := 0
	for version := 2; version <= 5; version++ {
		for _, compression := range []Compression{Uncompressed, Snappy, Zlib, LZ4, Zstd} {
			for _, checksum := range []Checksum{ChecksumCRC32C, ChecksumXXHash, ChecksumXXHash64, ChecksumXXH3} {
				if n++; checksum != ChecksumCRC32C && n%3 != 0 {
					continue
				}
				o := DefaultWriterOptions()
				o.FormatVersion, o.Compression, o.Checksum, o.External = version, compression, checksum, true
				o.BloomBits, o.BloomHashKeys = n%2*10, n%4 == 3
				file := filepath.Join(dir, fmt.Sprintf("%d.sst", n))
				if err := os.WriteFile(file, tableOf(t, rows, o), 0o600); err != nil {
					t.Fatal(err)
				}
				sameRows(t, ask(t, program, nil, "dump", file), rows)
				got := ask(t, program, older, "ingest", filepath.Join(dir, "normal"+strconv.Itoa(n)), "normal", file)
				sameRows(t, got, rows)
				got = ask(t, program, older, "ingest", filepath.Join(dir, "behind"+strconv.Itoa(n)), "behind", file)
				sameRows(t, got, append(slices.Clone(older), rows[1000:]...))
			}
		}
	}
	out, err := exec.Command("sst_dump", "--file="+filepath.Join(dir, "1.sst"), "--command=verify").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "The file is ok") {
		t.Errorf("sst_dump: %v\n%s", err, out)
	}
}

// A directory written here is opened for reading and writing, written to, compacted and verified; its OPTIONS are read.
func TestRocksDBOpensOurDirectory(t *testing.T) {
	program := client(t)
	rows := pegasusRows(20000, 100)
	for i, compression := range []Compression{LZ4, Zstd, Uncompressed} {
		dir := t.TempDir()
		o := DirectoryOptions{Table: DefaultWriterOptions(), TargetSize: 256 << 10, LastSequence: 1000, Meta: map[string]string{
			MetaDataVersion: "1", MetaFlushedDecree: "20000", MetaCompactFinish: "0",
		}}
		o.Table.Compression, o.Table.BloomBits, o.Table.BloomHashKeys = compression, 10, i == 0
		files := writeDirectory(t, folder(dir), o, rows)
		if len(files) < 5 {
			t.Fatalf("only the files %v", files)
		}
		want := slices.Concat(rows, []row{{'M', MetaDataVersion, "1"}, {'M', MetaFlushedDecree, "20000"}, {'M', MetaCompactFinish, "0"}})
		options := ask(t, program, nil, "options", dir)
		if len(options) != 2 || options[0].key != DefaultFamily || !strings.HasPrefix(options[0].value, "6 ") || options[1].key != MetaFamily {
			t.Errorf("the OPTIONS file says %v", options)
		}
		sameRows(t, ask(t, program, nil, "open", dir, "ro"), want)
		if i == 0 {
			got := ask(t, program, nil, "open", dir, "prefix")
			if useful, _ := strconv.Atoi(got[0].key); useful < 900 {
				t.Errorf("the filter of hash keys helped in %d of 1000 cases", useful)
			}
		}
		sameRows(t, ask(t, program, nil, "open", dir, "rw"), want)
		out, err := exec.Command("ldb", "--db="+dir, "manifest_dump").CombinedOutput()
		if err != nil || !strings.Contains(string(out), MetaFamily) {
			t.Errorf("ldb: %v\n%s", err, out)
		}
	}
}

// Checkpoints of RocksDB after many kinds of changes give the same rows as RocksDB's own iterator.
func TestReadRocksDBCheckpoints(t *testing.T) {
	program := client(t)
	for i, form := range []string{"2 lz4 crc32c plain", "5 zstd xxh3 two", "4 snappy xxhash64 hash", "5 zlib crc32c deltas", "2 none crc32c bloom"} {
		dir := t.TempDir()
		changes := randomChanges(uint64(i), 4000)
		tail := slices.DeleteFunc(slices.Clone(changes[3000:]), func(r row) bool { return r.kind == 'C' })
		o := DefaultWriterOptions()
		o.External = true
		rows := pegasusRows(400, 10)[200:]
		file := filepath.Join(dir, "ingested.sst")
		if err := os.WriteFile(file, tableOf(t, append(rows, row{'R', rows[10].key, rows[90].key}), o), 0o600); err != nil {
			t.Fatal(err)
		}
		changes = slices.Concat(changes[:3000], []row{{'I', file, ""}}, tail)
		changes = append(changes, row{'M', MetaDataVersion, "1"})
		out := filepath.Join(dir, "checkpoint")
		want := ask(t, program, changes, append([]string{"db", filepath.Join(dir, "db"), out}, strings.Fields(form)...)...)
		c, err := OpenCheckpoint(t.Context(), folder(out))
		if err != nil {
			t.Fatal(err)
		}
		sameRows(t, append(rowsOf(t, c), row{'M', MetaDataVersion, "1"}), want)
		if v, err := c.DataVersion(t.Context()); v != 1 || err != nil {
			t.Errorf("data version %d: %v", v, err)
		}
	}
}

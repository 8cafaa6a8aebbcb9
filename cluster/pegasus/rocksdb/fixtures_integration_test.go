//go:build integration

package rocksdb

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestFixturesAreOfRocksDB has RocksDB read testdata, and compares with what the other tests expect of it.
func TestFixturesAreOfRocksDB(t *testing.T) {
	program := client(t)
	if *update {
		writeFixtures(t, program)
	}
	live := slices.DeleteFunc(fixtureRows(), func(r row) bool { return r.kind != 'P' })
	for _, form := range fixtures {
		sameRows(t, ask(t, program, nil, "dump", fixtureName(form)), live)
	}
	copied := filepath.Join(t.TempDir(), "checkpoint")
	if err := os.CopyFS(copied, os.DirFS("testdata/checkpoint")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("testdata/checkpoint.rows")
	if err != nil {
		t.Fatal(err)
	}
	sameRows(t, ask(t, program, nil, "open", copied, "ro"), parseRows(t, b))
}

func writeFixtures(t *testing.T, program string) {
	t.Helper()
	for _, form := range fixtures {
		ask(t, program, fixtureRows(), append([]string{"table", fixtureName(form)}, strings.Fields(form)...)...)
	}
	dir := t.TempDir()
	o := DefaultWriterOptions()
	o.External = true
	file := filepath.Join(dir, "ingested.sst")
	rows := pegasusRows(60, 8)[30:]
	if err := os.WriteFile(file, tableOf(t, append(rows, row{'R', rows[3].key, rows[9].key}), o), 0o600); err != nil {
		t.Fatal(err)
	}
	changes := slices.DeleteFunc(randomChanges(11, 700), func(r row) bool { return r.kind == 'C' })
	changes = slices.Concat([]row{{'M', MetaDataVersion, "1"}}, changes[:400], []row{{'C', "", ""}}, changes[400:550], []row{{'I', file, ""}}, changes[550:])
	if err := os.RemoveAll("testdata/checkpoint"); err != nil {
		t.Fatal(err)
	}
	got := ask(t, program, changes, "db", filepath.Join(dir, "db"), "testdata/checkpoint", "2", "lz4", "crc32c", "plain")
	var b []byte
	for _, r := range got {
		b = appendRow(b, r)
	}
	if err := os.WriteFile("testdata/checkpoint.rows", b, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := OpenCheckpoint(t.Context(), folder("testdata/checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("testdata/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries { // logs and options are not read
		if !slices.Contains(c.Files(), e.Name()) {
			if err := os.Remove(filepath.Join("testdata/checkpoint", e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// RocksDB ingests every table that a split writes, each into the partition it is for, in every way a split goes.
func TestRocksDBIngestsASplit(t *testing.T) {
	program := client(t)
	rows := pegasusRows(6000, 60)
	for _, n := range [][2]int{{2, 4}, {4, 2}, {4, 6}} {
		dir, g := t.TempDir(), newTarget()
		s := splitCheckpoints(t, program, rows, n[0], n[1])
		s.Temp = filepath.Join(dir, "temp")
		s.Output = func(i int) Sink { return folder(filepath.Join(dir, "out", TableName(uint64(i)))) }
		s.Record = g.record
		if _, err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{"normal", "behind"} {
			if err := os.Mkdir(filepath.Join(dir, mode), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		var all []row
		for i := range n[1] {
			var files []string
			for _, f := range g.done[Piece{Partition: i}.String()].Files {
				files = append(files, filepath.Join(dir, "out", TableName(uint64(i)), f.Name))
			}
			if len(files) < 2 {
				t.Errorf("partition %d: only the files %v", i, files)
			}
			for _, mode := range []string{"normal", "behind"} {
				got := ask(t, program, nil, append([]string{"ingest", filepath.Join(dir, mode, TableName(uint64(i))), mode}, files...)...)
				for _, r := range got {
					if partitionOf(t, r.key, n[1]) != i {
						t.Fatalf("%q is in partition %d", r.key, i)
					}
				}
				if mode == "normal" {
					all = append(all, got...)
				}
			}
		}
		slices.SortFunc(all, func(a, b row) int { return strings.Compare(a.key, b.key) })
		sameRows(t, all, rows)
	}
}

// splitCheckpoints has RocksDB write each source partition, with old versions and deletions below what is visible.
func splitCheckpoints(t *testing.T, program string, rows []row, sources, targets int) *Split {
	dir, o := t.TempDir(), DefaultWriterOptions()
	o.BlockSize = 1024
	forms := []string{"2 lz4 crc32c plain", "5 zstd xxh3 plain"}
	opened := make([]*Checkpoint, sources)
	for i := range sources {
		var changes []row
		for j, r := range rows {
			if partitionOf(t, r.key, sources) != i {
				continue
			}
			if j%5 == 0 {
				changes = append(changes, row{'P', r.key, "an older value"}, row{'P', r.key + "gone", "x"}, row{'D', r.key + "gone", ""})
			}
			if j%400 == 0 {
				changes = append(changes, row{'F', "", ""})
			}
			changes = append(changes, r)
		}
		out := filepath.Join(dir, TableName(uint64(i)))
		ask(t, program, changes, append([]string{"db", out + ".db", out}, strings.Fields(forms[i%2])...)...)
		c, err := OpenCheckpoint(t.Context(), folder(out))
		if err != nil {
			t.Fatal(err)
		}
		opened[i] = c
	}
	return &Split{
		Sources: sources, Targets: targets, Table: o, TargetSize: 32 << 10, FillEmpty: true,
		Open: func(ctx context.Context, i int) (Rows, error) {
			return opened[i].NewIterator(ctx, IterOptions{})
		},
	}
}

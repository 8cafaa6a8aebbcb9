package engine

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// writerDir makes the test binary a writer that is meant to be killed.
const writerDir = "ENGINE_TEST_WRITER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		writeForEver(dir)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{MemTable: 1 << 20, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(s *Store, key, value string) error {
	b := s.NewBatch()
	if err := b.Set([]byte(key), []byte(value), nil); err != nil {
		return err
	}
	return s.Apply(b)
}

func valueOf(i int) string { return strings.Repeat(strconv.Itoa(i), 20) }

// writeForEver acknowledges each row on standard output after the store has acknowledged it.
func writeForEver(dir string) {
	s, err := Open(dir, Options{MemTable: 256 << 10})
	if err != nil {
		panic(err)
	}
	var lock sync.Mutex
	for worker := range 4 {
		go func() {
			for i := worker; ; i += 4 {
				if err := put(s, fmt.Sprintf("row%08d", i), valueOf(i)); err != nil {
					panic(err)
				}
				lock.Lock()
				fmt.Println(i)
				lock.Unlock()
			}
		}()
	}
	select {}
}

func TestAcknowledgedRowsSurviveKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var acknowledged []int
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		i, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		// Killed while it writes; what it printed before it died is read to the end.
		if acknowledged = append(acknowledged, i); len(acknowledged) == 5000 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(acknowledged) < 5000 {
		t.Fatalf("the writer ended by itself after %d rows: %v", len(acknowledged), err)
	}
	s := open(t, dir)
	defer s.Close()
	for _, i := range acknowledged {
		if got, err := s.Read(fmt.Appendf(nil, "row%08d", i)); err != nil || string(got) != valueOf(i) {
			t.Fatalf("row %d was acknowledged, and is %q: %v", i, got, err)
		}
	}
}

func TestBatchCarriedToAnotherStore(t *testing.T) {
	a, b := open(t, t.TempDir()), open(t, t.TempDir())
	defer a.Close()
	defer b.Close()
	batch := a.NewBatch()
	for i := range 100 {
		if err := batch.Set(fmt.Appendf(nil, "k%02d", i), []byte(valueOf(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Delete([]byte("k50"), nil); err != nil {
		t.Fatal(err)
	}
	copied, err := b.BatchOf(append([]byte{}, batch.Repr()...))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Apply(batch), b.Apply(copied)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{a, b} {
		if _, err := s.Read([]byte("k50")); !errors.Is(err, ErrNotFound) {
			t.Errorf("the deleted key answers %v", err)
		}
		iter, err := s.Iterate([]byte("k10"), []byte("k20"))
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for ok := iter.First(); ok; ok = iter.Next() {
			rows++
		}
		if err := iter.Close(); err != nil || rows != 10 {
			t.Errorf("k10 to k20: %d rows, %v", rows, err)
		}
	}
	if _, err := a.BatchOf([]byte("short")); err == nil {
		t.Error("a batch of five bytes was taken")
	}
}

func TestSnapshotStaysAsItWas(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	if err := put(s, "a", "1"); err != nil {
		t.Fatal(err)
	}
	snapshot := s.Snapshot()
	if err := errors.Join(put(s, "a", "2"), put(s, "b", "2")); err != nil {
		t.Fatal(err)
	}
	iter, err := IterateSnapshot(snapshot, []byte("a"), After([]byte("b")))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for ok := iter.First(); ok; ok = iter.Next() {
		seen = append(seen, string(iter.Key())+string(iter.Value()))
	}
	if err := errors.Join(iter.Close(), snapshot.Close()); err != nil {
		t.Fatal(err)
	}
	if strings.Join(seen, " ") != "a1" {
		t.Errorf("the snapshot holds %v", seen)
	}
}

func TestOneStoreOneProcess(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	if again, err := Open(dir, Options{}); err == nil {
		again.Close()
		t.Error("an open store was opened again")
	}
}

func TestAfter(t *testing.T) {
	for in, want := range map[string]string{"a": "b", "a\xff": "b", "\xff\xff": "", "a\x00": "a\x01"} {
		if got := string(After([]byte(in))); got != want {
			t.Errorf("After(%q) = %q, want %q", in, got, want)
		}
	}
}

//go:build integration && linux

package main_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// TestSplitKilled kills the shell at random moments while it splits a backup, into a number of partitions that divides and
// one that does not, which needs temporary files. What is there in the end is byte for byte what one run makes.
func TestSplitKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	l := newCopyLab(t)
	l.run(0, "backup "+labTable+" disk --yes")
	text, err := os.ReadFile(l.s.config)
	disk := regexp.MustCompile(`(?m)^\[block_service\.disk\]\ntype = local_service\nargs = "(.*)"$`).FindSubmatch(text)
	if err != nil || disk == nil {
		t.Fatalf("%v: no service disk in %s", err, text)
	}
	for i, partitions := range []string{"16", "12 --force"} {
		line := func(to, more string) string {
			return fmt.Sprintf("split_backup disk:/ disk:/%s --table other --app-id 7 --partitions %s --yes %s", to, partitions, more)
		}
		whole, killed := fmt.Sprint("whole", i), fmt.Sprint("killed", i)
		l.run(0, line(whole, ""))
		l.home = t.TempDir() // where the split is the first job
		lines := []string{line(killed, "--max-rate 20000rows/s")}
		resumed := 0
		for range 5 {
			run := l.start(lines...)
			time.Sleep(time.Duration(100+r.IntN(900)) * time.Millisecond)
			run.cmd.Process.Kill()
			_ = run.cmd.Wait()
			if run.cmd.ProcessState.Success() {
				break // it was quicker than the last moment
			}
			if _, found := l.show(); found {
				lines = []string{"job resume j1"}
				resumed++
			}
		}
		if resumed == 0 {
			t.Fatal("no kill left a job")
		}
		if j, _ := l.show(); j.State != "done" {
			l.run(0, lines...)
		}
		want, got := sums(t, filepath.Join(string(disk[1]), whole)), sums(t, filepath.Join(string(disk[1]), killed))
		if len(want) < 12 {
			t.Fatalf("there are %d files", len(want))
		}
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s: %s is %s, and of one run %s", partitions, name, got[name], want[name])
			}
		}
		for name := range got {
			if want[name] == "" {
				t.Errorf("%s: there is %s besides", partitions, name)
			}
		}
	}
}

// sums are the files below a folder.
func sums(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rest, _ := filepath.Rel(folder, path)
		all[rest] = fmt.Sprintf("%d bytes, %x", len(data), sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

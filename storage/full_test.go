//go:build linux

package storage_test

import (
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"shardsh/commands/spec"
	"shardsh/storage"
	"shardsh/storage/storagetest"
)

// smallFiles makes this test's own program, run again, one that can write no file larger than 1 MiB.
const smallFiles = "SHARDSH_TEST_SMALL_FILES"

// What cannot be written for want of room leaves nothing behind.
func TestLocalFull(t *testing.T) {
	if os.Getenv(smallFiles) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLocalFull$")
		cmd.Env = append(os.Environ(), smallFiles+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	const limit = 1 << 20
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	fullDisk(t, t.TempDir(), 2*limit)
}

// fullDisk writes a file that does not fit, over one that does.
func fullDisk(t *testing.T, dir string, size int) {
	t.Helper()
	s := openLocal(t, dir, "")
	storagetest.Write(t, s, "d/f", []byte("whole"))
	err := storage.WriteFile(t.Context(), s, "d/f", storagetest.Bytes(size, 1))
	storagetest.Want(t, err, spec.Failed, storage.NoSpace)
	err = storage.WriteFile(t.Context(), s, "other/f", storagetest.Bytes(size, 1))
	storagetest.Want(t, err, spec.Failed, storage.NoSpace)
	if got, err := storage.ReadFile(t.Context(), s, "d/f", 10); string(got) != "whole" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got := storagetest.Names(t, openLocal(t, dir, "none"), ""); !slices.Equal(got, []string{"d/.f.meta", "d/f"}) {
		t.Errorf("left behind: %q", got)
	}
}

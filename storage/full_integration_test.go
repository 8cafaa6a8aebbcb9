//go:build integration && linux

package storage_test

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A file system that is really full: 4 MiB of memory. Where one may not mount there is none, and a bound on the size of
// files stands for it (TestLocalFull).
func TestRealLocalFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("mount a file system: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	fullDisk(t, dir, 8<<20)
}

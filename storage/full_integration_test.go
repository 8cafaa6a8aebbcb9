//go:build integration && linux

package storage_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"shardsh/storage"
	"shardsh/storage/storagetest"
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
	s := openLocal(t, dir, "")
	room := func() storage.Room {
		t.Helper()
		r, err := storage.RoomOf(t.Context(), s, "d")
		if err != nil || r.Total != 4<<20 || r.Copies != 1 || r.Bound != "" {
			t.Errorf("%+v, %v", r, err)
		}
		return r
	}
	if r := room(); r.Free != 4<<20 {
		t.Errorf("%d bytes are free of what is empty", r.Free)
	}
	fullDisk(t, dir, 8<<20)
	before := room().Free
	storagetest.Write(t, s, "d/g", storagetest.Bytes(1<<20, 1))
	if took := before - room().Free; took < 1<<20 || took > 1<<20+64<<10 {
		t.Errorf("a file of 1 MiB took %d bytes of the room", took)
	}
}

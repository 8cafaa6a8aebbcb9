package engine

import (
	"github.com/cockroachdb/pebble/v2/vfs"
)

// unsyncedFS is a file system whose files are never synced. Pebble acknowledges a synchronous commit after it wrote
// the log and synced it; with a sync that does nothing, that is after write(2) returned, when the bytes belong to the
// kernel and outlive the process.
type unsyncedFS struct{ vfs.FS }

func (fs unsyncedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return unsynced(fs.FS.Create(name, category))
}

func (fs unsyncedFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	return unsynced(fs.FS.OpenReadWrite(name, category, options...))
}

func (fs unsyncedFS) OpenDir(name string) (vfs.File, error) {
	return unsynced(fs.FS.OpenDir(name))
}

func (fs unsyncedFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return unsynced(fs.FS.ReuseForWrite(oldname, newname, category))
}

func (fs unsyncedFS) Unwrap() vfs.FS { return fs.FS }

func unsynced(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error     { return nil }
func (unsyncedFile) SyncData() error { return nil }

func (unsyncedFile) SyncTo(int64) (fullSync bool, err error) { return false, nil }

// Fd hides the descriptor, so that nothing above syncs through it.
func (unsyncedFile) Fd() uintptr { return vfs.InvalidFd }

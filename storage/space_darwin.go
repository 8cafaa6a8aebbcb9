package storage

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// diskRoom asks the file system that holds a path for its bytes: what is free for everybody, and all.
func diskRoom(name string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

package storage

import (
	"errors"
	"io/fs"
	"syscall"

	"golang.org/x/sys/windows"
)

// diskFull knows ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL.
func diskFull(err error) bool {
	return errors.Is(err, syscall.Errno(112)) || errors.Is(err, syscall.Errno(39))
}

// diskRoom asks the volume that holds a path for its bytes: what this user may still have of it, and all.
func diskRoom(name string) (free, total uint64, err error) {
	text, err := windows.UTF16PtrFromString(name)
	if err == nil {
		err = windows.GetDiskFreeSpaceEx(text, &free, &total, nil)
	}
	if err != nil {
		return 0, 0, &fs.PathError{Op: "GetDiskFreeSpaceEx", Path: name, Err: err}
	}
	return free, total, nil
}

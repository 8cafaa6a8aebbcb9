package storage

import (
	"os"

	"golang.org/x/sys/windows"
)

// lock takes a file for this process, or says that another has it. Closing the file gives it up.
func lock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
}

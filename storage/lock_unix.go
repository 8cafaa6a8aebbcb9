//go:build unix

package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock takes a file for this process, or says that another has it. Closing the file gives it up.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

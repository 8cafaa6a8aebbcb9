//go:build unix

package sandbox

import (
	"os"
	"syscall"
)

// wake has a process go on that somebody has stopped.
func wake(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

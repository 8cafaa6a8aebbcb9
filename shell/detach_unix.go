//go:build unix

package shell

import (
	"os/exec"
	"syscall"
)

// detach gives the child a session of its own: it is out of reach of the terminal's signals and outlives the shell.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

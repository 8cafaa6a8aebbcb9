package sandbox

import (
	"os/exec"
	"syscall"
)

// detach gives the child a session of its own, away from the terminal's signals, and a signal when its parent dies.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
}

package sandbox

import (
	"os/exec"
	"syscall"
)

// detach gives the child a session of its own, away from the terminal's signals, and a signal when its parent dies:
// hard is one that ends even a child that was stopped.
func detach(cmd *exec.Cmd, hard bool) {
	signal := syscall.SIGTERM
	if hard {
		signal = syscall.SIGKILL
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: signal}
}

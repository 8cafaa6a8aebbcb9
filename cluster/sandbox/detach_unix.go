//go:build unix && !linux

package sandbox

import (
	"os/exec"
	"syscall"
)

// detach gives the child a session of its own, away from the terminal's signals.
func detach(cmd *exec.Cmd, _ bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}

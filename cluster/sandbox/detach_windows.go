package sandbox

import (
	"os/exec"
	"syscall"
)

// detach gives the child a process group of its own, away from the console's Ctrl-C.
func detach(cmd *exec.Cmd, _ bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

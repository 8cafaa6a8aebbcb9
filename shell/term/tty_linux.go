package term

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	reqGetModes      = unix.TCGETS
	reqSetModes      = unix.TCSETS
	reqSetModesFlush = unix.TCSETSF
	modeUTF8         = unix.IUTF8 // the kernel erases whole runes
	noKey            = 0          // _POSIX_VDISABLE
)

// waitReadable waits until either descriptor can be read or has ended.
func waitReadable(fd, wake int, timeout time.Duration) (tty, woken bool) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, int(timeout.Milliseconds())); n <= 0 || err != nil {
		return false, false
	}
	return fds[0].Revents != 0, fds[1].Revents != 0
}

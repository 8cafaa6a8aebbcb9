//go:build unix && !linux

package term

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	reqGetModes      = unix.TIOCGETA
	reqSetModes      = unix.TIOCSETA
	reqSetModesFlush = unix.TIOCSETAF
	modeUTF8         = 0    // not all of them have it
	noKey            = 0xff // _POSIX_VDISABLE
)

// waitReadable waits until either descriptor can be read or has ended. It is select and not poll because poll of
// macOS does not know terminals.
func waitReadable(fd, wake int, timeout time.Duration) (tty, woken bool) {
	if max(fd, wake) >= unix.FD_SETSIZE {
		time.Sleep(timeout)
		return true, false
	}
	var set unix.FdSet
	set.Set(fd)
	set.Set(wake)
	limit := unix.NsecToTimeval(timeout.Nanoseconds())
	if n, err := unix.Select(max(fd, wake)+1, &set, nil, nil, &limit); n <= 0 || err != nil {
		return false, false
	}
	return set.IsSet(fd), set.IsSet(wake)
}

//go:build unix

package term

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// isHangup: the terminal is gone, or belongs to somebody else and will not come back (an orphaned background group).
func isHangup(err error) bool { return errors.Is(err, unix.EIO) || errors.Is(err, unix.ENXIO) }

func getModes(fd int) (unix.Termios, error) {
	modes, err := retry(func() (*unix.Termios, error) { return unix.IoctlGetTermios(fd, reqGetModes) })
	if err != nil {
		return unix.Termios{}, err
	}
	return *modes, nil
}

// setModes takes a copy: the modes found at the start must stay what they are.
func setModes(fd int, modes unix.Termios, request uint) error {
	_, err := retry(func() (struct{}, error) { return struct{}{}, unix.IoctlSetTermios(fd, request, &modes) })
	return err
}

// rawModes gives every key to the reader, unechoed. Output processing stays, so that "\n" still begins a new line.
func rawModes(modes unix.Termios) unix.Termios {
	modes.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	modes.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	modes.Cflag &^= unix.CSIZE | unix.PARENB
	modes.Cflag |= unix.CS8
	modes.Cc[unix.VMIN], modes.Cc[unix.VTIME] = 1, 0
	return modes
}

// suspendKey is Ctrl-Z, which a keyWatch must hear of before it stops the process.
const suspendKey = 0x1a

// keyModes gives every key to the reader at once and unechoed, except for those that end what runs: they are signals still.
func keyModes(modes unix.Termios) unix.Termios {
	if modes.Cc[unix.VSUSP] == suspendKey {
		modes.Cc[unix.VSUSP] = noKey
	}
	modes.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON
	modes.Cc[unix.VMIN], modes.Cc[unix.VTIME] = 1, 0
	return modes
}

// hiddenModes reads whole lines without showing them, except for the line end.
func hiddenModes(modes unix.Termios) unix.Termios {
	modes = askingModes(modes)
	modes.Lflag &^= unix.ECHO
	modes.Lflag |= unix.ECHONL
	return modes
}

// askingModes reads whole lines, with echo, whatever the terminal was set to.
func askingModes(modes unix.Termios) unix.Termios {
	modes.Lflag |= unix.ECHO | unix.ICANON | unix.ISIG
	modes.Iflag |= unix.ICRNL | modeUTF8
	return modes
}

func windowSize(fd int) (columns, rows int) {
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return 80, 24 // a terminal that does not say (serial lines, some containers) is a VT100
	}
	return int(size.Col), int(size.Row)
}

func readTTY(fd int, buf []byte) (int, error) {
	return retry(func() (int, error) { return unix.Read(fd, buf) })
}

// retry repeats a call that a signal interrupted.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

// wakePipe ends a wait for the terminal from elsewhere.
func wakePipe() (r, w int, err error) {
	var fds [2]int
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(fds[:]); err != nil {
		return 0, 0, err
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return 0, 0, err
		}
	}
	return fds[0], fds[1], nil
}

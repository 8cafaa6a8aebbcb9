//go:build unix

package sandbox

import (
	"net"
	"os"
	"path/filepath"
)

// listenPrivate listens on a socket that is never open to others, not even for a moment: it is made in a private
// directory and moved to its place.
func listenPrivate(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	hidden := filepath.Join(dir, "s")
	if len(hidden) > maxSocketPath {
		return net.Listen("unix", path)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	if err := os.Chmod(hidden, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	if err := os.Rename(hidden, path); err != nil {
		listener.Close()
		return nil, err
	}
	return unlinking{listener, path}, nil
}

// unlinking removes the socket's file when it is closed.
type unlinking struct {
	net.Listener
	path string
}

func (l unlinking) Close() error {
	_ = os.Remove(l.path) // first, so that whoever finds the file is answered
	return l.Listener.Close()
}

// Package listen is what the servers of all emulators do with their ports: take connections, and be gone as the death
// of a process has them gone.
package listen

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// Each hands over every connection that comes until the listener is closed.
func Each(listener net.Listener, take func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(5 * time.Millisecond) // out of descriptors, or a connection gone before it was accepted
		default:
			take(conn)
		}
	}
}

// Close has nobody listen on the address once it returns. Closing the descriptor alone does not: a process that this one
// is just starting has a copy of it until it is the program it shall be, and connections are made all the while. What
// was closed before stays closed.
func Close(listener net.Listener) error {
	if raw, ok := listener.(syscall.Conn); ok {
		if conn, err := raw.SyscallConn(); err == nil {
			_ = conn.Control(shutdown) // what cannot be shut down is closed as soon as nobody has a copy
		}
	}
	if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Reset has a connection end with a reset when it is closed, as those of a killed process do.
func Reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

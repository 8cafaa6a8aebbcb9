//go:build linux

package listen

import (
	"io"
	"net"
	"testing"
)

// With a copy of the socket in other hands, as a process has one that is being started, the address is free at once all
// the same.
func TestClosedAtOnce(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.77.0.1:0") // where nobody else takes the port
	if err != nil {
		t.Fatal(err)
	}
	copied, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Each(listener, func(conn net.Conn) {
			_, _ = io.ReadFull(conn, make([]byte, 1)) // else its client may not even be connected
			Reset(conn)
			_ = conn.Close()
		})
	}()
	address := listener.Addr().String()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("the connection ended without a reset")
	}
	_ = conn.Close()
	if err := Close(listener); err != nil {
		t.Error(err)
	}
	<-ended
	if conn, err := net.Dial("tcp4", address); err == nil {
		_ = conn.Close()
		t.Error("somebody listens")
	}
	again, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := Close(listener); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

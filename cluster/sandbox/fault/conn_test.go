package fault

import (
	"io"
	"net"
	"testing"
	"time"
)

// What stands in the way of a connection holds bytes up in both directions, and loses none.
func TestHold(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	gate := &Gate{}
	conn := Hold(near, gate.Pass)
	gate.Pause()
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write([]byte("out"))
		sent <- err
	}()
	_ = far.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := far.Read(make([]byte, 3)); n != 0 || err == nil {
		t.Errorf("%d bytes passed a shut gate", n)
	}
	received := make(chan string, 1)
	go func() {
		b := make([]byte, 2)
		_, err := io.ReadFull(conn, b)
		received <- string(b)
		if err != nil {
			t.Error(err)
		}
	}()
	if _, err := far.Write([]byte("in")); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-received:
		t.Errorf("%q was seen through a shut gate", got)
	default:
	}
	gate.Resume()
	_ = far.SetReadDeadline(time.Time{})
	b := make([]byte, 3)
	if _, err := io.ReadFull(far, b); err != nil || string(b) != "out" {
		t.Errorf("%q, %v", b, err)
	}
	if got, err := <-received, <-sent; got != "in" || err != nil {
		t.Errorf("%q, %v", got, err)
	}

	gate.Pause()
	go func() {
		_, err := conn.Write([]byte("never"))
		sent <- err
	}()
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if err := <-sent; err == nil {
		t.Error("a write to a closed connection passed")
	}
}

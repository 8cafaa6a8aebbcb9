package fault

import (
	"net"
	"sync"
)

// Hold puts something in the way of a connection. Before bytes leave, and before those that came are seen, pass is
// waited for; it ends with false when its channel is closed, which Close does. Nothing is lost: what was held up arrives
// later, as it does when a network is mended.
func Hold(conn net.Conn, pass func(ended <-chan struct{}) bool) net.Conn {
	return &held{Conn: conn, pass: pass, ended: make(chan struct{})}
}

type held struct {
	net.Conn
	pass  func(ended <-chan struct{}) bool
	once  sync.Once
	ended chan struct{}
}

func (h *held) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if !h.pass(h.ended) {
		return 0, net.ErrClosed
	}
	return n, err
}

func (h *held) Write(b []byte) (int, error) {
	if !h.pass(h.ended) {
		return 0, net.ErrClosed
	}
	return h.Conn.Write(b)
}

func (h *held) Close() error {
	h.once.Do(func() { close(h.ended) })
	return h.Conn.Close()
}

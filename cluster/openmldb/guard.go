package openmldb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// guard is a connection to ZooKeeper that lets through only packets that the client behind it can read: it believes
// the lengths and counts it is sent, so that a server that lies could make it allocate any amount, or end the program.
type guard struct {
	net.Conn
	gone func(net.Conn)

	greeted bool
	left    []byte // of a packet that was looked at

	mu   sync.Mutex
	asks map[int32]int32 // what was asked, by number
}

// Bounds of what ZooKeeper sends. It refuses to keep a node of 1 MiB (jute.maxbuffer); a list of children may be longer.
const (
	maxPacket   = 16 << 20
	maxGreeting = 256
	maxAsks     = 1 << 16
)

// What is asked, and the numbers of packets that answer nothing (ZooKeeper: ZooDefs.OpCode, ClientCnxn).
const (
	opGetData      = 4
	opExists       = 3
	opPing         = 11
	opGetChildren2 = 12
	opSetAuth      = 100
	opSetWatches   = 101
	opClose        = -11

	xidEvent = -1
	xidPing  = -2
)

// statSize is how long the description of a node is.
const statSize = 68

var errZooKeeper = errors.New("it does not speak as a ZooKeeper does")

func newGuard(c net.Conn, gone func(net.Conn)) *guard {
	return &guard{Conn: c, gone: gone, asks: map[int32]int32{}}
}

func (g *guard) Close() error {
	g.gone(g)
	return g.Conn.Close()
}

// Write takes note of what is asked. The client writes a packet at a time.
func (g *guard) Write(b []byte) (int, error) {
	if len(b) >= 12 {
		xid, op := int32(binary.BigEndian.Uint32(b[4:])), int32(binary.BigEndian.Uint32(b[8:]))
		g.mu.Lock()
		if xid > 0 && len(g.asks) < maxAsks {
			g.asks[xid] = op
		}
		g.mu.Unlock()
	}
	return g.Conn.Write(b)
}

func (g *guard) Read(b []byte) (int, error) {
	if len(g.left) == 0 {
		packet, err := g.packet()
		if err != nil {
			return 0, err
		}
		g.left = packet
	}
	n := copy(b, g.left)
	g.left = g.left[n:]
	return n, nil
}

// packet reads a packet and looks at it; what it answers begins with the length.
func (g *guard) packet() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(g.Conn, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	limit := uint32(maxPacket)
	if !g.greeted {
		limit = maxGreeting
	}
	if size > limit {
		return nil, fmt.Errorf("%w: a packet of %d bytes", errZooKeeper, size)
	}
	packet := make([]byte, 4+size)
	copy(packet, head[:])
	if _, err := io.ReadFull(g.Conn, packet[4:]); err != nil {
		return nil, err
	}
	ok := false
	if g.greeted {
		ok = g.reply(packet[4:])
	} else {
		ok = greeting(packet[4:])
		g.greeted = true
	}
	if !ok {
		return nil, errZooKeeper
	}
	return packet, nil
}

// greeting looks at the beginning of a session: version, timeout, id, password, and whether it only reads.
func greeting(b []byte) bool {
	if len(b) < 20 {
		return false
	}
	timeout := time.Duration(int32(binary.BigEndian.Uint32(b[4:]))) * time.Millisecond
	rest, ok := buffer(b[16:])
	// No session has the number 0, and then the timeout is 0, too.
	expired := binary.BigEndian.Uint64(b[8:]) == 0
	return ok && len(rest) <= 1 && (expired || timeout >= 10*time.Millisecond && timeout <= 24*time.Hour)
}

// reply looks at an answer, or an event: number, transaction, error, and what was asked for.
func (g *guard) reply(b []byte) bool {
	if len(b) < 16 {
		return false
	}
	xid, failed, rest := int32(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[12:]) != 0, b[16:]
	switch {
	case xid == xidPing:
		return true
	case xid == xidEvent:
		if len(rest) < 8 {
			return false
		}
		_, ok := text(rest[8:]) // after what happened, and in which state
		return ok
	case xid < 0:
		return false
	}
	g.mu.Lock()
	op, asked := g.asks[xid]
	delete(g.asks, xid)
	g.mu.Unlock()
	switch {
	case !asked:
		return false
	case failed:
		return true
	}
	ok := true
	switch op {
	case opGetData:
		rest, ok = buffer(rest)
		return ok && len(rest) >= statSize
	case opGetChildren2:
		rest, ok = texts(rest)
		return ok && len(rest) >= statSize
	case opExists:
		return len(rest) >= statSize
	case opSetAuth, opSetWatches, opPing, opClose:
		return true
	}
	return false
}

// buffer passes over bytes with their length before them; -1 is none.
func buffer(b []byte) (rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, false
	}
	n := int64(int32(binary.BigEndian.Uint32(b)))
	b = b[4:]
	switch {
	case n == -1:
		return b, true
	case n < 0 || n > int64(len(b)):
		return nil, false
	}
	return b[n:], true
}

// text is buffer for what may not be missing.
func text(b []byte) (rest []byte, ok bool) {
	if len(b) >= 4 && int32(binary.BigEndian.Uint32(b)) < 0 {
		return nil, false
	}
	return buffer(b)
}

// texts passes over a list of texts.
func texts(b []byte) (rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, false
	}
	n := int64(int32(binary.BigEndian.Uint32(b)))
	if b = b[4:]; n < 0 || n > int64(len(b)/4) {
		return nil, false
	}
	for ; n > 0; n-- {
		if b, ok = text(b); !ok {
			return nil, false
		}
	}
	return b, true
}

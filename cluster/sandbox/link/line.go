package link

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"shardsh/cluster/sandbox/listen"
)

// Token is what processes of one sandbox know each other by: where there are no unix sockets, anybody on the machine
// could connect.
type Token [16]byte

// NewToken makes a token that nobody can guess.
func NewToken() Token {
	var t Token
	_, _ = rand.Read(t[:]) // never fails
	return t
}

const (
	unixPrefix = "unix:"
	tcpPrefix  = "tcp:"

	dialWithin  = 3 * time.Second
	greetWithin = 3 * time.Second
)

// Listen listens on a unix socket in the directory a process works in, so that its path is never too long, or on
// loopback where there are none. What an earlier process left under the name is replaced. The address is for lines of
// processes that work in the same directory.
func Listen(name string) (listener net.Listener, address string, err error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	if listener, err = net.Listen("unix", name); err == nil {
		return listener, unixPrefix + name, os.Chmod(name, 0o600)
	}
	if listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return nil, "", err
	}
	return listener, tcpPrefix + listener.Addr().String(), nil
}

// Answer answers everybody who knows the token until the listener is closed.
func Answer(listener net.Listener, token Token, service Service, errs []error) {
	listen.Each(listener, func(conn net.Conn) {
		go func() {
			var told Token
			_ = conn.SetReadDeadline(time.Now().Add(greetWithin))
			if _, err := io.ReadFull(conn, told[:]); err != nil || subtle.ConstantTimeCompare(told[:], token[:]) != 1 {
				_ = conn.Close()
				return
			}
			_ = conn.SetReadDeadline(time.Time{})
			Open(conn, service, errs)
		}()
	})
}

// Line is a connection that is made when it is first needed, and again after it ended. A call on it that is not
// answered in time ends the connection, and with it all others under way.
type Line struct {
	address string
	token   Token
	errs    []error

	mu   sync.Mutex
	conn *Conn
	cut  error // why it is cut
}

// NewLine makes a line to an address that Listen answered in another process.
func NewLine(address string, token Token, errs []error) *Line {
	return &Line{address: address, token: token, errs: errs}
}

// Address is where the line leads.
func (l *Line) Address() string { return l.address }

// Conn is the line's connection.
func (l *Line) Conn() (*Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut != nil {
		return nil, l.cut
	}
	if l.conn != nil {
		select {
		case <-l.conn.Done():
		default:
			return l.conn, nil
		}
	}
	network, address := "tcp4", strings.TrimPrefix(l.address, tcpPrefix)
	if name, ok := strings.CutPrefix(l.address, unixPrefix); ok {
		network, address = "unix", name
	}
	conn, err := net.DialTimeout(network, address, dialWithin)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(greetWithin))
	if _, err := conn.Write(l.token[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrLost, err), conn.Close())
	}
	l.conn = Open(conn, nil, l.errs)
	l.conn.fragile = true
	return l.conn, nil
}

// Cut ends the line for good: calls under way fail with ErrLost, and Conn with the error given.
func (l *Line) Cut(why error) {
	l.mu.Lock()
	if l.cut == nil {
		l.cut = why
	}
	conn := l.conn
	l.mu.Unlock()
	if conn != nil {
		conn.Close(why)
	}
}

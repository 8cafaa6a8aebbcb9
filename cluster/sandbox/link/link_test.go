package link

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// within is long enough for whatever a test waits for.
const within = 30 * time.Second

var (
	errFull  = errors.New("it is full")
	errOther = errors.New("something else")
	known    = []error{errOther, errFull}
)

// shelf is a server of the tests.
type shelf struct {
	mu     sync.Mutex
	things []string
	hold   chan struct{} // what wait waits for
}

func (s *shelf) add(thing string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch thing {
	case "too much":
		return 0, errFull
	case "far too much":
		return 0, fmt.Errorf("for %s: %w", thing, errFull)
	case "strange":
		return 0, errors.New("nobody knows this error")
	}
	s.things = append(s.things, thing)
	return len(s.things), nil
}

var (
	callAdd   = New("add", (*shelf).add)
	callOrder = New("order", (*shelf).add).InOrder()
	callEcho  = New("echo", func(_ *shelf, b []byte) ([]byte, error) { return b, nil })
	callWait  = New("wait", func(s *shelf, _ None) (None, error) {
		<-s.hold
		return false, nil
	})
	callNobody = New("nobody", (*shelf).add) // is not served
)

func (s *shelf) service() Service {
	return Serve(func() (*shelf, error) { return s, nil }, callAdd, callOrder, callEcho, callWait)
}

// pair is two ends of a connection; the second one answers.
func pair(t *testing.T, s *shelf) (asks, answers *Conn) {
	t.Helper()
	a, b := net.Pipe()
	asks, answers = Open(a, nil, known), Open(b, s.service(), known)
	t.Cleanup(func() {
		asks.Close(io.EOF)
		answers.Close(io.EOF)
	})
	return asks, answers
}

func TestCalls(t *testing.T) {
	s := &shelf{}
	c, _ := pair(t, s)
	if n, err := callAdd.Do(c, within, "book"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for thing, want := range map[string]error{"too much": errFull, "far too much": errFull, "strange": nil} {
		_, err := callAdd.Do(c, within, thing)
		if err == nil || want != nil && !errors.Is(err, want) || errors.Is(err, errOther) || errors.Is(err, ErrLost) {
			t.Errorf("%s: %v", thing, err)
		}
		if thing == "far too much" && err.Error() != "for far too much: it is full" {
			t.Errorf("it says %q", err)
		}
	}
	if _, err := callNobody.Do(c, within, "x"); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a call that is not served: %v", err)
	}
	big := bytes.Repeat([]byte("0123456789"), 1<<20)
	if got, err := callEcho.Do(c, within, big); err != nil || !bytes.Equal(got, big) {
		t.Errorf("%d bytes came back as %d: %v", len(big), len(got), err)
	}
	if got, err := callEcho.Do(c, within, nil); err != nil || len(got) != 0 {
		t.Errorf("nothing came back as %d bytes: %v", len(got), err)
	}
}

// Many calls from many goroutines are under way at once, and each gets its own answer.
func TestCallsTogether(t *testing.T) {
	s := &shelf{hold: make(chan struct{})}
	c, _ := pair(t, s)
	waiting := callWait.Start(c, false)
	var asked sync.WaitGroup
	for i := range 50 {
		asked.Go(func() {
			for k := range 50 {
				text := fmt.Appendf(nil, "%d.%d", i, k)
				if got, err := callEcho.Do(c, within, text); err != nil || !bytes.Equal(got, text) {
					t.Errorf("%s came back as %s: %v", text, got, err)
				}
			}
		})
	}
	asked.Wait()
	close(s.hold)
	if _, err := waiting.Wait(0); err != nil {
		t.Error(err)
	}
}

func TestInOrder(t *testing.T) {
	s := &shelf{}
	c, _ := pair(t, s)
	var want []string
	var last *Pending[int]
	for i := range 500 { // more than the connection queues
		want = append(want, fmt.Sprint(i))
		last = callOrder.Start(c, want[i])
	}
	if n, err := last.Wait(within); n != 500 || err != nil {
		t.Fatal(n, err)
	}
	if !slices.Equal(s.things, want) {
		t.Errorf("carried out as %v", s.things)
	}
}

func TestTimeout(t *testing.T) {
	s := &shelf{hold: make(chan struct{})}
	c, _ := pair(t, s)
	if _, err := callWait.Do(c, time.Millisecond, false); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	close(s.hold) // its answer comes, and nobody wants it
	if n, err := callAdd.Do(c, within, "book"); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// Both ends may ask.
func TestSymmetric(t *testing.T) {
	a, b := net.Pipe()
	left, right := &shelf{}, &shelf{things: []string{"a", "b"}}
	asks, answers := Open(a, left.service(), nil), Open(b, right.service(), nil)
	defer asks.Close(io.EOF)
	defer answers.Close(io.EOF)
	if n, err := callAdd.Do(asks, within, "x"); n != 3 || err != nil {
		t.Error(n, err)
	}
	if n, err := callAdd.Do(answers, within, "x"); n != 1 || err != nil {
		t.Error(n, err)
	}
}

func TestLost(t *testing.T) {
	s := &shelf{hold: make(chan struct{})}
	defer close(s.hold)
	c, other := pair(t, s)
	waiting := callWait.Start(c, false)
	other.Close(errOther)
	if _, err := waiting.Wait(within); !errors.Is(err, ErrLost) {
		t.Errorf("a call under way: %v", err)
	}
	<-c.Done()
	if _, err := callAdd.Do(c, within, "x"); !errors.Is(err, ErrLost) {
		t.Errorf("a call after that: %v", err)
	}
}

func TestJoinTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("two calls of one name were joined")
		}
	}()
	Join((&shelf{}).service(), (&shelf{}).service())
}

// answering serves a shelf in a directory of its own.
func answering(t *testing.T, name string, token Token, s *shelf) (address string, l net.Listener) {
	t.Helper()
	l, address, err := Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go Answer(l, token, s.service(), known)
	return address, l
}

func TestLine(t *testing.T) {
	t.Chdir(t.TempDir())
	token := NewToken()
	s := &shelf{hold: make(chan struct{})}
	address, _ := answering(t, "a.link", token, s)
	if info, err := os.Stat("a.link"); err == nil && info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v", info.Mode())
	}
	add := func(l *Line) error {
		c, err := l.Conn()
		if err == nil {
			_, err = callAdd.Do(c, within, "x")
		}
		return err
	}
	line := NewLine(address, token, known)
	if err := add(line); err != nil {
		t.Fatal(err)
	}
	if err := add(NewLine(address, NewToken(), known)); !errors.Is(err, ErrLost) {
		t.Errorf("a stranger: %v", err)
	}
	if err := add(NewLine("unix:"+filepath.Join(t.TempDir(), "nobody"), token, known)); !errors.Is(err, ErrLost) {
		t.Errorf("nobody there: %v", err)
	}
	// A call that is given up ends the connection, and the next one has a new one.
	c, err := line.Conn()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := callWait.Do(c, time.Millisecond, false); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	<-c.Done()
	if err := add(line); err != nil {
		t.Error(err)
	}
	if c, err = line.Conn(); err != nil {
		t.Fatal(err)
	}
	waiting := callWait.Start(c, false)
	line.Cut(errFull)
	if _, err := waiting.Wait(within); !errors.Is(err, ErrLost) || !errors.Is(err, errFull) {
		t.Errorf("a call on a line that was cut: %v", err)
	}
	if _, err := line.Conn(); err != errFull {
		t.Errorf("a line that was cut: %v", err)
	}
	close(s.hold)
}

// A line finds the process that took the place of the one it led to.
func TestLineToAnother(t *testing.T) {
	t.Chdir(t.TempDir())
	token := NewToken()
	address, first := answering(t, "a.link", token, &shelf{})
	line := NewLine(address, token, known)
	c, err := line.Conn()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := callAdd.Do(c, within, "x"); err != nil {
		t.Fatal(err)
	}
	c.Close(io.EOF)
	first.Close()
	if _, err := line.Conn(); !errors.Is(err, ErrLost) {
		t.Errorf("nobody listens: %v", err)
	}
	answering(t, "a.link", token, &shelf{things: []string{"a", "b", "c"}})
	if c, err = line.Conn(); err != nil {
		t.Fatal(err)
	}
	if n, err := callAdd.Do(c, within, "x"); n != 4 || err != nil {
		t.Error(n, err)
	}
}

// stream is what somebody sends, and takes what is answered.
type stream struct{ io.Reader }

func (stream) Write(p []byte) (int, error) { return len(p), nil }
func (stream) Close() error                { return nil }

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

func TestEndlessMessage(t *testing.T) {
	// A message of 2^30 bytes, as gob counts them.
	c := Open(stream{io.MultiReader(bytes.NewReader([]byte{0xfc, 0x40, 0, 0, 0}), endless{})}, (&shelf{}).service(), known)
	select {
	case <-c.Done():
	case <-time.After(within):
		t.Fatal("it is still being read")
	}
}

// recorded is what an end sends for some calls.
func recorded(tb testing.TB) []byte {
	tb.Helper()
	var sent bytes.Buffer
	c := Open(struct {
		io.Reader
		io.Writer
		io.Closer
	}{blocked{make(chan struct{})}, &sent, io.NopCloser(nil)}, nil, nil)
	callAdd.Start(c, "book")
	callEcho.Start(c, []byte{1, 2, 3})
	callNobody.Start(c, "x")
	return sent.Bytes()
}

type blocked struct{ never chan struct{} }

func (b blocked) Read([]byte) (int, error) {
	<-b.never
	return 0, io.EOF
}

func FuzzConn(f *testing.F) {
	whole := recorded(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{0xfc, 0x40, 0, 0, 0})
	f.Add([]byte("THFT"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		c := Open(stream{bytes.NewReader(sent)}, (&shelf{}).service(), known)
		select {
		case <-c.Done():
		case <-time.After(within):
			t.Fatal("it does not end")
		}
	})
}

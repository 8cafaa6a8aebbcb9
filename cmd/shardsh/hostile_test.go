package main_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hostileServer accepts connections until the test ends and has each served by something that does not mean well.
func hostileServer(t *testing.T, serve func(net.Conn)) (endpoint string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	group.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			group.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		group.Wait()
	})
	return listener.Addr().String()
}

// prpc is a frame of OpenMLDB's protocol: its head, a meta that answers call id, and a payload.
func prpc(id byte, payload string) []byte {
	meta := []byte{0x20, id} // correlation_id
	b := binary.BigEndian.AppendUint32([]byte("PRPC"), uint32(len(meta)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(meta)))
	return slices.Concat(b, meta, []byte(payload))
}

// answering reads a request, and more, and writes the same to each.
func answering(answer []byte, times int) func(net.Conn) {
	return func(c net.Conn) {
		buffer := make([]byte, 4096)
		for {
			if _, err := c.Read(buffer); err != nil {
				return
			}
			for range times {
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}
	}
}

// A server that is none, or means harm, ends a line within its timeout, with an error that names it.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	var asked atomic.Bool
	for name, serve := range map[string]func(net.Conn){
		"silence":         func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"hangs up":        func(net.Conn) {},
		"garbage":         answering(bytes.Repeat([]byte("\xffgarbage"), 1000), 1),
		"endless garbage": answering(make([]byte, 1<<16), 1<<16),
		"endless frames":  answering(bytes.Repeat(prpc(99, "\x08\x00"), 4096), 1<<16),
		"half a frame": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			_, _ = c.Write(prpc(1, "\x08\x00")[:13])
		},
		"well at first": func(c net.Conn) {
			buffer := make([]byte, 4096)
			if _, _ = c.Read(buffer); !bytes.HasPrefix(buffer, []byte("PRPC")) || asked.Swap(true) {
				return
			}
			_, _ = c.Write(prpc(1, "\x08\x00")) // it leads
			_, _ = c.Read(buffer)
			_, _ = c.Write(prpc(2, "\x0a\x7f"))
		},
		"stalls in one":    answering(prpc(1, "\x08\x00")[:13], 1),
		"a frame of 4 GiB": answering([]byte("PRPC\xff\xff\xff\xff\x00\x00\x00\x01"), 1),
		"no message":       answering(prpc(1, "\xff\xff\xff"), 1),
		"no code":          answering(prpc(1, ""), 1),
		"a list of 4 GiB":  answering([]byte("\x00\x00\x00\x29\x00\x00\x00\x00\xff\xff\xff\x7f"+strings.Repeat("\x01", 33)), 1), // as ZooKeeper has them
	} {
		for _, scheme := range []string{"ns://", "zk://"} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				t.Parallel()
				endpoint := hostileServer(t, serve)
				address := scheme + endpoint
				if scheme == "zk://" {
					address += "/openmldb"
				}
				cmd := exec.Command(program, "--timeout", "1s", "--cluster", address, "-e", "showtablet")
				cmd.Env = append(os.Environ(), isolated(t.TempDir())...)
				var errs bytes.Buffer
				cmd.Stderr = &errs
				started := time.Now()
				err := cmd.Run()
				took := time.Since(started)
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 4 && exit.ExitCode() != 1 {
					t.Errorf("%v: %s", err, errs.String())
				}
				if !strings.Contains(errs.String(), endpoint) {
					t.Errorf("the endpoint is not named: %s", errs.String())
				}
				if took > 20*time.Second { // a second, and what a loaded machine adds
					t.Errorf("it took %v", took)
				}
				t.Logf("%v: %s", took.Round(time.Millisecond), errs.String())
			})
		}
	}
}

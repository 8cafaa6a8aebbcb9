package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// goodFrames is one request of each kind.
func goodFrames(p wire.Partition) map[string][]byte {
	h := wire.Header{GPID: p.PID, TimeoutMillis: 1000}
	v1 := h
	v1.Version = 1
	k, id, none := key("h", "s"), int64(7), struct{}{}
	return map[string][]byte{
		"put":          wire.Put.AppendRequest(nil, h, 1, &wire.PutRequest{Key: k, Value: []byte("v")}),
		"put v1":       wire.Put.AppendRequest(nil, v1, 1, &wire.PutRequest{Key: k, Value: []byte("v")}),
		"multi_put":    wire.MultiPut.AppendRequest(nil, h, 1, &wire.MultiPutRequest{HashKey: []byte("h"), Rows: []wire.KeyValue{{Key: k, Value: k}}}),
		"multi_remove": wire.MultiRemove.AppendRequest(nil, h, 1, &wire.MultiRemoveRequest{HashKey: k, SortKeys: [][]byte{k}}),
		"incr":         wire.Incr.AppendRequest(nil, h, 1, &wire.IncrRequest{Key: k, Increment: 1}),
		"get":          wire.Get.AppendRequest(nil, h, 1, &k),
		"multi_get":    wire.MultiGet.AppendRequest(nil, h, 1, &wire.MultiGetRequest{HashKey: k}),
		"get_scanner":  wire.GetScanner.AppendRequest(nil, h, 1, &wire.GetScannerRequest{StopKey: k}),
		"clear":        wire.ClearScanner.AppendRequest(nil, h, 1, &id),
		"query_config": wire.QueryConfig.AppendRequest(nil, wire.Header{}, 1, &wire.QueryConfigRequest{AppName: "demo", Indices: []int32{}}),
		"create":       wire.CreateApp.AppendRequest(nil, wire.Header{}, 1, &wire.CreateAppRequest{AppName: "x"}),
		"envs":         wire.UpdateAppEnv.AppendRequest(nil, wire.Header{}, 1, &wire.UpdateAppEnvRequest{Keys: []string{"a"}}),
		"cluster_info": wire.ClusterInfo.AppendRequest(nil, wire.Header{}, 1, &none),
		"command":      wire.CallCommand.AppendRequest(nil, wire.Header{}, 1, &wire.Command{Name: "help", Args: []string{}}),
	}
}

// send writes bytes on a connection of their own, ends the sending side and answers what comes back until the server
// closes it.
func send(address string, b []byte) ([]byte, error) {
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = conn.Write(b) // both fail when the server has seen enough and closed
	_ = conn.(*net.TCPConn).CloseWrite()
	back, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return back, err
	}
	return back, nil
}

// Every frame cut anywhere ends its connection and nothing else.
func TestTruncatedFrames(t *testing.T) {
	c := run(t, "onebox", "")
	u := newUser(t, c)
	p := u.healthy("demo").Configs[0]
	for name, frame := range goodFrames(p) {
		for _, address := range []string{c.metaAt, p.Primary.String()} {
			for n := range frame {
				back, err := send(address, frame[:n])
				if err != nil || len(back) != 0 {
					t.Fatalf("%s cut at %d of %d: %d bytes come back, %v", name, n, len(frame), len(back), err)
				}
			}
		}
	}
	if err := u.put("demo", "h", "s", "v", 0); err != nil {
		t.Errorf("a connection that was open all the while: %v", err)
	}
}

// Frames with a wrong magic, length, version or message type are not answered.
func TestMalformedFrames(t *testing.T) {
	c := run(t, "onebox", "")
	u := newUser(t, c)
	p := u.healthy("demo").Configs[0]
	get := goodFrames(p)["get"]
	change := func(at int, value ...byte) []byte {
		b := bytes.Clone(get)
		copy(b[at:], value)
		return b
	}
	for name, b := range map[string][]byte{
		"RDSN":              change(0, []byte("RDSN")...),
		"another method":    []byte("PUT /version HTTP/1.1\r\n\r\n"),
		"header of 49":      change(11, 49),
		"version 2":         change(7, 2),
		"body of 4 GiB":     change(16, 0xff, 0xff, 0xff, 0xff),
		"body of 64 MiB":    change(16, 0x03, 0xff, 0xff, 0xff),
		"a reply":           change(51, 2),
		"an old message":    change(48, 0, 0),
		"a name of 2 GiB":   change(52, 0x7f, 0xff, 0xff, 0xff),
		"a negative name":   change(52, 0xff, 0xff, 0xff, 0xff),
		"arguments missing": change(56+len(wire.Get.Name)+4, 0),
		"a blob of 2 GiB":   change(56+len(wire.Get.Name)+4+3, 0x7f, 0xff, 0xff, 0xff),
	} {
		if back, err := send(p.Primary.String(), b); err != nil || len(back) != 0 {
			t.Errorf("%s: %q comes back, %v", name, back, err)
		}
	}
	if got, status := u.get("demo", "h", "s"); status != wire.StatusNotFound {
		t.Errorf("a good frame after all: %q, status %d", got, status)
	}
}

// Frames with random bytes changed are answered or not, but never cost memory or other connections.
func TestMutatedFrames(t *testing.T) {
	c := run(t, "onebox", "")
	u := newUser(t, c)
	p := u.healthy("demo").Configs[0]
	random := rand.New(rand.NewPCG(1, 2))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, frame := range goodFrames(p) {
		for range 40 {
			b := bytes.Clone(frame)
			for range 1 + random.IntN(4) {
				b[random.IntN(len(b))] ^= byte(1 << random.IntN(8))
			}
			for _, address := range []string{c.metaAt, p.Primary.String()} {
				if _, err := send(address, b); err != nil {
					t.Fatalf("%s changed to %x: %v", name, b, err)
				}
			}
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 512<<20 {
		t.Errorf("%d bytes were allocated for %d small frames", grown, 2*40*len(goodFrames(p)))
	}
	if err := u.put("demo", "h", "s", "v", 0); err != nil {
		t.Error(err)
	}
}

// An announced length costs nothing before its bytes come.
func TestAnnouncedLengthsAreNotBelieved(t *testing.T) {
	c := run(t, "onebox2", "")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	head := make([]byte, 48)
	copy(head, "THFT")
	binary.BigEndian.PutUint32(head[8:], 48)
	binary.BigEndian.PutUint32(head[16:], wire.MaxFrame)
	for range 50 {
		if back, err := send(c.metaAt, head); err != nil || len(back) != 0 {
			t.Fatal(back, err)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 50<<20 {
		t.Errorf("50 announced bodies of %d bytes cost %d", wire.MaxFrame, grown)
	}
}

// Many requests in flight on one connection are all answered, and a client that reads nothing holds up nobody.
func TestPipelining(t *testing.T) {
	c := run(t, "onebox", "")
	u := newUser(t, c)
	config := u.healthy("demo")
	p := config.Configs[0]
	hash := hashOn(config, 0)
	conn, err := u.on(p.Primary.String())
	if err != nil {
		t.Fatal(err)
	}
	const n = 3 * maxInFlight
	go func() {
		var out []byte
		for i := range int32(n) {
			k := key(hash, "s")
			if i%2 == 0 {
				out = wire.Put.AppendRequest(out, wire.Header{GPID: p.PID}, i, &wire.PutRequest{Key: k, Value: k})
			} else {
				out = wire.Get.AppendRequest(out, wire.Header{GPID: p.PID}, i, &k)
			}
		}
		_, _ = conn.conn.Write(out)
	}()
	deaf, err := dial(p.Primary.String())
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.conn.Close()
	go func() {
		k := key(hash, "big")
		for {
			if _, err := deaf.conn.Write(wire.Get.AppendRequest(nil, wire.Header{GPID: p.PID}, 1, &k)); err != nil {
				return
			}
		}
	}()
	if err := newUser(t, c).put("demo", hash, "big", string(make([]byte, 900<<10)), 0); err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, n)
	conn.conn.SetDeadline(time.Now().Add(60 * time.Second))
	for range n {
		reply, err := wire.ReadReply(conn.r)
		if err != nil || !reply.OK() && reply.Code != wire.CodeBusy || reply.Seq < 0 || reply.Seq >= n || seen[reply.Seq] {
			t.Fatalf("reply %d %s, %v", reply.Seq, reply.Code, err)
		}
		seen[reply.Seq] = true
	}
}

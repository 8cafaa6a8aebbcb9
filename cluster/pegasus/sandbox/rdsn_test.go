package sandbox

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// rdsnCall is a request in the framing of C++ clients, written by hand from the offsets of the header.
type rdsnCall struct {
	rpc            string
	app, partition int
	from           string // endpoint; "" is a client that listens nowhere
	noForward      bool
	backup         bool
	sums           bool
	body           raw // the field with the arguments and STOP
}

const rdsnID = 0x1122334455667788

func (q rdsnCall) frame() []byte {
	head := make([]byte, 192)
	copy(head, "RDSN")
	put := binary.LittleEndian
	put.PutUint32(head[8:], 192)
	put.PutUint32(head[16:], uint32(len(q.body)))
	put.PutUint64(head[24:], rdsnID)
	put.PutUint64(head[32:], 42)
	copy(head[40:], q.rpc)
	put.PutUint32(head[88:], 77) // the code that only the caller knows
	put.PutUint32(head[96:], uint32(q.app))
	put.PutUint32(head[100:], uint32(q.partition))
	context := uint64(1 | 1<<6)
	if !q.noForward {
		context |= 1 << 10
	}
	if q.backup {
		context |= 1 << 11
	}
	put.PutUint64(head[104:], context)
	if q.from != "" {
		at := netip.MustParseAddrPort(q.from)
		ip := at.Addr().As4()
		put.PutUint64(head[112:], uint64(binary.BigEndian.Uint32(ip[:]))<<32|uint64(at.Port())<<16|1)
	}
	put.PutUint32(head[120:], 5000)
	put.PutUint64(head[128:], 1)
	if q.sums {
		table := crc32.MakeTable(0x82f63b78)
		put.PutUint32(head[20:], crc32.Checksum(q.body, table))
		put.PutUint32(head[12:], crc32.Checksum(head, table))
	}
	return append(head, q.body...)
}

// answerHead is the header that the answer must have, but for its body's length.
func (q rdsnCall) answerHead(from, code string, forwarded bool) []byte {
	head := q.frame()[:192]
	put := binary.LittleEndian
	clear(head[12:24])
	clear(head[40:96])
	copy(head[40:], q.rpc+"_ACK")
	context := put.Uint64(head[104:]) &^ 1
	if forwarded {
		context |= 2
	}
	put.PutUint64(head[104:], context)
	at := netip.MustParseAddrPort(from)
	ip := at.Addr().As4()
	put.PutUint64(head[112:], uint64(binary.BigEndian.Uint32(ip[:]))<<32|uint64(at.Port())<<16|1)
	clear(head[136:])
	copy(head[136:], code)
	return head
}

// rdsnClient is one connection.
type rdsnClient struct {
	t    *testing.T
	conn net.Conn
}

func dialRDSN(t *testing.T, address string) *rdsnClient {
	t.Helper()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &rdsnClient{t, conn}
}

func (c *rdsnClient) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rdsnClient) receive() (head, body []byte) {
	c.t.Helper()
	head = make([]byte, 192)
	if _, err := io.ReadFull(c.conn, head); err != nil {
		c.t.Fatal(err)
	}
	body = make([]byte, binary.LittleEndian.Uint32(head[16:]))
	if _, err := io.ReadFull(c.conn, body); err != nil {
		c.t.Fatal(err)
	}
	clear(head[16:20])
	return head, body
}

// expect sends a call and compares the whole answer.
func (c *rdsnClient) expect(q rdsnCall, from, code string, forwarded bool, body raw) {
	c.t.Helper()
	c.send(q.frame())
	head, got := c.receive()
	if want := q.answerHead(from, code, forwarded); !bytes.Equal(head, want) {
		c.t.Errorf("%s: the header is\n%swant\n%s", q.rpc, hex.Dump(head), hex.Dump(want))
	}
	if !bytes.Equal(got, body) {
		c.t.Errorf("%s: the body is\n%swant\n%s", q.rpc, hex.Dump(got), hex.Dump(body))
	}
}

// struct0 is a body: one field with the number 0.
func struct0(fields raw) raw { return append(raw{}.field(0x0c, 0), append(fields, 0)...) }

func queryBody(table string) raw {
	return struct0(raw{}.field(0x0b, 1).text(table).field(0x0f, 2).hex("08").i32(0).hex("00"))
}

// A C++ client's messages reach the same calls, at meta servers and replica servers, with checksums or without.
func TestRDSNCalls(t *testing.T) {
	c := run(t, "onebox", "")
	u := newUser(t, c)
	config := u.healthy("demo")
	p := config.Configs[0]
	node := p.Primary.String()
	hash := hashOn(config, 0)
	meta, data := dialRDSN(t, c.metaAt), dialRDSN(t, node)
	for _, sums := range []bool{false, true} {
		meta.expect(rdsnCall{rpc: queryConfigRPC, body: queryBody("nobody"), sums: sums}, c.metaAt, "ERR_OK", false,
			struct0(raw{}.field(0x0c, 1).text("ERR_OBJECT_NOT_FOUND").field(0x08, 2).i32(0).field(0x08, 3).i32(0).field(0x02, 4).hex("00").
				field(0x0f, 5).hex("0c").i32(0).hex("00")))
	}
	full := raw(key(hash, "s"))
	put := struct0(raw{}.field(0x0c, 1).text(string(full)).field(0x0c, 2).text("v").field(0x08, 3).i32(0).hex("00"))
	data.send(rdsnCall{rpc: "RPC_RRDB_RRDB_PUT", app: 2, body: put, sums: true}.frame())
	if head, body := data.receive(); !strings.HasPrefix(string(head[136:]), "ERR_OK\x00") || !bytes.HasPrefix(body, raw{}.field(0x0c, 0).field(0x08, 1).i32(0)) {
		t.Errorf("a put is answered %s\n%s", head[136:150], hex.Dump(body))
	}
	get := struct0(raw{}.text(string(full)))
	data.expect(rdsnCall{rpc: "RPC_RRDB_RRDB_GET", app: 2, body: get}, node, "ERR_OK", false,
		struct0(raw{}.field(0x08, 1).i32(0).field(0x0c, 2).text("v").field(0x08, 3).i32(2).field(0x08, 4).i32(0).field(0x0b, 6).text(node).hex("00")))
	data.expect(rdsnCall{rpc: "RPC_RRDB_RRDB_GET", app: 99, body: get}, node, "ERR_OBJECT_NOT_FOUND", false, nil)
	data.expect(rdsnCall{rpc: "RPC_NO_SUCH_CALL", body: get}, node, "ERR_HANDLER_NOT_FOUND", false, nil)
	second := dialRDSN(t, p.Secondaries[0].String())
	second.expect(rdsnCall{rpc: "RPC_RRDB_RRDB_GET", app: 2, body: get}, p.Secondaries[0].String(), "ERR_INVALID_STATE", false, nil)
	second.send(rdsnCall{rpc: "RPC_RRDB_RRDB_GET", app: 2, body: get, backup: true}.frame())
	if head, _ := second.receive(); !strings.HasPrefix(string(head[136:]), "ERR_OK\x00") {
		t.Errorf("a read that a secondary may answer is %s", head[136:160])
	}
	data.expect(rdsnCall{rpc: "RPC_CLI_CLI_CALL", body: struct0(raw{}.field(0x0b, 1).text("replica.deny-client").field(0x0f, 2).hex("0b").i32(0).hex("00"))},
		node, "ERR_OK", false, append(raw{}.field(0x0b, 0).text("false"), 0))
	big := struct0(raw{}.field(0x0c, 1).text(string(full)).field(0x0c, 2).text(strings.Repeat("v", maxWriteBody)).field(0x08, 3).i32(0).hex("00"))
	data.expect(rdsnCall{rpc: "RPC_RRDB_RRDB_PUT", app: 2, body: big}, node, "ERR_INVALID_DATA", false, nil)
}

// Every message of a connection says itself how it is framed.
func TestMixedFramings(t *testing.T) {
	c := run(t, "onebox2", "")
	mixed := dialRDSN(t, c.metaAt)
	thft := raw{}.field(0x0b, 1).text("nobody").field(0x0f, 2).hex("08").i32(0)
	for range 2 {
		mixed.send(rdsnCall{rpc: queryConfigRPC, body: queryBody("nobody")}.frame())
		if head, _ := mixed.receive(); !strings.HasPrefix(string(head), "RDSN") {
			t.Fatalf("the answer begins %q", head[:4])
		}
		mixed.send(thft.request(queryConfigRPC, 9))
		reply, err := wire.ReadReply(mixed.conn)
		if err != nil || reply.Seq != 9 {
			t.Fatalf("%+v, %v", reply, err)
		}
	}
	mixed.send([]byte("GET /version HTTP/1.0\r\n\r\n"))
	text, err := io.ReadAll(mixed.conn)
	if err != nil || !strings.HasPrefix(string(text), fmt.Sprintf("HTTP/1.0 %d", http.StatusOK)) {
		t.Errorf("%q, %v", text, err)
	}
}

// A meta server that does not lead passes on what servers ask, and tells clients who leads.
func TestRDSNForwarding(t *testing.T) {
	c := run(t, "onebox", "")
	newUser(t, c).healthy("demo")
	other := c.metaAts[1]
	ask := rdsnCall{rpc: queryConfigRPC, body: queryBody("nobody"), from: "127.0.0.1:34801", sums: true}
	notFound := struct0(raw{}.field(0x0c, 1).text("ERR_OBJECT_NOT_FOUND").field(0x08, 2).i32(0).field(0x08, 3).i32(0).field(0x02, 4).hex("00").
		field(0x0f, 5).hex("0c").i32(0).hex("00"))
	dialRDSN(t, other).expect(ask, c.metaAt, "ERR_OK", true, notFound)

	client := ask
	for _, client.from = range []string{"", "127.0.0.1:1023"} {
		dialRDSN(t, other).expect(client, other, "ERR_FORWARD_TO_OTHERS", false, struct0(raw{}.address(c.metaAt)))
	}
	own := rdsnCall{rpc: "RPC_CLI_CLI_CALL", body: struct0(raw{}.field(0x0b, 1).text("meta.live_percentage").field(0x0f, 2).hex("0b").i32(0).hex("00"))}
	dialRDSN(t, other).expect(own, other, "ERR_OK", false, append(raw{}.field(0x0b, 0).text("0"), 0))

	strict := ask
	strict.noForward = true
	dialRDSN(t, other).expect(strict, other, "ERR_OK", false, struct0(raw{}.field(0x0c, 1).text("ERR_FORWARD_TO_OTHERS").field(0x08, 2).i32(0).
		field(0x08, 3).i32(0).field(0x02, 4).hex("00").field(0x0f, 5).hex("0c").i32(1).
		field(0x0c, 1).i64(0).field(0x0a, 2).i64(0).field(0x08, 3).i32(0).field(0x0c, 4).address(c.metaAt).
		field(0x0f, 5).hex("0c").i32(0).field(0x0f, 6).hex("0c").i32(0).field(0x0a, 7).i64(0).field(0x08, 8).i32(0).hex("00").hex("00")))

	// Cut off the leader, what is passed on is lost.
	if err := c.Partition(t.Context(), c.metaAt, other); err != nil {
		t.Fatal(err)
	}
	lost := dialRDSN(t, other)
	lost.send(ask.frame())
	lost.conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := lost.conn.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("across a cut comes %d, %v", n, err)
	}
	if err := c.Heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	dialRDSN(t, other).expect(ask, c.metaAt, "ERR_OK", true, notFound)

	// Without a leader the answer says what it always says then.
	if err := c.Kill(t.Context(), c.metaAt); err != nil {
		t.Fatal(err)
	}
	newUser(t, c).eventually("the other one leads", func() bool { return c.leader() != nil && c.leader().address == other })
	dialRDSN(t, other).expect(ask, other, "ERR_OK", false, notFound)
}

// What is no message in that framing ends its connection, and nothing else.
func TestMalformedRDSN(t *testing.T) {
	c := run(t, "onebox2", "")
	good := rdsnCall{rpc: queryConfigRPC, body: queryBody("nobody"), sums: true}.frame()
	for n := 1; n < len(good); n += 3 {
		if back, err := send(c.metaAt, good[:n]); err != nil || len(back) != 0 {
			t.Fatalf("cut at %d: %d bytes come back, %v", n, len(back), err)
		}
	}
	for name, change := range map[string]func(b []byte){
		"a header checksum": func(b []byte) { b[12]++ },
		"a body checksum":   func(b []byte) { b[20]++; clear(b[12:16]) },
		"another body":      func(b []byte) { b[200]++ },
		"an answer":         func(b []byte) { clear(b[12:16]); b[104] &^= 1 },
		"4 GiB":             func(b []byte) { clear(b[12:16]); copy(b[16:], []byte{255, 255, 255, 255}) },
		"no arguments":      func(b []byte) { clear(b[12:24]) },
	} {
		b := bytes.Clone(good)
		change(b)
		if back, err := send(c.metaAt, b); err != nil || len(back) != 0 {
			t.Errorf("%s: %d bytes come back, %v", name, len(back), err)
		}
	}
	fine := dialRDSN(t, c.metaAt)
	fine.send(good)
	if head, _ := fine.receive(); !strings.HasPrefix(string(head[136:]), "ERR_OK\x00") {
		t.Errorf("a good one after all is answered %q", head[136:160])
	}
}

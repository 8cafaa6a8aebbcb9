package storage

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/encoding/protowire"

	"shardsh/commands/spec"
)

// The example of RFC 2831, section 4.
func TestDigestOfTheRFC(t *testing.T) {
	d := digest{user: "chris", password: "secret", uri: "imap/elwood.innosoft.com"}
	var err error
	d.challenge, err = parseChallenge(`realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8`)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.choose("authentication"); err != nil {
		t.Fatal(err)
	}
	d.cnonce = "OA6MHXh6VqTrRk"
	if text := d.response(); !strings.Contains(text, "response=d388dad90d4bbd760a152321f2143af7,") {
		t.Errorf("%s", text)
	}
	if !d.proven("rspauth=ea40f60335c427b5527b84dbabcdfffd") || d.proven("rspauth=ea40f60335c427b5527b84dbabcdfffe") || d.proven("") {
		t.Error("the server's proof is taken for another")
	}
}

func TestDigestProtection(t *testing.T) {
	for _, c := range []struct{ offered, least, qop string }{
		{"auth", "authentication", "auth"},
		{"auth-conf,auth-int,auth", "authentication", "auth-conf"},
		{"auth, auth-int", "integrity", "auth-int"},
		{"auth,auth-int", "privacy", ""},
		{"auth", "integrity", ""},
		{"of-tomorrow", "authentication", ""},
	} {
		d := digest{challenge: challenge{nonce: "n", qops: strings.Split(c.offered, ","), ciphers: []string{"3des", "rc4"}}}
		err := d.choose(c.least)
		var weak *weakError
		if d.qop != c.qop || (c.qop == "") != errors.As(err, &weak) {
			t.Errorf("%+v: %q, %v", c, d.qop, err)
		}
	}
	d := digest{challenge: challenge{nonce: "n", qops: []string{"auth-conf"}, ciphers: []string{"des"}}}
	if err := d.choose("authentication"); err == nil {
		t.Error("privacy without a cipher in common")
	}
}

// What is sent in messages comes whole, however it is cut by those who read and write, and not when it was changed.
func TestDigestLayers(t *testing.T) {
	for _, qop := range []string{"auth-int", "auth-conf"} {
		d := digest{user: "u", password: "p", qop: qop, cnonce: "c", challenge: challenge{nonce: "n", realm: "0"}}
		if qop == "auth-conf" {
			d.cipher = "rc4"
		}
		sent, received := d.layers()
		_, other := d.layers()
		var wire bytes.Buffer
		data := bytes.Repeat([]byte("0123456789"), 30_000)
		w := &layerWriter{w: &wire, layer: sent}
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 70_001)
			if m, err := w.Write(rest[:n]); m != n || err != nil {
				t.Fatalf("%d bytes, %v", m, err)
			}
			rest = rest[n:]
		}
		stream := bytes.Clone(wire.Bytes())
		read, _ := d.layers()
		got := make([]byte, len(data))
		r := &layerReader{r: bytes.NewReader(stream), layer: read}
		for n := 0; n < len(got); {
			m, err := io.ReadFull(r, got[n:min(len(got), n+777)])
			if n += m; err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, data) {
			t.Errorf("%s: other bytes came", qop)
		}
		if _, err := r.Read(got); !errors.Is(err, io.EOF) {
			t.Errorf("%s: at the end: %v", qop, err)
		}
		for _, at := range []int{4, 1000, 65535, 65538} { // bytes, the version, the number
			bad := bytes.Clone(stream)
			bad[at] ^= 1
			fresh, _ := d.layers()
			if _, err := io.ReadAll(&layerReader{r: bytes.NewReader(bad), layer: fresh}); !errors.Is(err, errForged) {
				t.Errorf("%s: byte %d is another: %v", qop, at, err)
			}
		}
		if _, err := io.ReadAll(&layerReader{r: bytes.NewReader(stream), layer: received}); !errors.Is(err, errForged) {
			t.Errorf("%s: what the client sent comes back to it: %v", qop, err)
		}
		if _, err := (&layerReader{r: bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff}), layer: other}).Read(got); err == nil {
			t.Errorf("%s: 4 GiB are waited for", qop)
		}
	}
}

// request is the first of a client, for a block with a token.
func request(operation byte, identifier, password string) []byte {
	field := func(m []byte, number protowire.Number, value []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(m, number, protowire.BytesType), value)
	}
	token := field(field(nil, 1, []byte(identifier)), 2, []byte(password))
	header := field(field(nil, 1, []byte("block")), 2, token)
	if operation != blockChecksum {
		header = field(field(nil, 1, header), 2, []byte("client"))
	}
	return protowire.AppendBytes([]byte{0, 28, operation}, field(nil, 1, header))
}

func TestBlockToken(t *testing.T) {
	for _, operation := range []byte{0x50, 0x51, blockChecksum} {
		whole := request(operation, "identifier", "password")
		for n := range whole {
			if _, _, is, err := blockToken(whole[:n]); is || err != nil {
				t.Fatalf("%d of %d bytes: whole: %t, %v", n, len(whole), is, err)
			}
		}
		id, password, is, err := blockToken(whole)
		if string(id) != "identifier" || string(password) != "password" || !is || err != nil {
			t.Errorf("operation %x: %q, %q, %t, %v", operation, id, password, is, err)
		}
	}
	if _, _, _, err := blockToken(append([]byte{0, 28, 0x51}, bytes.Repeat([]byte{0xff}, 12)...)); err == nil {
		t.Error("a length without an end")
	}
}

// A datanode that refuses the token says why, and nothing of the request is sent to it.
func TestSASLRefused(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	heard := make(chan []byte, 1)
	go func() {
		defer there.Close()
		r := bufio.NewReader(there)
		begin := make([]byte, len(magic)+3) // the magic, a length, and a status
		_, _ = io.ReadFull(r, begin)
		m := protowire.AppendVarint(protowire.AppendTag(nil, fieldStatus, protowire.VarintType), 2)
		m = protowire.AppendBytes(protowire.AppendTag(m, fieldMessage, protowire.BytesType), []byte("the token is of yesterday"))
		_, _ = there.Write(protowire.AppendBytes(nil, m))
		rest, _ := io.ReadAll(r)
		heard <- append(begin, rest...)
	}()
	_, err := protect(here, "authentication").Write(request(0x51, "identifier", "password"))
	if err == nil || !strings.Contains(err.Error(), "the token is of yesterday") {
		t.Errorf("%v", err)
	}
	_ = here.Close()
	if got := <-heard; !bytes.Equal(got, append(bytes.Clone(magic), 2, 8, 0)) {
		t.Errorf("%x was sent", got)
	}
}

// The login of the library goes through, and ends where it could not read what comes after it.
func TestSASLOfTheLibrary(t *testing.T) {
	for _, option := range []bool{true, false} {
		here, there := net.Pipe()
		defer here.Close()
		defer there.Close()
		go func() {
			r := bufio.NewReader(there)
			_, _ = io.ReadFull(r, make([]byte, len(magic)+3))
			_, _ = there.Write(loginMessage([]byte("challenge"), false))
			_, _, _ = readLogin(r)
			_, _ = there.Write(append(loginMessage([]byte("rspauth=1"), option), "data"...))
		}()
		c := protect(here, "authentication")
		if _, err := c.Write(append(bytes.Clone(magic), loginMessage(nil, false)...)); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(iotest.OneByteReader(c))
		if payload, _, err := readLogin(r); string(payload) != "challenge" || err != nil {
			t.Fatalf("%q, %v", payload, err)
		}
		if _, err := c.Write(loginMessage([]byte("response"), true)); err != nil {
			t.Fatal(err)
		}
		_, _, err := readLogin(r)
		if option != (err == nil) || !option && !strings.Contains(spec.HintOf(err), "AES/CTR/NoPadding") {
			t.Errorf("AES: %t: %v", option, err)
		}
		if data, _ := r.Peek(4); option && string(data) != "data" {
			t.Errorf("%q came", data)
		}
	}
}

// Whatever a datanode sends, reading it ends.
func FuzzSASL(f *testing.F) {
	f.Add([]byte(`realm="0",nonce="x",qop="auth-conf,auth-int",charset=utf-8,cipher="3des,rc4",algorithm=md5-sess`))
	f.Add([]byte(`nonce="`))
	f.Add([]byte(", ,=,"))
	f.Add(request(0x51, "identifier", "password"))
	f.Add(loginMessage([]byte("rspauth=1"), true))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseChallenge(string(data)); err == nil && c.nonce == "" {
			t.Error("a challenge without a nonce")
		}
		if _, _, whole, err := blockToken(data); whole && err != nil {
			t.Error(err)
		}
		if payload, _, err := readLogin(bufio.NewReader(bytes.NewReader(data))); err == nil && len(payload) > len(data) {
			t.Error("more came than was sent")
		}
		d := digest{qop: "auth-conf", cipher: "rc4"}
		_, received := d.layers()
		if got, err := io.ReadAll(&layerReader{r: bytes.NewReader(data), layer: received}); err == nil && len(got) > 0 {
			t.Error("a message without the key")
		}
	})
}

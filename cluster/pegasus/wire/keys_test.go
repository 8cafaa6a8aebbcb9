package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestKeys(t *testing.T) {
	for _, c := range []struct{ hash, sort, key string }{
		{"", "", "\x00\x00"}, {"h", "s", "\x00\x01hs"}, {"", "s", "\x00\x00s"}, {"\xff\x00", "", "\x00\x02\xff\x00"},
	} {
		key, err := EncodeKey([]byte(c.hash), []byte(c.sort))
		if err != nil || string(key) != c.key {
			t.Errorf("key of %q %q is %q, %v", c.hash, c.sort, key, err)
		}
		hash, sort, err := DecodeKey(key)
		if err != nil || string(hash) != c.hash || string(sort) != c.sort {
			t.Errorf("%q is %q %q, %v", key, hash, sort, err)
		}
	}
	if _, err := EncodeKey(make([]byte, MaxHashKey+1), nil); !errors.Is(err, ErrKey) {
		t.Errorf("a hash key too long: %v", err)
	}
	for _, bad := range []string{"", "\x00", "\x00\x02h"} {
		if _, _, err := DecodeKey([]byte(bad)); !errors.Is(err, ErrKey) {
			t.Errorf("%q is a key: %v", bad, err)
		}
	}
	for prefix, want := range map[string]string{"a": "b", "a\xff": "b", "\x00\x01h\xff\xff": "\x00\x01i", "\xff": "", "": ""} {
		if got := Successor([]byte(prefix)); string(got) != want {
			t.Errorf("successor of %q is %q, want %q", prefix, got, want)
		}
	}
}

func TestExpiry(t *testing.T) {
	now := time.Unix(Epoch+1000, 999)
	for _, c := range []struct {
		ttl  time.Duration
		want int32
	}{{0, 0}, {time.Second, 1001}, {time.Millisecond, 1001}, {1500 * time.Millisecond, 1002}, {time.Hour, 4600}} {
		got, err := ExpireTS(now, c.ttl)
		if err != nil || got != c.want {
			t.Errorf("%v: %d, %v, want %d", c.ttl, got, err, c.want)
		}
	}
	for _, bad := range []time.Duration{-1, 68 * 366 * 24 * time.Hour * 2} {
		if ts, err := ExpireTS(now, bad); err == nil {
			t.Errorf("%v gave %d", bad, ts)
		}
	}
	if at := ExpireTime(1001); !at.Equal(time.Unix(Epoch+1001, 0)) || !ExpireTime(0).IsZero() {
		t.Errorf("time of 1001 is %v", at)
	}
	if Expired(0, now) || !Expired(1000, now) || Expired(1001, now) {
		t.Error("a row is expired from its second on")
	}
}

func TestNames(t *testing.T) {
	if StatusName(1) != "not found" || StatusName(99) != "99" || AppDropped.String() != "DROPPED" || AppStatus(-1).String() != "-1" {
		t.Error("names of statuses")
	}
	if s, ok := ParseAppStatus("Dropped"); !ok || s != AppDropped {
		t.Error("dropped")
	}
	if s, ok := ParseAppStatus("all"); !ok || s != AppInvalid {
		t.Error("all")
	}
	if _, ok := ParseAppStatus("invalid"); ok {
		t.Error("invalid is no status to ask for")
	}
	names := ErrorNames()
	for _, name := range names {
		if !strings.HasPrefix(name, "ERR_") || interned[name] != name {
			t.Errorf("name %q", name)
		}
	}
	if len(names) != 73+15 || len(HeaderErrorNames()) != 73 {
		t.Errorf("%d names, %d in headers", len(names), len(HeaderErrorNames()))
	}
	a := AddressOf(netip.MustParseAddrPort("10.0.0.1:34801"))
	if b, err := ParseAddress("10.0.0.1:34801"); err != nil || a != b || !a.Valid() || Address(0).String() != "" {
		t.Errorf("%v %v %v", a, b, err)
	}
	if AddressOf(netip.MustParseAddrPort("[::1]:1")).Valid() {
		t.Error("IPv6 fits no address")
	}
}

// Reading a batch costs the frame's own memory and one slice, whatever the number of rows.
func TestScanDecodeAllocations(t *testing.T) {
	a := scanAnswer(1000)
	frame := Scan.AppendReply(nil, 1, &a)
	reply, err := ReadReply(bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(20, func() {
		var got ScanResponse
		if err := Scan.DecodeResult(reply.Body, &got); err != nil || len(got.Rows) != 1000 {
			t.Fatal(err)
		}
	})
	if n > 6 {
		t.Errorf("%v allocations for 1000 rows", n)
	}
}

func scanAnswer(rows int) ScanResponse {
	a := ScanResponse{ContextID: 5, Server: "127.0.0.1:34801"}
	for range rows {
		a.Rows = append(a.Rows, KeyValue{Key: []byte("\x00\x08hash_keysort_key"), Value: make([]byte, 100), ExpireTS: 7})
	}
	return a
}

func BenchmarkScanDecode(b *testing.B) {
	a := scanAnswer(1000)
	frame := Scan.AppendReply(nil, 1, &a)
	b.ReportAllocs()
	for b.Loop() {
		reply, err := ReadReply(bytes.NewReader(frame))
		var got ScanResponse
		if err != nil || Scan.DecodeResult(reply.Body, &got) != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkScanEncode(b *testing.B) {
	a := scanAnswer(1000)
	var frame []byte
	b.ReportAllocs()
	for b.Loop() {
		frame = Scan.AppendReply(frame[:0], 1, &a)
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "rows/s")
}

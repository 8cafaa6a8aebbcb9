package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"slices"
	"testing"
)

// allocated answers how many bytes f allocated in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// damage makes the variants of a frame that no decoder may accept.
func damage(frame []byte, parts []piece) [][]byte {
	var variants [][]byte
	with := func(at int, b []byte) {
		v := slices.Clone(frame)
		copy(v[at:], b)
		variants = append(variants, v)
	}
	for _, p := range parts {
		old := frame[p.at : p.at+p.size]
		switch p.kind {
		case "t":
			for _, c := range []byte{0x01, 0x05, 0x07, 0x10, 0x7f, 0xff} {
				with(p.at, []byte{c})
			}
		case "l", "c":
			n := binary.BigEndian.Uint32(old)
			if p.kind == "c" {
				n++
			}
			for _, m := range []uint32{n + 1, n + 3, 1 << 20, MaxFrame + 1, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32} {
				with(p.at, binary.BigEndian.AppendUint32(nil, m))
			}
		case "m":
			for i := range old {
				for _, flip := range []byte{0x01, 0x20, 0xff} {
					b := slices.Clone(old)
					if b[i] ^= flip; string(b) == "\x00\x00\x00\x01" && p.at == 4 || p.size == 1 && b[i] == messageOne {
						continue // header version 1 and one-way messages exist
					}
					with(p.at, b)
				}
			}
		}
	}
	return variants
}

func TestMalformedFrames(t *testing.T) {
	total := 0
	check := func(name, text string, decode func(frame []byte) error) {
		frame, parts := pieces(text)
		if err := decode(frame); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, v := range damage(frame, parts) {
			total++
			var err error
			// What follows on the stream must not be taken for a missing part.
			if n := allocated(func() { err = decode(v) }); n > MaxFrame {
				t.Errorf("%s: % x allocated %d bytes", name, v, n)
			}
			if err == nil {
				t.Errorf("%s: accepted\n% x\nfor\n% x", name, v, frame)
			}
		}
	}
	check("query", goldenQuery, func(frame []byte) error {
		q, err := ReadRequest(bytes.NewReader(frame))
		if err != nil {
			return err
		}
		if q.Name != QueryConfig.Name {
			return errors.New("another call")
		}
		var args QueryConfigRequest
		return QueryConfig.DecodeArgs(q.Args, &args)
	})
	check("get", goldenGet, func(frame []byte) error {
		q, err := ReadRequest(bytes.NewReader(frame))
		if err != nil {
			return err
		}
		var key []byte
		return Get.DecodeArgs(q.Args, &key)
	})
	check("config", goldenConfig, func(frame []byte) error {
		r, err := ReadReply(bytes.NewReader(frame))
		if err != nil {
			return err
		}
		if !r.OK() {
			return errors.New("rejected")
		}
		var a QueryConfigResponse
		return QueryConfig.DecodeResult(r.Body, &a)
	})
	check("disks", goldenDisk, func(frame []byte) error {
		r, err := ReadReply(bytes.NewReader(frame))
		if err != nil {
			return err
		}
		if !r.OK() {
			return errors.New("rejected")
		}
		var a QueryDiskResponse
		return QueryDisk.DecodeResult(r.Body, &a)
	})
	if total < 200 {
		t.Errorf("only %d variants", total)
	}
	t.Logf("%d malformed frames", total)
}

func TestSentinels(t *testing.T) {
	good, _ := pieces(goldenQuery)
	with := func(at int, b ...byte) []byte {
		v := slices.Clone(good)
		copy(v[at:], b)
		return v
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  error
	}{
		{"nothing", nil, io.EOF},
		{"HTTP", []byte("GET /meta/apps HTTP/1.1\r\n\r\n"), ErrMagic},
		{"RDSN without a length", append([]byte("RDSN"), make([]byte, 188)...), ErrLength},
		{"version", with(4, 0, 0, 0, 2), ErrVersion},
		{"header length", with(8, 0, 0, 0, 49), ErrLength},
		{"body length", with(16, 0x7f), ErrLength},
		{"reply as request", with(48+3, messageBack), ErrMessageType},
		{"exception", with(48+3, 3), ErrMessageType},
		{"loose mark", with(48, 0), ErrEncoding},
		{"cut", good[:60], ErrTruncated},
	} {
		if _, err := ReadRequest(bytes.NewReader(c.frame)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		name  string
		frame string
		want  error
	}{
		{"nothing", "", io.EOF},
		{"too long", "\x7f\xff\xff\xff", ErrLength},
		{"too short", "\x00\x00\x00\x03", ErrLength},
		{"empty", "\x00\x00\x00\x04", ErrTruncated},
		{"request as reply", string(AppendRejection(nil, "x", 1, OK)[:14]) + "\x80\x01\x00\x01", ErrTruncated},
	} {
		if _, err := ReadReply(bytes.NewReader([]byte(c.frame))); !errors.Is(err, c.want) {
			t.Errorf("reply %s: %v, want %v", c.name, err, c.want)
		}
	}
}

// An announced length is not believed before the bytes come.
func TestLengthsAreNotBelieved(t *testing.T) {
	frame := append([]byte{0x04, 0, 0, 0}, make([]byte, 1000)...) // 64 MiB announced, 1000 bytes sent
	var err error
	n := allocated(func() { _, err = ReadReply(bytes.NewReader(frame)) })
	if !errors.Is(err, ErrTruncated) || n > 1<<20 {
		t.Errorf("%v after %d bytes", err, n)
	}
}

// A frame full of small elements must not unfold into much more memory.
func TestMemoryBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a frame of 60 MiB")
	}
	const n = 60 << 20
	body := append([]byte{byte(kindStruct), 0, 0}, 0x0f, 0, 5, 0x0c)
	body = appendI32(body, n) // partitions of one byte each: STOP
	body = append(body, make([]byte, n+2)...)
	var a QueryConfigResponse
	var err error
	used := allocated(func() { err = QueryConfig.DecodeResult(body, &a) })
	if !errors.Is(err, ErrBudget) || used > MaxFrame {
		t.Errorf("%v after %d bytes", err, used)
	}
	// The same for maps with one key over and over.
	entries := appendI32([]byte{byte(kindString), byte(kindString)}, 4<<20)
	entries = append(entries, make([]byte, 8*(4<<20))...)
	var m map[string]string
	used = allocated(func() { err = textMapType.Decode(entries, &m) })
	if !errors.Is(err, ErrBudget) || used > MaxFrame {
		t.Errorf("map: %v after %d bytes", err, used)
	}
}

func TestDepthIsBounded(t *testing.T) {
	b := []byte("\x0f\x00\x63")
	for range 1000 {
		b = append(b, 0x0f, 0, 0, 0, 1)
	}
	var kv KeyValue
	if err := keyValueType.Decode(append(b, make([]byte, 100)...), &kv); !errors.Is(err, ErrEncoding) {
		t.Errorf("%v", err)
	}
}

package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rdsnGet is a GET of key {hash="h", sort="s"} on gpid 2.3, written by hand: little-endian header, big-endian body.
const rdsnGet = `5244534e 00000000 c0000000 00000000 0c000000 00000000 0807060504030201 efcdab8967452301
	5250435f525244425f525244425f474554 00000000000000000000000000000000000000000000000000000000000000
	2a000000 00000000 02000000 03000000 410c000000000000 0100f187 0100007f
	f4010000 e13d0000 8877665544332211
	000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000 0000000000000000
	0c0000 00000004 0001 68 73 00`

// rdsnGot is its answer: error 0, value "v", of partition 3 of table 2 on "n".
const rdsnGot = `5244534e 00000000 c0000000 00000000 2a000000 00000000 0807060504030201 efcdab8967452301
	5250435f525244425f525244425f4745545f41434b 000000000000000000000000000000000000000000000000000000
	00000000 00000000 02000000 03000000 400c000000000000 0100f287 0100007f
	f4010000 e13d0000 8877665544332211
	4552525f4f4b000000000000000000000000000000000000000000000000000000000000000000000000000000000000 0000000000000000
	0c0000 080001 00000000 0c0002 00000001 76 080003 00000002 080004 00000003 0b0006 00000001 6e 00 00`

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoldenRDSN(t *testing.T) {
	frame := unhex(t, rdsnGet)
	r := bytes.NewReader(frame)
	q, err := ReadRequest(r)
	if err != nil || r.Len() > 0 {
		t.Fatalf("%v, %d bytes left", err, r.Len())
	}
	if diff := cmp.Diff(Header{
		GPID: GPID{2, 3}, TimeoutMillis: 500, ThreadHash: 2*7919 + 3, PartitionHash: 0x1122334455667788, Backup: true,
	}, q.Header); diff != "" {
		t.Error(diff)
	}
	x := q.RDSN
	if q.Name != Get.Name || x == nil || x.ID != 0x0102030405060708 || x.From.String() != "127.0.0.1:34801" || !x.ForwardSupported || x.Forwarded {
		t.Errorf("%s: %+v", q.Name, x)
	}
	var key []byte
	if err := Get.DecodeArgs(q.Args, &key); err != nil || !bytes.Equal(key, []byte{0, 1, 'h', 's'}) {
		t.Errorf("key %x, %v", key, err)
	}
	x.To = 0x7f00000187f20001
	equalBytes(t, Get.AppendAnswer(nil, q, &GetResponse{Value: []byte("v"), AppID: 2, Partition: 3, Server: "n"}), unhex(t, rdsnGot))

	refused := AppendRefusal([]byte("before"), q, CodeObjectNotFound)[len("before"):]
	want := unhex(t, rdsnGot)[:192]
	copy(want[16:20], []byte{0, 0, 0, 0})
	copy(want[136:], CodeObjectNotFound)
	equalBytes(t, refused, want)

	elsewhere := AppendElsewhere(nil, q, 0x7f00000187290001)
	copy(want[16:20], []byte{12, 0, 0, 0})
	copy(want[136:], CodeForward+"\x00\x00")
	equalBytes(t, elsewhere, append(want, unhex(t, "0c0000 7f00000187290001 00")...))

	passed := q.PassOn(nil)
	frame[104] |= 2
	equalBytes(t, passed, frame)
	again, err := ReadRequest(bytes.NewReader(passed))
	if err != nil || !again.RDSN.Forwarded {
		t.Errorf("passed on it reads %+v, %v", again, err)
	}
	got, id, err := ReadAnswerRDSN(bytes.NewReader(append(elsewhere, 1)))
	if err != nil || id != x.ID || !bytes.Equal(got, elsewhere) {
		t.Errorf("the answer reads as %d bytes, id %x, %v", len(got), id, err)
	}
}

func TestRDSNChecksums(t *testing.T) {
	if got := checksum([]byte("123456789")); got != 0xe3069283 { // the check value of CRC-32C
		t.Fatalf("checksum %x", got)
	}
	frame := unhex(t, rdsnGet)
	binary.LittleEndian.PutUint32(frame[20:], checksum(frame[192:]))
	binary.LittleEndian.PutUint32(frame[12:], checksum(frame[:192]))
	q, err := ReadRequest(bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	if answer := AppendRefusal(nil, q, CodeBusy); !bytes.Equal(answer[12:24], make([]byte, 12)) {
		t.Errorf("the answer has checksums: %x", answer[12:24])
	}
	if _, err := ReadRequest(bytes.NewReader(q.PassOn(nil))); err != nil {
		t.Errorf("passed on it is %v", err)
	}
	for at := range frame {
		bad := bytes.Clone(frame)
		bad[at] ^= 0x10
		if _, err := ReadRequest(bytes.NewReader(bad)); err == nil {
			t.Errorf("byte %d may be anything", at)
		} else if at >= 24 && !errors.Is(err, ErrChecksum) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

func TestMalformedRDSN(t *testing.T) {
	change := func(at int, value ...byte) []byte {
		b := unhex(t, rdsnGet)
		copy(b[at:], value)
		return b
	}
	for name, tt := range map[string]struct {
		frame []byte
		want  error
	}{
		"a header of 193": {change(8, 193), ErrLength},
		"a version":       {change(4, 1), ErrVersion},
		"a huge body":     {change(16, 0, 0, 0, 5), ErrLength},
		"an answer":       {change(104, 0x40), ErrMessageType},
		"JSON":            {change(104, 0xc1, 0), ErrVersion},
		"no name":         {change(40, 0), ErrEncoding},
		"an endless name": {change(40, bytes.Repeat([]byte{'x'}, 48)...), ErrEncoding},
		"a checksum":      {change(12, 1), ErrChecksum},
		"a body checksum": {change(20, 1), ErrChecksum},
	} {
		if q, err := ReadRequest(bytes.NewReader(tt.frame)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	truncations(t, unhex(t, rdsnGet), func(b []byte) error { _, err := ReadRequest(bytes.NewReader(b)); return err })
	truncations(t, unhex(t, rdsnGot), func(b []byte) error { _, _, err := ReadAnswerRDSN(bytes.NewReader(b)); return err })
	if _, _, err := ReadAnswerRDSN(bytes.NewReader(unhex(t, rdsnGet))); !errors.Is(err, ErrMessageType) {
		t.Errorf("a request as an answer: %v", err)
	}
	if _, _, err := ReadAnswerRDSN(strings.NewReader("HTTP/1.1 200 OK")); !errors.Is(err, ErrMagic) {
		t.Errorf("HTTP as an answer: %v", err)
	}
	if _, _, err := ReadAnswerRDSN(strings.NewReader("")); err != io.EOF {
		t.Errorf("nothing as an answer: %v", err)
	}
}

// What is accepted can be answered, refused and passed on.
func FuzzReadRDSN(f *testing.F) {
	f.Add(unhex(f, rdsnGet)[4:])
	f.Add(unhex(f, rdsnGot)[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ReadRequest(io.MultiReader(strings.NewReader(magicRDSN), bytes.NewReader(b)))
		if err != nil {
			return
		}
		for _, frame := range [][]byte{
			AppendRefusal(nil, q, CodeBusy), AppendElsewhere(nil, q, 1), CreateApp.AppendAnswer(nil, q, &CreateAppResponse{Err: OK}),
		} {
			got, id, err := ReadAnswerRDSN(bytes.NewReader(frame))
			if err != nil || id != q.RDSN.ID || !bytes.Equal(got, frame) {
				t.Fatalf("an answer reads as %x, %v", got, err)
			}
		}
		again, err := ReadRequest(bytes.NewReader(q.PassOn(nil)))
		if err != nil || again.Name != q.Name || !bytes.Equal(again.Args, q.Args) || again.Header != q.Header {
			t.Fatalf("passed on it is %+v, %v", again, err)
		}
	})
}

package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/brpc"
	"shardsh/cluster/openmldb/pb/ns"
)

// showTablet is a ShowTablet request with correlation id 1 and the credential of services.
const showTablet = "50525043 0000003a 0000003a 0a2c 0a1e 6f70656e6d6c64622e6e616d657365727665722e4e616d65536572766572" +
	"120a 53686f775461626c6574 2001 3a08 7364656661756c74"

func golden(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func showTabletMeta() *brpc.RpcMeta {
	return &brpc.RpcMeta{
		Request: &brpc.RpcRequestMeta{
			ServiceName: proto.String("openmldb.nameserver.NameServer"), MethodName: proto.String("ShowTablet"),
		},
		CorrelationId: proto.Int64(1), AuthenticationData: []byte("sdefault"),
	}
}

func TestFrameGolden(t *testing.T) {
	want := golden(t, showTablet)
	got, err := AppendFrame(nil, showTabletMeta(), &ns.ShowTabletRequest{}, nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("AppendFrame = %x, %v\nwant %x", got, err, want)
	}
	f, err := ReadFrame(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(f.Meta, showTabletMeta()) || len(f.Payload) != 0 || len(f.Attachment) != 0 {
		t.Errorf("ReadFrame = %v, %x, %x", f.Meta, f.Payload, f.Attachment)
	}
}

func TestFrameAttachment(t *testing.T) {
	meta := &brpc.RpcMeta{CorrelationId: proto.Int64(-7)}
	buf, err := AppendFrame([]byte("before"), meta, &api.DeleteTaskRequest{OpId: []uint64{1, 300}}, []byte("block"))
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(buf[len("before"):])
	f, err := ReadFrame(r)
	if err != nil {
		t.Fatal(err)
	}
	var q api.DeleteTaskRequest
	if err := proto.Unmarshal(f.Payload, &q); err != nil || len(q.OpId) != 2 || q.OpId[1] != 300 {
		t.Errorf("payload %x: %v, %v", f.Payload, q.OpId, err)
	}
	if string(f.Attachment) != "block" || f.Meta.GetCorrelationId() != -7 {
		t.Errorf("attachment %q, id %d", f.Attachment, f.Meta.GetCorrelationId())
	}
	if _, err := ReadFrame(r); !errors.Is(err, io.EOF) {
		t.Errorf("after the last frame: %v", err)
	}
}

func TestFrameMalformed(t *testing.T) {
	whole := golden(t, showTablet)
	for n := 1; n < len(whole); n++ {
		if _, err := ReadFrame(bytes.NewReader(whole[:n])); !errors.Is(err, ErrFrame) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for name, change := range map[string]func([]byte){
		"magic":            func(b []byte) { b[0] = 'p' },
		"body too long":    func(b []byte) { b[4] = 0xff },
		"meta beyond body": func(b []byte) { b[11] = 0x3b },
		"meta cut short":   func(b []byte) { b[11] = 0x20 },
	} {
		b := bytes.Clone(whole)
		change(b)
		if _, err := ReadFrame(bytes.NewReader(b)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, meta := range map[string]*brpc.RpcMeta{
		"attachment beyond body": {AttachmentSize: proto.Int32(9)},
		"negative attachment":    {AttachmentSize: proto.Int32(-1)},
		"compressed":             {CompressType: proto.Int32(2)},
	} {
		b, err := AppendFrame(nil, meta, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFrame(bytes.NewReader(b)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := AppendFrame(nil, &brpc.RpcMeta{}, nil, make([]byte, MaxBody)); err == nil {
		t.Error("a frame that no server takes was made")
	}
}

// A head that promises much must not make the reader allocate it.
func TestFramePromise(t *testing.T) {
	head := append([]byte(Magic), 0x04, 0, 0, 0, 0, 0, 0, 1)
	if n := testing.AllocsPerRun(1, func() { _, _ = ReadFrame(bytes.NewReader(head)) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(golden(f, showTablet))
	attached, err := AppendFrame(nil, &brpc.RpcMeta{CorrelationId: proto.Int64(2)}, &ns.GeneralResponse{Code: proto.Int32(0)}, []byte("abc"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(attached)
	f.Add([]byte(Magic + "\x03\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := ReadFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(frame.Payload)+len(frame.Attachment) > len(b) {
			t.Errorf("%d bytes made %d", len(b), len(frame.Payload)+len(frame.Attachment))
		}
		again, err := AppendFrame(nil, frame.Meta, nil, frame.Attachment)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFrame(bytes.NewReader(again)); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}

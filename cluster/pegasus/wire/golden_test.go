package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// pieces reads a frame written in words: "kind:value", where the kind says what damage to a piece must be noticed.
//
//	t type byte · l length or count (i32) · c count that may grow by one, because a whole field of the same size
//	follows · m mark that has one value only · i anything else in hex · s text
func pieces(text string) (frame []byte, parts []piece) {
	for _, word := range strings.Fields(text) {
		kind, value, _ := strings.Cut(word, ":")
		b := []byte(value)
		if kind != "s" {
			var err error
			if b, err = hex.DecodeString(value); err != nil {
				panic(word + ": " + err.Error())
			}
		}
		parts = append(parts, piece{kind: kind, at: len(frame), size: len(b)})
		frame = append(frame, b...)
	}
	return frame, parts
}

type piece struct {
	kind     string
	at, size int
}

const (
	goldenQuery = `m:54484654 m:00000000 m:00000030 i:00000000 l:0000004a i:00000000 i:00000000 i:00000000
		i:000003e8 i:00000000 i:0000000000000000
		m:800100 m:01 l:00000026 s:RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX i:00000001
		i:0c i:0001  t:0b i:0001 l:00000004 s:temp  t:0f i:0002 i:08 l:00000000  m:00  m:00`

	goldenGet = `m:54484654 m:00000000 m:00000030 i:00000000 l:00000029 i:00000000 i:00000002 i:00000003
		i:000001f4 i:00003de1 i:1122334455667788
		m:800100 m:01 l:00000011 s:RPC_RRDB_RRDB_GET i:00000002
		i:0c i:0001  l:00000004 i:0001 i:68 i:73   m:00`

	// The result of a query config, behind the frame and message begin that every response has.
	goldenConfig = `l:000000d6 l:00000006 s:ERR_OK m:800100 m:02 l:0000002a
		s:RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX_ACK i:00000001
		t:0c i:0000
		t:0c i:0001 l:00000006 s:ERR_OK
		t:08 i:0002 i:00000002
		t:08 i:0003 i:00000001
		t:02 i:0004 i:01
		t:0f i:0005 t:0c l:00000001
		  t:0c i:0001 i:0000000100000002
		  t:0a i:0002 i:0000000000000003
		  t:08 i:0003 i:00000003
		  t:0c i:0004 i:7f00000187f10001
		  t:0f i:0005 t:0c c:00000001   i:7f00000187f20001
		  t:0f i:0006 i:0c l:00000000
		  t:0a i:0007 i:0000000000000000
		  t:08 i:0008 i:00000000
		  t:0c i:0009 l:00000009 s:localhost i:87f1 i:01
		  m:00
		m:00
		m:00`
)

var goldenConfigValue = QueryConfigResponse{
	Err: OK, AppID: 2, Partitions: 1, Stateful: true,
	Configs: []Partition{{
		PID: GPID{App: 2, Partition: 1}, Ballot: 3, MaxReplicas: 3, Primary: 0x7f00000187f10001,
		Secondaries: []Address{0x7f00000187f20001}, LastDrops: []Address{},
		HPPrimary: &HostPort{Host: "localhost", Port: 34801, Type: 1},
	}},
}

func TestGoldenQueryConfigRequest(t *testing.T) {
	want, _ := pieces(goldenQuery)
	got := QueryConfig.AppendRequest(nil, Header{TimeoutMillis: 1000}, 1, &QueryConfigRequest{AppName: "temp"})
	equalBytes(t, got, want)
	q, err := ReadRequest(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	var args QueryConfigRequest
	if err := QueryConfig.DecodeArgs(q.Args, &args); err != nil {
		t.Fatal(err)
	}
	if args.AppName != "temp" || len(args.Indices) != 0 || q.Name != QueryConfig.Name || q.Seq != 1 || q.TimeoutMillis != 1000 {
		t.Errorf("read %+v of %+v", args, q)
	}
}

func TestGoldenGetRequest(t *testing.T) {
	want, _ := pieces(goldenGet)
	key, err := EncodeKey([]byte("h"), []byte("s"))
	if err != nil {
		t.Fatal(err)
	}
	gpid := GPID{App: 2, Partition: 3}
	h := Header{GPID: gpid, TimeoutMillis: 500, ThreadHash: gpid.ThreadHash(), PartitionHash: 0x1122334455667788}
	equalBytes(t, Get.AppendRequest(nil, h, 2, &key), want)
	q, err := ReadRequest(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, q.Header); diff != "" {
		t.Error(diff)
	}
	var got []byte
	if err := Get.DecodeArgs(q.Args, &got); err != nil || !bytes.Equal(got, key) {
		t.Errorf("key % x, %v", got, err)
	}
}

func TestGoldenQueryConfigResult(t *testing.T) {
	want, _ := pieces(goldenConfig)
	equalBytes(t, QueryConfig.AppendReply(nil, 1, &goldenConfigValue), want)
	reply, err := ReadReply(bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	var got QueryConfigResponse
	if err := QueryConfig.DecodeResult(reply.Body, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goldenConfigValue, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	p := got.Configs[0]
	if p.Primary.String() != "127.0.0.1:34801" || p.Secondaries[0].String() != "127.0.0.1:34802" || p.HPPrimary.String() != "localhost:34801" {
		t.Errorf("addresses %v %v %v", p.Primary, p.Secondaries, p.HPPrimary)
	}
}

func equalBytes(t *testing.T, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("encoded\n%swant\n%s", hex.Dump(got), hex.Dump(want))
	}
}

func TestHashVectors(t *testing.T) {
	for key, want := range map[string]uint64{"": 0, "a": 0x8c2f8445b4cbfc3c, "hash_key": 0x65641f36e9f6a96d} {
		if got := Hash([]byte(key), nil); got != want {
			t.Errorf("hash of %q is %#x, want %#x", key, got, want)
		}
	}
	if Hash(nil, []byte("a")) != 0x8c2f8445b4cbfc3c {
		t.Error("without a hash key the sort key is hashed")
	}
}

func TestVersionOneHeader(t *testing.T) {
	h := Header{Version: 1, GPID: GPID{2, 3}, TimeoutMillis: 700, ThreadHash: 2*7919 + 3, PartitionHash: 1 << 63, Backup: true}
	key := []byte{0, 1, 'h', 's'}
	frame := Get.AppendRequest(nil, h, 9, &key)
	q, err := ReadRequest(bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, q.Header); diff != "" {
		t.Error(diff)
	}
	if q.Name != Get.Name || q.Seq != 9 {
		t.Errorf("read %+v", q)
	}
	truncations(t, frame, func(b []byte) error { _, err := ReadRequest(bytes.NewReader(b)); return err })
}

func TestRejection(t *testing.T) {
	frame := AppendRejection(nil, Get.Name, 4, CodeInvalidState)
	reply, err := ReadReply(bytes.NewReader(frame))
	if err != nil || reply.OK() || reply.Code != CodeInvalidState || reply.Seq != 4 || reply.Name != Get.Name+"_ACK" {
		t.Errorf("read %+v, %v", reply, err)
	}
}

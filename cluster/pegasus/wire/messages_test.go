package wire

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func to[T any](v T) *T { return &v }

// sample is a filled message of an RPC, able to go through its frame and back.
type sample struct {
	name  string
	frame func() []byte
	// decode reads the frame and compares.
	decode func(frame []byte) (diff string, err error)
}

func request[Q, A any](r *RPC[Q, A], q Q) sample {
	return sample{
		r.Name,
		func() []byte { return r.AppendRequest(nil, Header{GPID: GPID{1, 2}, TimeoutMillis: 3}, 77, &q) },
		func(frame []byte) (string, error) {
			m, err := ReadRequest(bytes.NewReader(frame))
			if err != nil {
				return "", err
			}
			if m.Name != r.Name || m.Seq != 77 {
				return "another message", nil
			}
			var got Q
			err = r.DecodeArgs(m.Args, &got)
			return cmp.Diff(q, got, cmpopts.EquateEmpty()), err
		},
	}
}

func response[Q, A any](r *RPC[Q, A], a A) sample {
	return sample{
		r.Name + ackSuffix,
		func() []byte { return r.AppendReply(nil, 78, &a) },
		func(frame []byte) (string, error) {
			m, err := ReadReply(bytes.NewReader(frame))
			if err != nil {
				return "", err
			}
			if m.Name != r.Name+ackSuffix || m.Seq != 78 || !m.OK() {
				return "another message", nil
			}
			var got A
			err = r.DecodeResult(m.Body, &got)
			return cmp.Diff(a, got, cmpopts.EquateEmpty()), err
		},
	}
}

var (
	someRows = []KeyValue{{Key: []byte("\x00\x01hs"), Value: []byte("v"), ExpireTS: 5}, {Key: []byte("k"), Value: nil}}
	someApp  = AppInfo{
		Status: AppAvailable, Type: "pegasus", Name: "表", ID: 2, Partitions: 8, Envs: map[string]string{"a": "1", "b": ""},
		Stateful: true, MaxReplicas: 3, ExpireSecond: 1, CreateSecond: 2, DropSecond: 3, Duplicating: to(true),
		InitPartitions: -1, BulkLoading: to(false), AtomicIdempotent: to(true),
	}
	someHost = HostPort{Host: "node-1", Port: 34801, Type: 1}
)

// samples has a request and a response of every RPC.
func samples() []sample {
	update := UpdateResponse{Error: 4, AppID: 2, Partition: 3, Decree: 1 << 40, Server: "127.0.0.1:34801"}
	check := CheckResponse{
		Error: 13, CheckValueReturned: true, CheckValueExist: true, CheckValue: []byte("old"), AppID: 2, Partition: 3, Decree: 4, Server: "s",
	}
	scan := ScanResponse{Error: 7, Rows: someRows, ContextID: 9, AppID: 2, Partition: 3, Server: "s", Count: to(int32(0))}
	return append(slices.Concat(sampleMetas(), samplePlacement(), sampleTables(), sampleSplit(), sampleDisks(), sampleOps(), sampleDups(), sampleBackups(), sampleBulk()),
		request(&Put, PutRequest{Key: []byte("k"), Value: []byte{0, 0xff}, ExpireTS: -1, Type: to(int32(1)), CheckValueReturned: to(true), CheckValueExist: to(false), CheckValue: to([]byte("x"))}),
		response(&Put, update),
		request(&Remove, []byte("key")), response(&Remove, update),
		request(&MultiPut, MultiPutRequest{HashKey: []byte("h"), Rows: someRows, ExpireTS: 8}), response(&MultiPut, update),
		request(&MultiRemove, MultiRemoveRequest{HashKey: []byte("h"), SortKeys: [][]byte{[]byte("a"), nil}, MaxCount: 2}),
		response(&MultiRemove, MultiRemoveResponse{Error: 1, Count: 2, AppID: 3, Partition: 4, Decree: 5, Server: "s"}),
		request(&Incr, IncrRequest{Key: []byte("k"), Increment: -3, ExpireTS: 1}),
		response(&Incr, IncrResponse{Error: 1, NewValue: -2, AppID: 3, Partition: 4, Decree: 5, Server: "s"}),
		request(&Get, []byte("key")), response(&Get, GetResponse{Error: 1, Value: []byte("v"), AppID: 3, Partition: 4, Server: "s"}),
		request(&TTL, []byte("key")), response(&TTL, TTLResponse{Error: 1, TTL: -1, AppID: 3, Partition: 4, Server: "s"}),
		request(&SortKeyCount, []byte("h")), response(&SortKeyCount, CountResponse{Error: 1, Count: 1 << 33, AppID: 3, Partition: 4, Server: "s"}),
		request(&MultiGet, MultiGetRequest{
			HashKey: []byte("h"), SortKeys: [][]byte{[]byte("a")}, MaxCount: 1, MaxSize: 2, NoValue: true,
			StartSortKey: []byte("b"), StopSortKey: []byte("c"), StartInclusive: true, StopInclusive: true,
			SortKeyFilter: FilterPostfix, SortKeyPattern: []byte("p"), Reverse: true,
		}),
		response(&MultiGet, MultiGetResponse{Error: 7, Rows: someRows, AppID: 3, Partition: 4, Server: "s"}),
		request(&GetScanner, GetScannerRequest{
			StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, StartInclusive: true, BatchSize: 100, NoValue: true,
			HashKeyFilter: FilterPrefix, HashKeyPattern: []byte("h"), SortKeyFilter: FilterAnywhere, SortKeyPattern: []byte("s"),
			ValidatePartitionHash: to(true), ReturnExpireTS: to(true), FullScan: to(false), OnlyReturnCount: to(true),
		}),
		response(&GetScanner, scan),
		request(&Scan, ScanRequest{ContextID: 1 << 50}), response(&Scan, scan),
		request(&ClearScanner, int64(-7)), response(&ClearScanner, struct{}{}),
		request(&CheckAndSet, CheckAndSetRequest{
			HashKey: []byte("h"), CheckSortKey: []byte("c"), CheckType: CheckIntGreater, CheckOperand: []byte("-5"),
			SetDiffSortKey: true, SetSortKey: []byte("s"), SetValue: []byte{0xff}, ExpireTS: 9, ReturnCheckValue: true,
		}),
		response(&CheckAndSet, check),
		request(&CheckAndMutate, CheckAndMutateRequest{
			HashKey: []byte("h"), CheckSortKey: []byte("c"), CheckType: CheckPrefix, CheckOperand: []byte("o"),
			Mutations:        []Mutation{{SortKey: []byte("s"), Value: []byte("v"), ExpireTS: 9}, {Operation: MutateDelete}},
			ReturnCheckValue: true,
		}),
		response(&CheckAndMutate, check),
		request(&CallCommand, Command{Name: "meta.lb.assign_delay_ms", Args: []string{"10", ""}}), response(&CallCommand, "OK\n"),
		request(&Negotiate, Negotiation{Status: AuthListMechanisms}), response(&Negotiate, Negotiation{Status: AuthListMechanismsResp, Msg: []byte("GSSAPI")}),
		request(&QueryAppInfo, QueryNodeRequest{Node: 0x7f00000187f10001, HPNode: &someHost}),
		response(&QueryAppInfo, QueryAppInfoResponse{Err: OK, Apps: []AppInfo{someApp}}),
		request(&QueryReplicaInfo, QueryNodeRequest{Node: 1}),
		response(&QueryReplicaInfo, QueryReplicaInfoResponse{Err: OK, Replicas: []ReplicaInfo{{
			PID: GPID{1, -1}, Ballot: 2, Status: ReplicaPrimary, LastCommitted: 3, LastPrepared: 4, LastDurable: 5,
			AppType: "pegasus", DiskTag: "ssd1", ManualCompact: to(int32(2)),
		}}}),
	)
}

func sampleMetas() []sample {
	return []sample{
		request(&QueryConfig, QueryConfigRequest{AppName: "temp", Indices: []int32{1, 2}}), response(&QueryConfig, goldenConfigValue),
		request(&CreateApp, CreateAppRequest{AppName: "t", Options: CreateAppOptions{
			Partitions: 4, Replicas: 3, SuccessIfExist: true, AppType: "pegasus", Stateful: true,
			Envs: map[string]string{"k": "v"}, AtomicIdempotent: to(false),
		}}),
		response(&CreateApp, CreateAppResponse{Err: CodeAppExist, AppID: 7}),
		request(&DropApp, DropAppRequest{AppName: "t", Options: DropAppOptions{SuccessIfNotExist: true, ReserveSeconds: to(int64(9))}}),
		response(&DropApp, ErrResponse{Err: "ERR_OF_THE_FUTURE"}),
		request(&ListApps, ListAppsRequest{Status: AppDropped, Pattern: to("x"), MatchType: to(int32(3))}),
		response(&ListApps, ListAppsResponse{Err: OK, Apps: []AppInfo{someApp, {}}, Hint: to("hint")}),
		request(&UpdateAppEnv, UpdateAppEnvRequest{AppName: "t", Op: EnvSet, Keys: []string{"k"}, Values: []string{"v"}, ClearPrefix: to("")}),
		response(&UpdateAppEnv, HintResponse{Err: CodeInvalidParameters, Hint: "no such env"}),
		request(&ListNodes, ListNodesRequest{Status: NodeAlive}),
		response(&ListNodes, ListNodesResponse{Err: OK, Nodes: []NodeInfo{{Status: NodeUnalive, Node: 0x7f00000187f10001, HPNode: &someHost}}}),
		request(&ClusterInfo, struct{}{}), response(&ClusterInfo, ClusterInfoResponse{Err: OK, Keys: []string{"k"}, Values: []string{"v"}}),
		request(&ControlMeta, ControlMetaRequest{Level: LevelSteady}), response(&ControlMeta, ControlMetaResponse{Err: OK, OldLevel: LevelLively}),
	}
}

func TestRoundTrips(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range samples() {
		seen[s.name] = true
		diff, err := s.decode(s.frame())
		if err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", s.name, err, diff)
		}
	}
	for _, c := range calls() {
		if !seen[c.name()] || !seen[c.name()+ackSuffix] {
			t.Errorf("%s has no sample", c.name())
		}
	}
}

func TestEveryTruncation(t *testing.T) {
	for _, s := range samples() {
		truncations(t, s.frame(), func(b []byte) error { _, err := s.decode(b); return err })
	}
}

// truncations cuts a frame at every length, as the stream would end there.
func truncations(t *testing.T, frame []byte, decode func([]byte) error) {
	t.Helper()
	if err := decode(frame); err != nil {
		t.Fatalf("the whole frame: %v", err)
	}
	for n := range frame {
		if err := decode(frame[:n]); err == nil {
			t.Fatalf("%d of %d bytes are taken for a whole frame", n, len(frame))
		}
	}
}

// TestEveryShortBody cuts the encoded message instead, as a server would that counts wrong.
func TestEveryShortBody(t *testing.T) {
	for _, c := range calls() {
		for _, s := range samples() {
			var body []byte
			var recode func([]byte) ([]byte, error)
			switch s.name {
			case c.name():
				q, err := ReadRequest(bytes.NewReader(s.frame()))
				if err != nil {
					t.Fatal(err)
				}
				body, recode = q.Args[3:len(q.Args)-1], c.recodeArgs
			case c.name() + ackSuffix:
				r, err := ReadReply(bytes.NewReader(s.frame()))
				if err != nil {
					t.Fatal(err)
				}
				body, recode = r.Body[3:len(r.Body)-1], c.recodeResult
			default:
				continue
			}
			again, err := recode(body)
			if err != nil || !bytes.Equal(again, body) {
				t.Errorf("%s: % x became % x, %v", s.name, body, again, err)
			}
			for n := range body {
				if _, err := recode(body[:n]); err == nil {
					t.Errorf("%s: %d of %d bytes are taken for the message", s.name, n, len(body))
				}
			}
		}
	}
}

func TestUnknownFields(t *testing.T) {
	// A key_value with fields of later releases between and behind the known ones.
	head := "\x0c\x00\x01\x00\x00\x00\x01k"
	tail := "\x0c\x00\x02\x00\x00\x00\x01v\x00"
	fields := map[string]string{
		"bool":    "\x02\x00\x63\x01",
		"byte":    "\x03\x00\x63\x01",
		"double":  "\x04\x00\x6312345678",
		"i16":     "\x06\x00\x6312",
		"i32":     "\x08\x00\x631234",
		"i64":     "\x0a\x00\x6312345678",
		"string":  "\x0b\x00\x63\x00\x00\x00\x03abc",
		"list":    "\x0f\x00\x63\x08\x00\x00\x00\x0212341234",
		"set":     "\x0e\x00\x63\x0b\x00\x00\x00\x01\x00\x00\x00\x01x",
		"map":     "\x0d\x00\x63\x0b\x08\x00\x00\x00\x01\x00\x00\x00\x01x1234",
		"no list": "\x0f\x00\x63\x0c\x00\x00\x00\x00",
		"no map":  "\x0d\x00\x63\x00\x00\x00\x00\x00\x00",
		"nested":  "\x0f\x00\x63\x0f\x00\x00\x00\x01\x02\x00\x00\x00\x02\x01\x00",
	}
	for name, field := range fields {
		var kv KeyValue
		if err := keyValueType.Decode([]byte(head+field+tail), &kv); err != nil || string(kv.Key)+string(kv.Value) != "kv" {
			t.Errorf("%s: %v, %+v", name, err, kv)
		}
	}
	for name, field := range map[string]string{
		"struct":          "\x0c\x00\x63\x00",
		"list of structs": "\x0f\x00\x63\x0c\x00\x00\x00\x01\x00",
		"map of structs":  "\x0d\x00\x63\x08\x0c\x00\x00\x00\x01\x00\x00\x00\x01\x00",
	} {
		var kv KeyValue
		err := keyValueType.Decode([]byte(head+field+tail), &kv)
		if err == nil || fmt.Sprint(err) == "" {
			t.Errorf("%s was skipped", name)
		}
	}
}

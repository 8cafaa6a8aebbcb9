package port

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/sandbox/fault"
)

func serveHTTP(t *testing.T, config Config, options HTTPOptions) (*Port, *nameserver) {
	answer := HTTP(options)
	var p *Port
	var n *nameserver
	config.HTTP = func(c net.Conn) { answer(c, p.config.Services) }
	p, n = serve(t, config)
	return p, n
}

// exchange sends a request as it is written here, and reads one answer; nil when the connection is closed instead.
func exchange(t *testing.T, conn net.Conn, r *bufio.Reader, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n", method, path, len(body), strings.Join(append(header, ""), "\r\n"))
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(conn, head+body) // when it fails, so does what follows
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s %s: %v", method, path, err)
		}
		return nil, ""
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer, string(text)
}

func ask(t *testing.T, p *Port, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return exchange(t, conn, bufio.NewReader(conn), method, path, body, header...)
}

const authorized = "Authorization: sdefault"

func TestHTTP(t *testing.T) {
	p, n := serveHTTP(t, Config{}, HTTPOptions{Version: "0.9 of a test"})
	for _, tt := range []struct {
		method, path, body string
		header             []string
		status             int // 0: closed without an answer
		code               string
		want               string // what the body contains
	}{
		{method: "POST", path: "/NameServer/ConfGet", body: "{}", header: []string{authorized}, status: 200, want: `{"code":0,"msg":"ok"}`},
		{method: "GET", path: "/openmldb.nameserver.NameServer/ConfGet", header: []string{authorized}, status: 200, want: `{"code":0,"msg":"ok"}`},
		{method: "POST", path: "/NameServer/ConfGet", body: "{}"},
		{method: "GET", path: "/nowhere"},
		{method: "GET", path: "/nowhere", header: []string{authorized}, status: 404, code: "1001", want: "Fail to find method on `/nowhere'"},
		{method: "GET", path: "/NameServer/Nothing", header: []string{authorized}, status: 404, code: "1002"},
		{method: "GET", path: "/NameServer/OfflineEndpoint", header: []string{authorized}, status: 400, code: "1003", want: "endpoint"},
		{method: "POST", path: "/NameServer/OfflineEndpoint", body: `{"concurrency":2}`, header: []string{authorized}, status: 400, code: "1003", want: "missing required field: openmldb.nameserver.OfflineEndpointRequest.endpoint"},
		{method: "POST", path: "/NameServer/OfflineEndpoint", body: `{"endpoint":7}`, header: []string{authorized}, status: 400, code: "1003", want: "invalid value `7'"},
		{method: "POST", path: "/NameServer/OfflineEndpoint", body: `{"endpoint":"e1","concurrency":"two","other":[1]}`, header: []string{authorized}, status: 200, want: `{"code":0}`},
		{method: "POST", path: "/NameServer/OfflineEndpoint", body: `[`, header: []string{authorized}, status: 400, code: "1003"},
		{method: "POST", path: "/NameServer/ShowDatabase", body: `{}`, header: []string{authorized}, status: 500, code: "2001", want: "broken"},
		{method: "PUT", path: "/NameServer/ConfGet", body: "{}", header: []string{authorized}, status: 405},
		{method: "GET", path: "/health", status: 200, want: "OK"},
		{method: "GET", path: "/version", status: 200, want: "0.9 of a test"},
		{method: "GET", path: "/status", status: 200, want: "[openmldb.nameserver.NameServer]\nConfGet\n  count: 2\n  error: 0\n"},
	} {
		answer, text := ask(t, p, tt.method, tt.path, tt.body, tt.header...)
		if answer == nil {
			if tt.status != 0 {
				t.Errorf("%s %s %s: closed", tt.method, tt.path, tt.body)
			}
			continue
		}
		if answer.StatusCode != tt.status || answer.Header.Get("x-bd-error-code") != tt.code || !strings.Contains(text, tt.want) {
			t.Errorf("%s %s %s: %d %s %q", tt.method, tt.path, tt.body, answer.StatusCode, answer.Header.Get("x-bd-error-code"), text)
		}
	}
	if _, done := n.calls.Load("e1"); !done {
		t.Error("a call with a strange optional field was not carried out")
	}
}

// The first request of a connection is checked, a page passes, and what follows is not looked at.
func TestHTTPConnection(t *testing.T) {
	p, _ := serveHTTP(t, Config{}, HTTPOptions{Admit: func(credential string) bool { return credential == "sdefault" }})
	if answer, _ := ask(t, p, "GET", "/NameServer/ConfGet", "", "Authorization: swrong"); answer != nil {
		t.Errorf("a wrong credential: %d", answer.StatusCode)
	}
	conn, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for i, header := range []string{authorized, "X: y", "X: y"} {
		if answer, text := exchange(t, conn, r, "GET", "/NameServer/ConfGet", "", header); answer == nil || answer.StatusCode != 200 {
			t.Fatalf("request %d: %v %q", i, answer, text)
		}
	}
}

func TestHTTPProto(t *testing.T) {
	p, n := serveHTTP(t, Config{}, HTTPOptions{})
	sent, err := proto.Marshal(&ns.OfflineEndpointRequest{Endpoint: proto.String("by proto")})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"application/proto", "application/x-protobuf"} {
		answer, text := ask(t, p, "POST", "/NameServer/OfflineEndpoint", string(sent), authorized, "Content-Type: "+kind)
		if answer == nil || answer.StatusCode != 200 || answer.Header.Get("Content-Type") != kind {
			t.Fatalf("%s: %v %q", kind, answer, text)
		}
		var a ns.GeneralResponse
		if err := proto.Unmarshal([]byte(text), &a); err != nil || a.Code == nil {
			t.Errorf("%s: %v, %v", kind, &a, err)
		}
	}
	if _, done := n.calls.Load("by proto"); !done {
		t.Error("it was not carried out")
	}
	answer, text := ask(t, p, "POST", "/NameServer/OfflineEndpoint", `endpoint: "text"`, authorized, "Content-Type: application/proto-text")
	if answer == nil || answer.StatusCode != 200 || !strings.HasPrefix(text, "code:") {
		t.Errorf("text: %v %q", answer, text)
	}
}

func TestHTTPPoints(t *testing.T) {
	points := fault.NewPoints(fault.OfCalls("ns", []string{PointName("OfflineEndpoint")})...)
	p, n := serveHTTP(t, Config{Points: points, Role: "ns"}, HTTPOptions{})
	for _, where := range []string{fault.Received, fault.Accepted, fault.Answer} {
		if err := points.Arm(fault.CallPoint("ns", where, "offline-endpoint"), 1); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", p.Address())
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"endpoint":"%s"}`, where)
		fmt.Fprintf(conn, "POST /NameServer/OfflineEndpoint HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %d\r\n\r\n%s", authorized, len(body), body)
		for where != fault.Answer && points.Live() {
			time.Sleep(time.Millisecond)
		}
		if where != fault.Answer { // it stays, and stays silent
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			var late net.Error
			if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &late) || !late.Timeout() {
				t.Errorf("%s: %v", where, err)
			}
		} else if b, err := io.ReadAll(conn); len(b) != 0 {
			t.Errorf("%s: %q, %v", where, b, err)
		}
		conn.Close()
		if _, done := n.calls.Load(where); done != (where != fault.Received) {
			t.Errorf("%s: carried out: %v", where, done)
		}
	}
}

// Drain answers what was asked, and Abort ends what will never be answered.
func TestHTTPEnds(t *testing.T) {
	for _, kind := range []string{"drain", "abort"} {
		p, n := serveHTTP(t, Config{}, HTTPOptions{})
		got := make(chan *http.Response, 1)
		go func() {
			answer, _ := ask(t, p, "POST", "/NameServer/UseDatabase", `{"db":"d"}`, authorized)
			got <- answer
		}()
		<-n.entered
		ended := make(chan error)
		go func() {
			if kind == "drain" {
				ended <- p.Drain(soon(t))
			} else {
				ended <- p.Abort()
			}
		}()
		if kind == "drain" {
			n.goOn <- struct{}{}
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if answer := <-got; (answer != nil) != (kind == "drain") {
			t.Errorf("%s: the answer is %v", kind, answer)
		}
	}
}

// What brpc's own json2pb would write, by the rules of the fact sheet.
func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		m    proto.Message
		text string
	}{
		{
			&ns.ConfGetResponse{Code: proto.Int32(0), Msg: proto.String("ok"), Conf: []*ns.Pair{{Key: proto.String("auto_failover"), Value: proto.String("true")}}},
			`{"code":0,"msg":"ok","conf":{"auto_failover":"true"}}`,
		},
		{
			&ns.ConfSetRequest{Conf: &ns.Pair{Key: proto.String("auto_failover"), Value: proto.String("false")}},
			`{"conf":{"key":"auto_failover","value":"false"}}`,
		},
		{
			&ns.TablePartition{Pid: proto.Uint32(0), PartitionMeta: []*ns.PartitionMeta{
				{Endpoint: proto.String("e"), IsLeader: proto.Bool(true), Offset: proto.Uint64(1<<64 - 1)},
				{Endpoint: proto.String("f"), IsLeader: proto.Bool(false), IsAlive: proto.Bool(true)},
			}},
			`{"pid":0,"partition_meta":[{"endpoint":"e","is_leader":true,"offset":18446744073709551615},{"endpoint":"f","is_leader":false,"is_alive":true}]}`,
		},
		{
			&api.PutRequest{Value: []byte{0, 255, 16}, Time: proto.Int64(-5), Dimensions: []*api.Dimension{{Key: proto.String("a<b>\"\n"), Idx: proto.Uint32(0)}}},
			`{"time":-5,"value":"AP8Q","dimensions":[{"key":"a<b>\"\n","idx":0}]}`,
		},
		{&api.ChangeRoleRequest{Mode: api.TableMode_kTableLeader.Enum(), Replicas: []string{"x", "y"}}, `{"mode":"kTableLeader","replicas":["x","y"]}`},
		{&ns.OfflineTableInfo{Path: proto.String("p"), Format: proto.String("csv"), Options: map[string]string{"header": "true"}}, `{"path":"p","format":"csv","options":{"header":"true"}}`},
		{&ns.ShowTableResponse{Code: proto.Int32(0)}, `{"code":0}`},
	} {
		got, err := marshalJSON(tt.m)
		if err != nil || string(got) != tt.text || !json.Valid(got) {
			t.Errorf("%v\n is %s, %v\nwant %s", tt.m, got, err, tt.text)
		}
		back := tt.m.ProtoReflect().New().Interface()
		if err := unmarshalJSON([]byte(tt.text), back); err != nil || !proto.Equal(back, tt.m) {
			t.Errorf("%s\n is read as %v, %v", tt.text, back, err)
		}
	}
	if _, err := marshalJSON(&ns.GeneralResponse{}); err == nil {
		t.Error("an answer without its code was written")
	}
}

func TestReadJSON(t *testing.T) {
	read := func(m proto.Message, text string) proto.Message {
		t.Helper()
		if err := unmarshalJSON([]byte(text), m); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return m
	}
	for _, tt := range []struct {
		got, want proto.Message
	}{
		{read(&api.PutRequest{}, `{"time":"-7","tid":"3","pid":4.0,"check_exists":"yes","value":"!"}`), &api.PutRequest{Time: proto.Int64(-7)}},
		{read(&api.PutRequest{}, `{"tid":4294967295,"pid":4294967296,"dimensions":[]}`), &api.PutRequest{Tid: proto.Uint32(1<<32 - 1)}},
		{read(&api.ChangeRoleRequest{}, `{"mode":2,"term":18446744073709551615}`), &api.ChangeRoleRequest{Mode: api.TableMode_kTableFollower.Enum(), Term: proto.Uint64(1<<64 - 1)}},
		{read(&api.ChangeRoleRequest{}, `{"mode":"kNothing"}`), &api.ChangeRoleRequest{}},
		{read(&api.ChangeRoleRequest{}, `{"mode":99,"term":null}`), &api.ChangeRoleRequest{}},
		{
			read(&ns.ConfGetResponse{}, `{"code":1,"conf":[{"key":"a","value":"b"}]}`),
			&ns.ConfGetResponse{Code: proto.Int32(1), Conf: []*ns.Pair{{Key: proto.String("a"), Value: proto.String("b")}}},
		},
	} {
		if !proto.Equal(tt.got, tt.want) {
			t.Errorf("read %v, want %v", tt.got, tt.want)
		}
	}
	for _, tt := range []struct {
		m    proto.Message
		text string
	}{
		{&api.ChangeRoleRequest{}, `{"replicas":"x"}`},
		{&api.ChangeRoleRequest{}, `{"replicas":["x",1]}`},
		{&ns.ConfSetRequest{}, `{"conf":{"key":"a"}}`},
		{&ns.ConfSetRequest{}, `{"conf":null}`},
		{&ns.ConfSetRequest{}, `"conf"`},
		{&ns.ConfSetRequest{}, `{"conf":{"key":"a","value":"b"}} {}`},
		{&ns.ConfSetRequest{}, `{"conf":` + strings.Repeat(`{"a":`, 20000)},
		{&ns.AddReplicaNSRequest{}, `{"name":"t","pid":-1,"endpoint":"e"}`},
	} {
		if err := unmarshalJSON([]byte(tt.text), tt.m); err == nil {
			t.Errorf("%.80s was read as %v", tt.text, tt.m)
		}
	}
}

func FuzzReadJSON(f *testing.F) {
	for _, text := range []string{
		`{"name":"t","pid":0,"endpoint":"e","pid_group":[1,2],"task_info":{"op_id":1,"op_type":"kAddReplicaOP","task_type":5,"status":1}}`,
		`{"table_info":{"name":"t","column_desc":[{"name":"a","schema":{"name":"b","type_fields":[{"name":"c"}]}}],"offline_table_info":{"path":"p","format":"f","options":{"k":"v"}}}}`,
		`[]`, `{"conf":{"key":"\ud800","value":1e999}}`, `{`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, m := range []proto.Message{&ns.AddReplicaNSRequest{}, &ns.CreateTableRequest{}, &ns.ConfGetResponse{}, &api.PutRequest{}} {
			if unmarshalJSON(text, m) != nil {
				continue
			}
			written, err := marshalJSON(m)
			if err != nil {
				t.Fatal(err)
			}
			back := m.ProtoReflect().New().Interface()
			if err := unmarshalJSON(written, back); err != nil {
				t.Fatalf("%s: %v", written, err)
			}
			again, err := marshalJSON(back)
			if err != nil || len(again) != len(written) { // the order of an object's keys is not kept
				t.Fatalf("%s\n%s\n%v", written, again, err)
			}
		}
	})
}

// Garbage on the port costs its connection and nothing else.
func TestHTTPGarbage(t *testing.T) {
	p, _ := serveHTTP(t, Config{}, HTTPOptions{})
	for _, b := range []string{"\x16\x03\x01\x02\x00", "GET", "GET / HTTP/9.9\r\n\r\n", strings.Repeat("A", 1<<20), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		conn, err := net.Dial("tcp", p.Address())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(b))
		_ = conn.(*net.TCPConn).CloseWrite()
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		back, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) || bytes.HasPrefix(back, []byte("HTTP/1.1 200")) {
			t.Errorf("%.20q: %q, %v", b, back, err)
		}
		conn.Close()
	}
	c := dial(t, p, rpc.ServiceCredential)
	if err := c.Call(soon(t), service, "ConfGet", &ns.ConfGetRequest{}, &ns.ConfGetResponse{}); err != nil {
		t.Error(err)
	}
}

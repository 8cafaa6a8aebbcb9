package sandbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster/pegasus/wire"
)

// browser follows no redirection and keeps connections.
func browser(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Proxy: nil}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func fetch(t *testing.T, b *http.Client, address, path string) (status int, body, location string) {
	t.Helper()
	r, err := b.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if kind := r.Header.Get("Content-Type"); kind != "text/plain" {
		t.Errorf("%s is %s", path, kind)
	}
	return r.StatusCode, string(text), r.Header.Get("Location")
}

func TestPages(t *testing.T) {
	c := run(t, "onebox", "")
	u := newUser(t, c)
	config := u.healthy("demo")
	u.healthy("TableA")
	if a := ask(u, &wire.UpdateAppEnv, wire.UpdateAppEnvRequest{
		AppName: "demo", Op: wire.EnvSet, Keys: []string{"default_ttl", "business.info"}, Values: []string{"60", "<a>"},
	}); a.Err != wire.OK {
		t.Fatal(a)
	}
	b := browser(t)
	meta, node := c.metaAt, config.Configs[0].Primary.String()
	for _, tt := range []struct {
		at, path string
		status   int
		body     string
	}{
		{meta, "/version", 200, `{"Version":"2.5.0","GitCommit":"shardsh sandbox, not a store"}` + "\n"},
		{node, "//version/", 200, `{"Version":"2.5.0","GitCommit":"shardsh sandbox, not a store"}` + "\n"},
		{meta, "/meta/app_envs?name=demo", 200, `{"business.info":"<a>","default_ttl":"60"}` + "\n"},
		{meta, "/meta/app_envs", 400, "app name shouldn't be empty"},
		{meta, "/meta/app?name=demo", 200, `{"general":{"app_name":"demo","app_id":"2","partition_count":"4","max_replica_count":"3"}}` + "\n"},
		{meta, "/meta/app?name=nobody", 404, `table not found: "nobody"`},
		{meta, "/meta/app?name=demo&name=demo", 400, "failed to parse request: ERR_INVALID_PARAMETERS: duplicate parameter: name"},
		{meta, "/meta/apps?all", 400, ""},
		{meta, "/meta/nodes?all", 400, ""},
		{meta, "/meta/backup_policy", 404, "cold_backup_disabled"},
		{meta, "/replica/data_version?app_id=2", 404, `service not found for "replica/data_version"`},
		{node, "/replica/data_version?app_id=2", 200, `{"0":{"data_version":"1"},"1":{"data_version":"1"},"2":{"data_version":"1"},"3":{"data_version":"1"}}`},
		{node, "/replica/data_version", 400, "app_id should not be empty"},
		{node, "/replica/data_version?app_id=-1", 400, "invalid app_id=-1"},
		{node, "/replica/data_version?app_id=77", 404, "app_id=77 not found"},
		{node, "/replica/manual_compaction?app_id=2", 200, `{"status":{"finished":0,"idle":4,"queuing":0,"running":0}}`},
		{node, "/replica/duplication?appid=2", 404, "no duplication assigned for app [appid=2]"},
		{node, "/meta/apps", 404, `service not found for "meta/apps"`},
		{node, "/config?name=nothing", 200, "ERR_OBJECT_NOT_FOUND: nothing is not found"},
		{node, "/config?key=nothing", 400, ""},
		{node, "/configs?name=nothing", 400, ""},
		{node, "/updateConfig?a=1&b=2", 200, `{"update_status":"ERR_INVALID_PARAMETERS: there should be exactly one config to be updated once"}` + "\n"},
		{meta, "/updateConfig?node_live_percentage_threshold_for_update=1", 200, `{"update_status":"ERR_INVALID_PARAMETERS: node_live_percentage_threshold_for_update is not mutable"}` + "\n"},
	} {
		status, body, _ := fetch(t, b, tt.at, tt.path)
		if status != tt.status || body != tt.body {
			t.Errorf("%s: %d %q, want %d %q", tt.path, status, body, tt.status, tt.body)
		}
	}
	_, help, _ := fetch(t, b, node, "/")
	var calls map[string]string
	if err := json.Unmarshal([]byte(help), &calls); err != nil || calls["/version"] == "" || calls["/replica/data_version"] == "" {
		t.Errorf("help: %v, %q", err, help)
	}
}

func TestTablePages(t *testing.T) {
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.healthy("TableA")
	u.healthy("demo")
	b := browser(t)
	read := func(path string) map[string]map[string]any {
		_, text, _ := fetch(t, b, c.metaAt, path)
		var all map[string]map[string]any
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatalf("%s: %v in %s", path, err, text)
		}
		return all
	}
	apps := read("/meta/apps?detail")
	row := apps["general_info"]["1"].(map[string]any)
	delete(row, "create_time")
	if diff := cmp.Diff(map[string]any{
		"app_id": "1", "status": "AVAILABLE", "app_name": "TableA", "app_type": "pegasus", "partition_count": "8",
		"replica_count": "3", "is_stateful": "true", "drop_time": "-", "drop_expire": "-", "envs_count": "0",
	}, row); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{
		"total_app_count": "2", "fully_healthy_app_count": "2", "unhealthy_app_count": "0", "write_unhealthy_app_count": "0",
		"read_unhealthy_app_count": "0",
	}, apps["summary"]); diff != "" {
		t.Error(diff)
	}
	app := read("/meta/app?name=demo&detail")
	if diff := cmp.Diff(map[string]any{"node": "total", "primary": "4", "secondary": "8", "total": "12"}, app["nodes"]["total"]); diff != "" {
		t.Error(diff)
	}
	if app["healthy"]["fully_healthy_partition_count"] != "4" || len(app["replicas"]) != 4 {
		t.Errorf("app: %v", app)
	}
	nodes := read("/meta/nodes?detail")
	first := nodes["details"][c.nodeAt[0]].(map[string]any)
	if first["status"] != "ALIVE" || first["replica_count"] != "12" || nodes["summary"]["alive_node_count"] != "3" {
		t.Errorf("nodes: %v", nodes)
	}
	if brief := read("/meta/nodes"); len(brief["details"][c.nodeAt[0]].(map[string]any)) != 2 {
		t.Errorf("nodes without detail: %v", brief)
	}
	var info map[string]string
	_, text, _ := fetch(t, b, c.metaAt, "/meta/cluster")
	if err := json.Unmarshal([]byte(text), &info); err != nil || info["primary_meta_server"] != c.metaAt || len(info) != 8 {
		t.Errorf("cluster: %v, %s", err, text)
	}
}

func TestConfigPages(t *testing.T) {
	c := run(t, "onebox2", "")
	b := browser(t)
	node := c.nodeAt[0]
	value := func() string {
		_, text, _ := fetch(t, b, node, "/config?name=max_copy_rate_megabytes_per_disk")
		var f map[string]string
		if err := json.Unmarshal([]byte(text), &f); err != nil || f["section"] != "nfs" || f["tags"] != "flag_tag::FT_MUTABLE" {
			t.Fatalf("%v: %s", err, text)
		}
		return f["value"]
	}
	if v := value(); v != "500" {
		t.Errorf("at first %s", v)
	}
	if _, text, _ := fetch(t, b, node, "/updateConfig?max_copy_rate_megabytes_per_disk=0"); !strings.Contains(text, "ERR_INVALID_PARAMETERS") {
		t.Errorf("0 is taken: %s", text)
	}
	if _, text, _ := fetch(t, b, node, "/updateConfig?max_copy_rate_megabytes_per_disk=50"); text != `{"update_status":"ERR_OK"}`+"\n" {
		t.Errorf("50 is not taken: %s", text)
	}
	if v := value(); v != "50" {
		t.Errorf("then %s", v)
	}
	a, err := try(newUser(t, c), node, &wire.CallCommand, wire.GPID{}, wire.Command{Name: "nfs.max_copy_rate_megabytes_per_disk", Args: []string{}})
	if err != nil || a != "50" {
		t.Errorf("the remote command says %q, %v", a, err)
	}
	_, text, _ := fetch(t, b, node, "/configs")
	var all map[string]map[string]string
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 2 {
		t.Errorf("configs: %v, %s", err, text)
	}
}

// A meta server that does not lead sends the leader's pages on to it, and knows its own.
func TestPagesAreSentOn(t *testing.T) { modes(t, testPagesAreSentOn) }

func testPagesAreSentOn(t *testing.T, c *cluster) {
	b := browser(t)
	status, _, location := fetch(t, b, c.metaAts[1], "/meta/app?name=a%20b&detail")
	if want := "http://" + c.metaAt + "/meta/app?detail=&name=a+b"; status != http.StatusTemporaryRedirect || location != want {
		t.Errorf("%d to %q, want %q", status, location, want)
	}
	if status, _, _ := fetch(t, b, c.metaAts[1], "/version"); status != 200 {
		t.Errorf("version of a meta server that does not lead: %d", status)
	}
}

// One connection speaks what its messages begin with: frames first, then HTTP for good; and one may follow another.
func TestFramesThenHTTP(t *testing.T) {
	c := run(t, "onebox2", "")
	conn, err := net.Dial("tcp4", c.metaAt)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(conn)
	none := struct{}{}
	for range 2 {
		if _, err := conn.Write(wire.ClusterInfo.AppendRequest(nil, wire.Header{}, 7, &none)); err != nil {
			t.Fatal(err)
		}
		if reply, err := wire.ReadReply(r); err != nil || reply.Seq != 7 {
			t.Fatalf("%+v, %v", reply, err)
		}
	}
	for range 2 {
		fmt.Fprintf(conn, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, err := http.ReadResponse(r, nil)
		if err != nil || answer.StatusCode != 200 {
			t.Fatal(answer, err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(conn, "POST /meta/nothing HTTP/1.0\r\nContent-Length: 2\r\n\r\nab")
	answer, err := http.ReadResponse(r, nil)
	if err != nil || answer.StatusCode != 404 {
		t.Fatal(answer, err)
	}
}

// Hostile requests end their connection, or are refused, and cost nobody else anything.
func TestHostileHTTP(t *testing.T) {
	c := run(t, "onebox2", "")
	for name, text := range map[string]string{
		"no version":      "GET /\r\n\r\n",
		"garbage":         "GET " + strings.Repeat("\xff", 4096) + "\r\n\r\n",
		"a huge header":   "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"a huge line":     "GET /" + strings.Repeat("x", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"no host":         "GET / HTTP/1.1\r\n\r\n",
		"a bad escape":    "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"a negative body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	} {
		back, err := send(c.metaAt, []byte(text))
		if err != nil || !strings.HasPrefix(string(back), "HTTP/1.1 4") {
			t.Errorf("%s: %.40q, %v", name, back, err)
		}
	}
	for name, text := range map[string]string{
		"another method": "PUT / HTTP/1.1\r\nHost: x\r\n\r\n",
		"a short one":    "GE",
		"cut":            "GET /ver",
	} {
		if back, err := send(c.metaAt, []byte(text)); err != nil || len(back) > 0 && !strings.HasPrefix(string(back), "HTTP/1.1 400") {
			t.Errorf("%s: %q, %v", name, back, err)
		}
	}
	if status, _, _ := fetch(t, browser(t), c.metaAt, "/version"); status != 200 {
		t.Errorf("a good request after all: %d", status)
	}
}

// Past the bound of HTTP connections new ones are closed, and frames are still answered.
func TestHTTPConnectionsAreBounded(t *testing.T) {
	c := run(t, "onebox2", "")
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	served := func(conn net.Conn) bool {
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(conn, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil && answer.StatusCode == 200
	}
	for range maxWebConns {
		conn, err := net.Dial("tcp4", c.metaAt)
		if err != nil {
			t.Fatal(err)
		}
		if open = append(open, conn); !served(conn) {
			t.Fatal("not served below the bound")
		}
	}
	late, err := net.Dial("tcp4", c.metaAt)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if served(late) {
		t.Error("served past the bound")
	}
	if a, err := try(newUser(t, c), c.metaAt, &wire.ClusterInfo, wire.GPID{}, struct{}{}); err != nil || a.Err != wire.OK {
		t.Errorf("a frame: %v, %v", a.Err, err)
	}
	open[0].Close()
	newUser(t, c).eventually("a place is free again", func() bool {
		conn, err := net.Dial("tcp4", c.metaAt)
		if err != nil {
			return false
		}
		defer conn.Close()
		return served(conn)
	})
}

// A paused server answers no page until it goes on; a slow one answers late.
func TestHTTPPassesTheGate(t *testing.T) {
	c := run(t, "onebox2", "")
	b := browser(t)
	node := c.nodeAt[0]
	fetch(t, b, node, "/version") // a connection is there before the pause
	if err := c.Pause(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		r, err := b.Get("http://" + node + "/version")
		if err != nil {
			answered <- -1
			return
		}
		r.Body.Close()
		answered <- r.StatusCode
	}()
	select {
	case status := <-answered:
		t.Errorf("a paused server answers %d", status)
	case <-time.After(200 * time.Millisecond):
	}
	if err := c.Start(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	if status := <-answered; status != 200 {
		t.Errorf("after the pause: %d", status)
	}
	const by = 150 * time.Millisecond
	if err := c.Slow(t.Context(), node, by); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if fetch(t, b, node, "/version"); time.Since(start) < by {
		t.Errorf("a slow server answers after %v", time.Since(start))
	}
}

// A killed server cuts HTTP connections too, a stopped one finishes what it was asked.
func TestHTTPEndsWithTheServer(t *testing.T) {
	c := run(t, "onebox2", "")
	b := browser(t)
	killed, stopped := c.nodeAt[0], c.nodeAt[1]
	for _, at := range []string{killed, stopped} {
		fetch(t, b, at, "/version")
	}
	if err := c.Pause(t.Context(), killed); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		r, err := b.Get("http://" + killed + "/version")
		if err == nil {
			r.Body.Close()
		}
		failed <- err
	}()
	if err := c.Kill(t.Context(), killed); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("a killed server answered")
	}
	if err := c.Slow(t.Context(), stopped, 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	status := make(chan int, 1)
	conn, err := net.Dial("tcp4", stopped)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
	u := newUser(t, c)
	u.eventually("the request arrives", func() bool {
		port := c.local(1).port
		port.mu.Lock()
		defer port.mu.Unlock()
		browsing := 0
		for other := range port.conns {
			if other.browsing.Load() {
				browsing++
			}
		}
		return browsing == 2
	})
	go func() {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			status <- -1
			return
		}
		status <- answer.StatusCode
	}()
	if err := c.Stop(t.Context(), stopped); err != nil {
		t.Fatal(err)
	}
	if got := <-status; got != 200 {
		t.Errorf("a request to a server that stops: %d", got)
	}
}

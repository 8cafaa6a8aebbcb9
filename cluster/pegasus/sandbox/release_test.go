package sandbox

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// runRelease starts a fresh cluster that speaks like a release.
func runRelease(t *testing.T, name, compat string) *cluster {
	t.Helper()
	return runAs(t, sandbox.Config{Name: name, Dir: t.TempDir(), Compat: compat})
}

// raw writes the protocol by hand, so that these tests share no mistake with package wire.
type raw []byte

func (b raw) hex(text string) raw {
	more, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		panic(err)
	}
	return append(b, more...)
}

func (b raw) i32(n int) raw     { return binary.BigEndian.AppendUint32(b, uint32(n)) }
func (b raw) i64(n int64) raw   { return binary.BigEndian.AppendUint64(b, uint64(n)) }
func (b raw) text(s string) raw { return append(b.i32(len(s)), s...) }

// field begins a field of a type.
func (b raw) field(kind byte, id int) raw { return append(b, kind, byte(id>>8), byte(id)) }

// address is an rpc_address, host a host_port.
func (b raw) address(endpoint string) raw {
	at := netip.MustParseAddrPort(endpoint)
	ip := at.Addr().As4()
	return raw(binary.BigEndian.AppendUint16(append(b, ip[:]...), at.Port())).hex("0001")
}

func (b raw) host(endpoint string) raw {
	at := netip.MustParseAddrPort(endpoint)
	return append(binary.BigEndian.AppendUint16(b.text(at.Addr().String()), at.Port()), 1)
}

// reply wraps a result struct as a THFT response.
func (b raw) reply(rpc string, seq int) []byte {
	body := raw{}.text("ERR_OK").hex("80010002").text(rpc+"_ACK").i32(seq).field(0x0c, 0)
	body = append(append(body, b...), 0)
	return append(raw{}.i32(4+len(body)), body...)
}

// request is a THFT request of version 0 to no partition, with arguments that are fields already.
func (b raw) request(rpc string, seq int) []byte {
	body := raw{}.hex("80010001").text(rpc).i32(seq).field(0x0c, 1)
	body = append(append(body, b...), 0, 0)
	head := append(raw{}, "THFT"...).i32(0).i32(48).i32(0).i32(len(body)).i32(0).hex("00000000 00000000 000003e8 00000000 0000000000000000")
	return append(head, body...)
}

// ask sends a request by hand and answers the frame that comes back.
func (b raw) ask(t *testing.T, address, rpc string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(b.request(rpc, 5)); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 4)
	if _, err := conn.Read(head); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, binary.BigEndian.Uint32(head))
	copy(frame, head)
	for n := 4; n < len(frame); {
		more, err := conn.Read(frame[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += more
	}
	return frame
}

const queryConfigRPC = "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX"

// configOf is the answer to a query for a table of one partition and one replica.
func configOf(id int, primary string, hosts bool) []byte {
	b := raw{}.field(0x0c, 1).text("ERR_OK").field(0x08, 2).i32(id).field(0x08, 3).i32(1).field(0x02, 4).hex("01")
	b = b.field(0x0f, 5).hex("0c").i32(1)
	b = b.field(0x0c, 1).i32(0).i32(id).field(0x0a, 2).i64(1).field(0x08, 3).i32(1).field(0x0c, 4).address(primary)
	b = b.field(0x0f, 5).hex("0c").i32(0).field(0x0f, 6).hex("0c").i32(0).field(0x0a, 7).i64(0).field(0x08, 8).i32(0)
	if hosts {
		b = b.field(0x0c, 9).host(primary).field(0x0f, 10).hex("0c").i32(0).field(0x0f, 11).hex("0c").i32(0)
	}
	return b.hex("00 00").reply(queryConfigRPC, 5)
}

// What a release adds to the answers is there, byte for byte, and nothing of it before.
func TestReleasesOnTheWire(t *testing.T) {
	for _, config := range []sandbox.Config{{}, {Compat: "2.5"}, {Compat: "2.6"}, {Compat: "2.6", Nodes: perNode(t)}} {
		t.Run(fmt.Sprintf("compat %s, per node %v", config.Compat, config.Nodes != nil), func(t *testing.T) {
			later := config.Compat == "2.6"
			config.Name, config.Dir = "onebox2", t.TempDir()
			c := runAs(t, config)
			u := newUser(t, c)
			if a := ask(u, &wire.CreateApp, wire.CreateAppRequest{AppName: "one", Options: wire.CreateAppOptions{
				Partitions: 1, Replicas: 1, AppType: appType, Stateful: true, AtomicIdempotent: new(true),
			}}); a.Err != wire.OK {
				t.Fatal(a)
			}
			u.healthy("one")

			got := raw{}.field(0x0b, 1).text("one").field(0x0f, 2).hex("08").i32(0).ask(t, c.metaAt, queryConfigRPC)
			found := false
			for _, at := range c.nodeAt {
				found = found || bytes.Equal(got, configOf(1, at, later))
			}
			if !found {
				t.Errorf("query config answers\n%swant, for one of the nodes,\n%s", hex.Dump(got), hex.Dump(configOf(1, c.nodeAt[0], later)))
			}

			want := raw{}.field(0x0c, 1).text("ERR_OK").field(0x0f, 2).hex("0c").i32(3)
			for _, at := range c.nodeAt {
				want = want.field(0x08, 1).i32(1).field(0x0c, 2).address(at)
				if later {
					want = want.field(0x0c, 3).host(at)
				}
				want = want.hex("00")
			}
			got = raw{}.field(0x08, 1).i32(0).ask(t, c.metaAt, "RPC_CM_LIST_NODES")
			if want := want.hex("00").reply("RPC_CM_LIST_NODES", 5); !bytes.Equal(got, want) {
				t.Errorf("list nodes answers\n%swant\n%s", hex.Dump(got), hex.Dump(want))
			}

			got = raw{}.field(0x08, 1).i32(0).ask(t, c.metaAt, "RPC_CM_LIST_APPS")
			end := raw{}.field(0x02, 14).hex("00") // is_bulk_loading, the last field up to 2.5
			if later {
				end = end.field(0x02, 15).hex("01")
			}
			if end = end.hex("00 00 00"); !bytes.HasSuffix(got, end) {
				t.Errorf("list apps ends in %x, want %x", got[max(0, len(got)-16):], []byte(end))
			}

			got = raw{}.field(0x0b, 1).text("one").field(0x0f, 2).hex("08").i32(0).ask(t, c.metaAts[1], queryConfigRPC)
			if has := bytes.Contains(got, raw{}.host(c.metaAt)); has != later || !bytes.Contains(got, raw{}.address(c.metaAt)) {
				t.Errorf("a meta server that does not lead answers\n%s", hex.Dump(got))
			}
		})
	}
}

func TestUnknownReleases(t *testing.T) {
	_, err := Kind().New(t.Context(), sandbox.Config{Name: "onebox", Dir: t.TempDir(), Compat: "1.12"})
	if spec.KindOf(err) != spec.Usage || spec.HintOf(err) != "releases: 2.5, 2.6" {
		t.Errorf("1.12 starts: %v", err)
	}
}

// The servers' own commands answer in the words of the release.
func TestCommandsOfReleases(t *testing.T) {
	old, later := runRelease(t, "onebox2", "2.5"), runRelease(t, "onebox2", "2.6")
	say := func(c *cluster, at, command string, args ...string) string {
		t.Helper()
		text, err := try(newUser(t, c), at, &wire.CallCommand, wire.GPID{}, wire.Command{Name: command, Args: args})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const wrongNumber = "{\n  \"error\": \"ERR: invalid argument '-1', the value is not acceptable\"\n}"
	for _, tt := range []struct {
		meta       bool
		line       string
		old, later string
	}{
		{true, "meta.live_percentage", "0", "{\n  \"error\": \"ok\",\n  \"meta.live_percentage\": \"0\"\n}"},
		{true, "meta.live_percentage -1", "ERR: invalid arguments", wrongNumber},
		{true, "meta.live_percentage 50", "OK", "{\n  \"error\": \"ok\"\n}"},
		{true, "meta.live_percentage DEFAULT", "OK", "{\n  \"error\": \"ok\",\n  \"meta.live_percentage\": 0\n}"},
		{true, "meta.lb.get_balance_operation_count", "total=0", "{\n  \"total\": 0\n}"},
		{true, "meta.lb.assign_secondary_black_list", "get ok: ", "{\n  \"assign_secondary_black_list\": \"\",\n  \"error\": \"ok\"\n}"},
		{true, "meta.lb.assign_secondary_black_list a", "invalid arguments", "{\n  \"error\": \"invalid argument, bad host:port 'a'\"\n}"},
		{true, "meta.lb.assign_secondary_black_list clear", "clear ok", "{\n  \"error\": \"ok\"\n}"},
		{false, "replica.deny-client", "false", "{\n  \"error\": \"ok\",\n  \"replica.deny-client\": \"false\"\n}"},
		{false, "replica.deny-client x", "ERR: invalid arguments", "{\n  \"error\": \"ERR: invalid arguments, 'x' is not a boolean\"\n}"},
		{false, "replica.deny-client false", "OK", "{\n  \"error\": \"ok\"\n}"},
		{false, "nfs.max_send_rate_megabytes_per_disk", "500", "{\n  \"error\": \"ok\",\n  \"nfs.max_send_rate_megabytes_per_disk\": \"500\"\n}"},
		{false, "nfs.max_send_rate_megabytes", "unknown command 'nfs.max_send_rate_megabytes'", "unknown command 'nfs.max_send_rate_megabytes'"},
	} {
		words := strings.Fields(tt.line)
		for c, want := range map[*cluster]string{old: tt.old, later: tt.later} {
			at := c.nodeAt[0]
			if tt.meta {
				at = c.metaAt
			}
			if got := say(c, at, words[0], words[1:]...); got != want {
				t.Errorf("%s: %q, want %q", tt.line, got, want)
			}
		}
	}
	for _, command := range []string{"perf-counters", "perf-counters-by-prefix", "perf-counters-by-substr", "perf-counters-by-postfix", "server-stat"} {
		for _, c := range []*cluster{old, later} {
			for _, at := range []string{c.metaAt, c.nodeAt[0]} {
				unknown := say(c, at, command) == "unknown command '"+command+"'"
				if unknown != (c == later) {
					t.Errorf("%s on %s of %v: unknown %v", command, at, c.release, unknown)
				}
			}
		}
	}
	if info := say(old, old.metaAt, "server-info"); !strings.HasPrefix(info, "Pegasus Server 2.5.0 (shardsh sandbox, not a store) Release, Started at 20") {
		t.Errorf("server-info of 2.5: %s", info)
	}
	var info map[string]string
	if err := json.Unmarshal([]byte(say(later, later.nodeAt[0], "server-info")), &info); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.DateTime, info["start_time"]); err != nil {
		t.Error(err)
	}
	delete(info, "start_time")
	if diff := cmp.Diff(map[string]string{"version": "2.6.0-SNAPSHOT", "build_type": "Release", "git_SHA": notAStore}, info); diff != "" {
		t.Error(diff)
	}
}

func TestTablesOfReleases(t *testing.T) {
	for compat, later := range map[string]bool{"2.5": false, "2.6": true} {
		c := runRelease(t, "onebox", compat)
		u := newUser(t, c)
		names := func(pattern string, match int32) (string, wire.ListAppsResponse) {
			a := ask(u, &wire.ListApps, wire.ListAppsRequest{Pattern: &pattern, MatchType: &match})
			var all []string
			for _, app := range a.Apps {
				all = append(all, app.Name)
			}
			return strings.Join(all, " "), a
		}
		for _, tt := range []struct {
			pattern string
			match   int32
			want    string
		}{
			{"x", matchAll, "TableA demo"},
			{"demo", matchExact, "demo"},
			{"dem", matchExact, ""},
			{"e", matchAnywhere, "TableA demo"},
			{"Tab", matchPrefix, "TableA"},
			{"mo", matchPostfix, "demo"},
		} {
			want := "TableA demo"
			if later {
				want = tt.want
			}
			if got, a := names(tt.pattern, tt.match); got != want || a.Err != wire.OK || a.Hint != nil {
				t.Errorf("%s: %q matched as %d: %q, want %q", compat, tt.pattern, tt.match, got, want)
			}
		}
		if _, a := names(".*", 6); (a.Err == "ERR_NOT_IMPLEMENTED" && a.Hint != nil) != later {
			t.Errorf("%s: a regular expression is answered %s", compat, a.Err)
		}
		a := ask(u, &wire.UpdateAppEnv, wire.UpdateAppEnvRequest{
			AppName: "demo", Op: wire.EnvSet, Keys: []string{"duplication.master_app_name"}, Values: []string{"x"},
		})
		if (a.Err == wire.OK) != later {
			t.Errorf("%s: an env of 2.6 is answered %s", compat, a.Err)
		}
	}
}

// Proposals name nodes by host from 2.6 on.
func TestProposalsByHost(t *testing.T) {
	for compat, later := range map[string]bool{"2.5": false, "2.6": true} {
		c := runRelease(t, "onebox", compat)
		u := newUser(t, c)
		p := u.healthy("demo").Configs[0]
		from, to := p.Primary.String(), p.Secondaries[0].String()
		action := func(kind wire.ConfigType, at string) wire.ProposalAction {
			return wire.ProposalAction{Type: kind, HPTarget: hostPortOf(at), HPNode: hostPortOf(at)}
		}
		ask(u, &wire.ProposeBalancer, wire.BalancerRequest{PID: p.PID, Force: new(false), Actions: []wire.ProposalAction{
			action(wire.ConfigDowngradeToSecondary, from), action(wire.ConfigUpgradeToPrimary, to),
		}})
		if !later {
			continue // the addresses are empty: nothing fits
		}
		u.eventually("the primary has moved", func() bool { return u.config("demo").Configs[0].Primary.String() == to })
	}
}

type metricsAnswer struct {
	Cluster, Role, Host string
	Port                int
	Timestamp           int64 `json:"timestamp_ns"`
	Entities            []struct {
		Type, ID   string
		Attributes map[string]string
		Metrics    []map[string]any
	}
	Error string `json:"error_message"`
}

func readMetrics(t *testing.T, address, args string, status int) metricsAnswer {
	t.Helper()
	got, text, _ := fetch(t, browser(t), address, "/metrics"+args)
	var a metricsAnswer
	if got != status {
		t.Fatalf("%s: status %d: %s", args, got, text)
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatalf("%s: %v in %s", args, err, text)
	}
	return a
}

func TestMetrics(t *testing.T) {
	c := runRelease(t, "onebox", "2.6")
	u := newUser(t, c)
	p := u.healthy("demo").Configs[0]
	node := p.Primary.String()
	hash := hashOn(u.config("demo"), 0)
	for range 3 {
		if err := u.put("demo", hash, "s", strings.Repeat("v", 5000), 0); err != nil {
			t.Fatal(err)
		}
	}
	u.get("demo", hash, "s")
	args := "?with_metric_fields=name,value&types=replica&attributes=table_id,2,partition_id,99&ids=replica@2.0" +
		"&metrics=put_requests,get_requests,write_capacity_units,read_capacity_units,rdb_estimated_keys"
	a := readMetrics(t, node, args, 200)
	if a.Cluster != "onebox" || a.Role != "replica" || netip.AddrPortFrom(netip.MustParseAddr(a.Host), uint16(a.Port)).String() != node {
		t.Errorf("from %+v", a)
	}
	if age := time.Since(time.Unix(0, a.Timestamp)); age < 0 || age > time.Minute {
		t.Errorf("%v old", age)
	}
	if len(a.Entities) != 1 {
		t.Fatalf("%d entities", len(a.Entities))
	}
	metric := func(name string, value float64) map[string]any { return map[string]any{"name": name, "value": value} }
	want := []map[string]any{
		metric("get_requests", 1), metric("put_requests", 3), metric("read_capacity_units", 2), metric("write_capacity_units", 6),
		metric("rdb_estimated_keys", 1),
	}
	e := a.Entities[0]
	if diff := cmp.Diff(want, e.Metrics); diff != "" || e.ID != "replica@2.0" || e.Type != "replica" {
		t.Errorf("%s %s: %s", e.Type, e.ID, diff)
	}
	if diff := cmp.Diff(map[string]string{"table_id": "2", "partition_id": "0"}, e.Attributes); diff != "" {
		t.Error(diff)
	}
	again := readMetrics(t, node, args, 200)
	if diff := cmp.Diff(a.Entities, again.Entities); diff != "" {
		t.Errorf("reading changes what is read: %s", diff)
	}

	a = readMetrics(t, node, "?types=profiler&ids=task@RPC_RRDB_RRDB_PUT&detail=true", 200)
	put := a.Entities[0].Metrics[0]
	if put["type"] != "Percentile" || put["unit"] != "NanoSeconds" || put["p99"].(float64) < 1000 || put["p50"].(float64) > put["p999"].(float64) {
		t.Errorf("latency of puts: %v", put)
	}
	a = readMetrics(t, node, "?types=disk", 200)
	if len(a.Entities) != len(diskTags) || a.Entities[0].ID != "disk@ssd1" || a.Entities[0].Metrics[0]["value"].(float64) <= 0 {
		t.Errorf("disk: %+v", a.Entities)
	}
	if _, has := a.Entities[0].Metrics[0]["unit"]; has {
		t.Error("details without being asked for")
	}
	a = readMetrics(t, node, "?types=server&metrics=resident_mem_usage_mb,rdb_wbm_total_mem_usage_bytes,primary_replicas", 200)
	if len(a.Entities) != 1 || len(a.Entities[0].Metrics) != 3 {
		t.Fatalf("server: %+v", a.Entities)
	}
	for _, m := range a.Entities[0].Metrics {
		if m["value"].(float64) <= 0 {
			t.Errorf("server: %v", m)
		}
	}
	a = readMetrics(t, c.metaAt, "?types=table&metrics=healthy_partitions&ids=table@1", 200)
	if len(a.Entities) != 1 || a.Role != "meta" || a.Entities[0].Metrics[0]["value"] != 8.0 {
		t.Errorf("table: %+v", a)
	}
	if a := readMetrics(t, c.metaAts[1], "?metrics=healthy_partitions", 200); len(a.Entities) != 0 {
		t.Errorf("a meta server that does not lead has tables: %+v", a)
	}
}

func TestWrongMetricsRequests(t *testing.T) {
	c := runRelease(t, "onebox2", "2.6")
	for args, want := range map[string]string{
		"?attributes=a":  "the number of arguments for attributes should be even, since each attribute name always pairs with a value",
		"?detail=maybe":  "the value of detail should be a boolean value, i.e. true or false",
		"?entity=server": "unknown field entity=server",
	} {
		if a := readMetrics(t, c.nodeAt[0], args, 400); a.Error != want {
			t.Errorf("%s: %q", args, a.Error)
		}
	}
	answer, err := browser(t).Post("http://"+c.nodeAt[0]+"/metrics", "text/plain", nil)
	if err != nil || answer.StatusCode != 400 {
		t.Errorf("POST: %v, %v", answer, err)
	}
	old := runRelease(t, "onebox2", "2.5")
	for _, at := range []string{old.metaAt, old.nodeAt[0]} {
		if status, _, _ := fetch(t, browser(t), at, "/metrics"); status != 404 {
			t.Errorf("2.5 answers /metrics with %d", status)
		}
	}
}

// The form of an answer, character for character.
func TestMetricsText(t *testing.T) {
	c := runRelease(t, "onebox2", "2.6")
	_, text, _ := fetch(t, browser(t), c.metaAts[1], "/metrics?types=nothing")
	host, _, _ := strings.Cut(c.metaAts[1], ":")
	before, after, _ := strings.Cut(text, `"timestamp_ns": `)
	if want := "{\n    \"cluster\": \"onebox2\",\n    \"role\": \"meta\",\n    \"host\": \"" + host + "\",\n    \"port\": 34601,\n    "; before != want {
		t.Errorf("%q, want %q", before, want)
	}
	if _, end, _ := strings.Cut(after, ","); end != "\n    \"entities\": []\n}" {
		t.Errorf("it ends in %q", end)
	}
}

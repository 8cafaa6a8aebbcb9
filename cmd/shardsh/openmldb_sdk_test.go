//go:build integration && !windows

package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sdk is a process with the store's own SDK (testdata/openmldb/client.py).
type sdk struct {
	t     *testing.T
	in    io.Writer
	lines *bufio.Scanner
	errs  *safeBuffer
}

type sdkAnswer struct {
	Rows  [][]any
	Error string
}

// connect starts one that finds the cluster through ZooKeeper, and answers what became of its start.
func (k *keeper) connect(user, password string) (*sdk, sdkAnswer) {
	k.t.Helper()
	client := exec.Command(filepath.Join(root(k.t), ".ci", "clients", "openmldb"))
	client.Stderr = os.Stderr
	folder, err := client.Output()
	if err != nil {
		k.t.Fatalf("the SDK is not to be had: %v", err)
	}
	cmd := exec.Command("python3", filepath.Join("testdata", "openmldb", "client.py"), k.server, k.root, user, password)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+string(bytes.TrimSpace(folder)), "PYTHONDONTWRITEBYTECODE=1")
	c := &sdk{t: k.t, errs: &safeBuffer{}}
	cmd.Stderr = c.errs
	in, err := cmd.StdinPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	c.in, c.lines = in, bufio.NewScanner(out)
	c.lines.Buffer(nil, 1<<20)
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return c, c.answer("start")
}

func (c *sdk) answer(to string) (a sdkAnswer) {
	c.t.Helper()
	if !c.lines.Scan() {
		c.t.Fatalf("%s: the SDK's process ended: %s", to, c.errs.String())
	}
	if err := json.Unmarshal(c.lines.Bytes(), &a); err != nil {
		c.t.Fatalf("%s: %v: %s", to, err, c.lines.Text())
	}
	return a
}

// sdkCall is a line that client.py reads.
type sdkCall struct {
	DB        string `json:"db,omitempty"`
	SQL       string `json:"sql,omitempty"`
	Insert    string `json:"insert,omitempty"`
	Scan      string `json:"scan,omitempty"`
	Index     string `json:"index,omitempty"`
	Key       string `json:"key,omitempty"`
	Databases bool   `json:"databases,omitempty"`
	Tables    string `json:"tables,omitempty"`
}

func (c *sdk) try(q sdkCall) sdkAnswer {
	c.t.Helper()
	line, err := json.Marshal(q)
	if err == nil {
		_, err = c.in.Write(append(line, '\n'))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return c.answer(string(line))
}

func (c *sdk) must(q sdkCall) [][]any {
	c.t.Helper()
	a := c.try(q)
	if a.Error != "" {
		c.t.Fatalf("%+v: %s\n%s", q, a.Error, c.errs.String())
	}
	return a.Rows
}

// takes repeats a change until it is taken.
func (c *sdk) takes(q sdkCall) {
	c.t.Helper()
	var last string
	defer func() {
		if c.t.Failed() {
			c.t.Logf("last it said: %s", last)
		}
	}()
	eventually(c.t, fmt.Sprintf("%+v is taken", q), func() bool {
		last = c.try(q).Error
		return last == ""
	})
}

func (c *sdk) demand(q sdkCall, want ...[]any) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.must(q)); diff != "" {
		c.t.Errorf("%+v:\n%s", q, diff)
	}
}

func (c *sdk) eventually(q sdkCall, want ...[]any) {
	c.t.Helper()
	var last sdkAnswer
	eventually(c.t, fmt.Sprintf("%+v answers %v", q, want), func() bool {
		last = c.try(q)
		return last.Error == "" && cmp.Equal(append([][]any{}, want...), last.Rows)
	})
}

const visits = "create table visits (card string, n int, big bigint not null, f float, d double, ok bool, s smallint, " +
	"day date, ts timestamp, v varchar default 'x', index(key=card, ts=ts, ttl=0m, ttl_type=absolute)) " +
	"options(partitionnum=4, replicanum=2)"

// TestSDK: the store's own SDK finds a sandbox in ZooKeeper, makes tables there, writes and reads rows, and follows
// when tablets and nameservers die. It and the shell read each other's rows.
func TestSDK(t *testing.T) {
	k := newKeeper(t)
	s := k.serve(t.TempDir())
	c, began := k.connect("root", "")
	if began.Error != "" {
		t.Fatal(began.Error, c.errs.String())
	}
	c.demand(sdkCall{Databases: true}, []any{"demo_db"})
	c.demand(sdkCall{Tables: "demo_db"}, []any{"orders"})
	c.must(sdkCall{DB: "shop", SQL: "create database shop"})
	c.must(sdkCall{DB: "shop", SQL: visits})
	if a := c.try(sdkCall{DB: "shop", SQL: visits}); a.Error == "" {
		t.Error("a table was made twice")
	}
	c.demand(sdkCall{Tables: "shop"}, []any{"visits"})

	const at = "152887294400"
	c.must(sdkCall{DB: "shop", Insert: "insert into visits values('c1', 1, 2, 1.5, 2.5, true, 3, '2024-05-17', " + at + "0, 'w')"})
	c.must(sdkCall{DB: "shop", Insert: "insert into visits (card, big, ts) values('c1', 5, " + at + "1), (NULL, 6, " + at + "2)"})
	c.must(sdkCall{DB: "shop", Insert: "insert into visits (card, big, ts, v) values('', 7, " + at + "3, NULL)"})
	long := strings.Repeat("long", 20000) // offsets of three bytes
	c.must(sdkCall{DB: "shop", Insert: "insert into visits (card, big, ts, v) values('" + long + "', 8, " + at + "4, 'end')"})
	s.must("use shop\nput visits c1 null 9 null null null null null " + at + "5 shell\n")
	c.readRows(long)
	s.readRows(long)
	c.elseSQL(s)
	c.follows(s)
	s.must("drop shop/visits --yes=shop/visits\n")
	c.must(sdkCall{DB: "shop", SQL: "drop database shop"})
	c.demand(sdkCall{Databases: true}, []any{"demo_db"})
}

// Keys of an index for values that have no text.
const (
	nullKey  = "!N@U#L$L%"
	emptyKey = "!@#$%"
)

func (c *sdk) readRows(long string) {
	c.t.Helper()
	rows := func(key string) sdkCall { return sdkCall{DB: "shop", Scan: "visits", Key: key} }
	nulls := func(card, big, ts any, v any) []any { return []any{card, nil, big, nil, nil, nil, nil, nil, ts, v} }
	c.demand(
		rows("c1"), nulls("c1", "9", "1528872944005", "shell"), nulls("c1", "5", "1528872944001", "x"),
		[]any{"c1", "1", "2", "1.500000", "2.500000", "true", "3", "2024-05-17", "1528872944000", "w"},
	)
	c.demand(rows(nullKey), nulls(nil, "6", "1528872944002", "x"))
	c.demand(rows(emptyKey), nulls("", "7", "1528872944003", nil))
	c.demand(rows(long), nulls(long, "8", "1528872944004", "end"))
}

func (s *served) readRows(long string) {
	s.t.Helper()
	type row struct {
		Card    *string
		N       *int
		Big     int
		F, D    *float64
		OK      *bool
		S       *int
		Day, TS *string
		V       *string
	}
	got := map[int]row{}
	for _, r := range rows[row](s, "preview shop/visits") {
		got[r.Big] = r
	}
	one, day, at := 1, "2024-05-17", "2018-06-13T06:55:44Z"
	three, f, d, yes := 3, 1.5, 2.5, true
	text := func(s string) *string { return &s }
	ts := func(ms string) *string { return text("2018-06-13T06:55:44." + ms + "Z") }
	want := map[int]row{
		2: {text("c1"), &one, 2, &f, &d, &yes, &three, &day, &at, text("w")},
		5: {Card: text("c1"), Big: 5, TS: ts("001"), V: text("x")},
		6: {Big: 6, TS: ts("002"), V: text("x")},
		7: {Card: text(""), Big: 7, TS: ts("003")},
		8: {Card: &long, Big: 8, TS: ts("004"), V: text("end")},
		9: {Card: text("c1"), Big: 9, TS: ts("005"), V: text("shell")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("the shell reads\n%s", diff)
	}
}

// elseSQL does what else the SDK can do without a SQL engine on the tablets, and not what it cannot.
func (c *sdk) elseSQL(s *served) {
	c.t.Helper()
	// Before it drops a table, the SDK selects the aggregates that hang on it.
	for _, sql := range []string{"select * from visits", "select 1", "show jobs", "drop table visits"} {
		if a := c.try(sdkCall{DB: "shop", SQL: sql}); !strings.Contains(a.Error, "the sandbox has no SQL engine") {
			c.t.Errorf("%s: %+v", sql, a)
		}
	}
	for _, sql := range []string{"show functions", "show deployments"} {
		c.demand(sdkCall{DB: "shop", SQL: sql}, [][]any{}...)
	}
	components := 0
	for _, row := range c.must(sdkCall{DB: "shop", SQL: "show components"}) {
		if row[3] == "online" {
			components++
		}
	}
	if components != 5 {
		c.t.Errorf("%d components are online", components)
	}
	c.must(sdkCall{DB: "shop", SQL: "create index by_v on visits (v) options (ts=ts, ttl=0m, ttl_type=absolute)"})
	s.must(`wait --until 'count > 0 and all(rows, .status == "kDone")' showopstatus > /dev/null` + "\n")
	c.eventually(sdkCall{DB: "shop", Scan: "visits", Index: "by_v", Key: "w"},
		[]any{"c1", "1", "2", "1.500000", "2.500000", "true", "3", "2024-05-17", "1528872944000", "w"})
	c.must(sdkCall{DB: "shop", SQL: "delete from visits where card = 'c1'"})
	c.demand(sdkCall{DB: "shop", Scan: "visits", Key: "c1"}, [][]any{}...)
	if n := strings.TrimSpace(s.must("count shop/visits c1\n")); n != `{"count":0}` {
		c.t.Errorf("the shell counts %s", n)
	}
	c.must(sdkCall{DB: "shop", SQL: "truncate table visits"})
	if all := rows[map[string]any](s, "preview shop/visits"); len(all) > 0 {
		c.t.Errorf("left of a truncated table: %v", all)
	}
}

// follows: a tablet dies and its partitions get other leaders; then the leading nameserver dies.
func (c *sdk) follows(s *served) {
	c.t.Helper()
	s.must("sandbox kill .32:8541\n")
	s.must(`wait --within 60s --until 'count(rows, .role == "leader" and .is_alive) == 4' showtable shop/visits > /dev/null` + "\n")
	for i := range 16 {
		c.takes(sdkCall{DB: "shop", Insert: fmt.Sprintf("insert into visits (card, big, ts) values('k%d', %d, 1000)", i, i)})
	}
	leader, _ := s.roles()
	s.must("sandbox kill " + leader + "\n")
	// The SDK forgets no tablet: left to itself it wants a replica on each that it has ever seen.
	c.takes(sdkCall{DB: "shop", SQL: "create table if not exists later (k string) options(replicanum=2)"})
	c.demand(sdkCall{Tables: "shop"}, []any{"later"}, []any{"visits"})
	s.must("drop shop/later --yes=shop/later\n")
	for i := range 16 {
		c.eventually(sdkCall{DB: "shop", Scan: "visits", Key: fmt.Sprintf("k%d", i)},
			[]any{fmt.Sprintf("k%d", i), nil, fmt.Sprint(i), nil, nil, nil, nil, nil, "1000", "x"})
	}
}

// TestSDKCredentials: a strict cluster lets in who knows the password.
func TestSDKCredentials(t *testing.T) {
	k := newKeeper(t)
	serveAs(t, t.TempDir(), "--zk", k.server+k.root, "--set", "openmldb.strict=true", "openmldb")
	if _, a := k.connect("root", "wrong"); a.Error == "" {
		t.Error("a wrong password was taken")
	}
	c, a := k.connect("root", "")
	if a.Error != "" {
		t.Fatal(a.Error, c.errs.String())
	}
	c.demand(sdkCall{Databases: true}, []any{"demo_db"})
}

package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

func TestRows(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	if err := u.put("demo", "h", "s", "v", 0); err != nil {
		t.Fatal(err)
	}
	if got, status := u.get("demo", "h", "s"); got != "v" || status != 0 {
		t.Errorf("get answers %q, status %d", got, status)
	}
	ttl, err := at(u, "demo", []byte("h"), &wire.TTL, key("h", "s"))
	if err != nil || ttl.TTL != -1 || ttl.Error != 0 || ttl.AppID != 2 || ttl.Server == "" {
		t.Errorf("ttl answers %+v, %v", ttl, err)
	}
	first, err := at(u, "demo", []byte("h"), &wire.Remove, key("h", "s"))
	if err != nil || first.Error != 0 {
		t.Errorf("remove answers %+v, %v", first, err)
	}
	again, err := at(u, "demo", []byte("h"), &wire.Remove, key("h", "s"))
	if err != nil || again.Error != 0 || again.Decree != first.Decree+1 {
		t.Errorf("the second remove answers %+v after %+v, %v", again, first, err)
	}
	if _, status := u.get("demo", "h", "s"); status != wire.StatusNotFound {
		t.Errorf("a removed row answers status %d", status)
	}
	if ttl, err := at(u, "demo", []byte("h"), &wire.TTL, key("h", "s")); err != nil || ttl.Error != wire.StatusNotFound {
		t.Errorf("ttl of a removed row answers %+v, %v", ttl, err)
	}
}

func TestExpiry(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	now := int32(time.Now().Unix() - wire.Epoch)
	if err := errors.Join(u.put("demo", "h", "gone", "v", now-1), u.put("demo", "h", "stays", "v", now+1000)); err != nil {
		t.Fatal(err)
	}
	if _, status := u.get("demo", "h", "gone"); status != wire.StatusNotFound {
		t.Errorf("an expired row answers status %d", status)
	}
	ttl, err := at(u, "demo", []byte("h"), &wire.TTL, key("h", "stays"))
	if err != nil || ttl.TTL < 900 || ttl.TTL > 1000 {
		t.Errorf("ttl answers %+v, %v", ttl, err)
	}
	count, err := at(u, "demo", []byte("h"), &wire.SortKeyCount, []byte("h"))
	if err != nil || count.Count != 1 {
		t.Errorf("sortkey_count answers %+v, %v", count, err)
	}
	all, err := at(u, "demo", []byte("h"), &wire.MultiGet, wire.MultiGetRequest{HashKey: []byte("h"), StartInclusive: true})
	if err != nil || len(all.Rows) != 1 || all.Error != 0 {
		t.Errorf("multi_get answers %+v, %v", all, err)
	}
	env := ask(u, &wire.UpdateAppEnv, wire.UpdateAppEnvRequest{
		AppName: "demo", Op: wire.EnvSet, Keys: []string{envDefaultTTL}, Values: []string{"500"},
	})
	if env.Err != wire.OK {
		t.Fatal(env)
	}
	if err := u.put("demo", "h", "default", "v", 0); err != nil {
		t.Fatal(err)
	}
	if ttl, err = at(u, "demo", []byte("h"), &wire.TTL, key("h", "default")); err != nil || ttl.TTL < 400 || ttl.TTL > 500 {
		t.Errorf("with a default of 500 s ttl answers %+v, %v", ttl, err)
	}
}

// fill writes n rows of a hash key, sort keys s000 on.
func (u *user) fill(table, hash string, n int, expire int32) {
	u.t.Helper()
	q := wire.MultiPutRequest{HashKey: []byte(hash), ExpireTS: expire}
	for i := range n {
		q.Rows = append(q.Rows, wire.KeyValue{Key: fmt.Appendf(nil, "s%03d", i), Value: fmt.Appendf(nil, "value %d", i)})
	}
	if a, err := at(u, table, q.HashKey, &wire.MultiPut, q); err != nil || a.Error != 0 {
		u.t.Fatalf("multi_put answers %+v, %v", a, err)
	}
}

func TestMultiGet(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	u.fill("demo", "h", 100, 0)
	u.fill("demo", "h\x00", 3, 0) // neighbours that no range of h may reach
	u.fill("demo", "i", 3, 0)
	b := func(s string) []byte { return []byte(s) }
	for name, c := range map[string]struct {
		q           wire.MultiGetRequest
		first, last string
		rows        int
		status      int32
	}{
		"all":              {wire.MultiGetRequest{StartInclusive: true}, "s000", "s099", 100, 0},
		"range":            {wire.MultiGetRequest{StartSortKey: b("s010"), StopSortKey: b("s020"), StartInclusive: true}, "s010", "s019", 10, 0},
		"inclusive":        {wire.MultiGetRequest{StartSortKey: b("s010"), StopSortKey: b("s020"), StopInclusive: true}, "s011", "s020", 10, 0},
		"empty":            {wire.MultiGetRequest{StartSortKey: b("s020"), StopSortKey: b("s020"), StartInclusive: true}, "", "", 0, 0},
		"limited":          {wire.MultiGetRequest{MaxCount: 7, StartInclusive: true}, "s000", "s006", 7, wire.StatusIncomplete},
		"by size":          {wire.MultiGetRequest{MaxSize: 20, StartInclusive: true}, "s000", "s001", 2, wire.StatusIncomplete},
		"reverse":          {wire.MultiGetRequest{MaxCount: 7, Reverse: true, StartInclusive: true}, "s093", "s099", 7, wire.StatusIncomplete},
		"prefix":           {wire.MultiGetRequest{SortKeyFilter: wire.FilterPrefix, SortKeyPattern: b("s04"), StartInclusive: true}, "s040", "s049", 10, 0},
		"postfix":          {wire.MultiGetRequest{SortKeyFilter: wire.FilterPostfix, SortKeyPattern: b("7"), StartInclusive: true}, "s007", "s097", 10, 0},
		"anywhere":         {wire.MultiGetRequest{SortKeyFilter: wire.FilterAnywhere, SortKeyPattern: b("09"), StartInclusive: true}, "s009", "s099", 11, 0},
		"chosen":           {wire.MultiGetRequest{SortKeys: [][]byte{b("s005"), b("none"), b("s001")}}, "s005", "s001", 2, 0},
		"chosen, limited":  {wire.MultiGetRequest{SortKeys: [][]byte{b("s005"), b("s001")}, MaxCount: 1}, "s005", "s005", 1, wire.StatusIncomplete},
		"unknown filter":   {wire.MultiGetRequest{SortKeyFilter: 9}, "", "", 0, wire.StatusInvalidArgument},
		"without values":   {wire.MultiGetRequest{NoValue: true, MaxCount: 1, StartInclusive: true}, "s000", "s000", 1, wire.StatusIncomplete},
		"start after stop": {wire.MultiGetRequest{StartSortKey: b("s9"), StopSortKey: b("s1")}, "", "", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c.q.HashKey = b("h")
			a, err := at(u, "demo", b("h"), &wire.MultiGet, c.q)
			if err != nil || a.Error != c.status || len(a.Rows) != c.rows {
				t.Fatalf("%d rows, status %d, %v; want %d and %d", len(a.Rows), a.Error, err, c.rows, c.status)
			}
			if c.rows > 0 && (string(a.Rows[0].Key) != c.first || string(a.Rows[c.rows-1].Key) != c.last) {
				t.Errorf("from %q to %q", a.Rows[0].Key, a.Rows[c.rows-1].Key)
			}
			for _, row := range a.Rows {
				if (len(row.Value) == 0) != c.q.NoValue {
					t.Errorf("%q has the value %q", row.Key, row.Value)
				}
			}
		})
	}
	removed, err := at(u, "demo", b("h"), &wire.MultiRemove, wire.MultiRemoveRequest{HashKey: b("h"), SortKeys: [][]byte{b("s000"), b("s001"), b("none")}})
	if err != nil || removed.Count != 3 || removed.Error != 0 {
		t.Errorf("multi_remove answers %+v, %v", removed, err)
	}
	if count, err := at(u, "demo", b("h"), &wire.SortKeyCount, b("h")); err != nil || count.Count != 98 {
		t.Errorf("sortkey_count answers %+v, %v", count, err)
	}
	if a, err := at(u, "demo", b("h"), &wire.MultiPut, wire.MultiPutRequest{HashKey: b("h")}); err != nil || a.Error != wire.StatusInvalidArgument {
		t.Errorf("an empty multi_put answers %+v, %v", a, err)
	}
	if a, err := at(u, "demo", b("h"), &wire.MultiRemove, wire.MultiRemoveRequest{HashKey: b("h")}); err != nil || a.Error != wire.StatusInvalidArgument {
		t.Errorf("an empty multi_remove answers %+v, %v", a, err)
	}
}

func TestMultiGetServerLimit(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	q := wire.MultiPutRequest{HashKey: []byte("h")}
	for i := range maxMultiGetRows + 1 {
		q.Rows = append(q.Rows, wire.KeyValue{Key: fmt.Appendf(nil, "%06d", i)})
	}
	if a, err := at(u, "demo", q.HashKey, &wire.MultiPut, q); err != nil || a.Error != 0 {
		t.Fatal(a, err)
	}
	a, err := at(u, "demo", q.HashKey, &wire.MultiGet, wire.MultiGetRequest{HashKey: q.HashKey, StartInclusive: true})
	if err != nil || a.Error != wire.StatusIncomplete || len(a.Rows) != maxMultiGetRows {
		t.Errorf("%d rows, status %d, %v", len(a.Rows), a.Error, err)
	}
}

func TestIncr(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	now := int32(time.Now().Unix() - wire.Epoch)
	incr := func(sort string, by int64, expire int32) wire.IncrResponse {
		t.Helper()
		a, err := at(u, "demo", []byte("h"), &wire.Incr, wire.IncrRequest{Key: key("h", sort), Increment: by, ExpireTS: expire})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	ttl := func(sort string) int32 {
		t.Helper()
		a, err := at(u, "demo", []byte("h"), &wire.TTL, key("h", sort))
		if err != nil {
			t.Fatal(err)
		}
		return a.TTL
	}
	if err := errors.Join(u.put("demo", "h", "text", "ten", 0), u.put("demo", "h", "max", fmt.Sprint(int64(math.MaxInt64)), 0),
		u.put("demo", "h", "empty", "", 0), u.put("demo", "h", "expired", "41", now-1)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sort   string
		by     int64
		expire int32
		want   int64
		status int32
		ttl    bool
	}{
		{"new", 5, 0, 5, 0, false},
		{"new", -7, 0, -2, 0, false},
		{"new", 1, now + 1000, -1, 0, true},
		{"new", 1, 0, 0, 0, true},
		{"new", 1, -1, 1, 0, false},
		{"text", 1, 0, 0, wire.StatusInvalidArgument, false},
		{"max", 1, 0, math.MaxInt64, wire.StatusInvalidArgument, false},
		{"max", -1, 0, math.MaxInt64 - 1, 0, false},
		{"empty", 3, 0, 3, 0, false},
		{"expired", 1, 0, 1, 0, false},
	} {
		a := incr(c.sort, c.by, c.expire)
		if a.NewValue != c.want || a.Error != c.status {
			t.Errorf("incr %s by %d answers %d, status %d; want %d and %d", c.sort, c.by, a.NewValue, a.Error, c.want, c.status)
		}
		if left := ttl(c.sort); (left > 0) != c.ttl {
			t.Errorf("incr %s by %d leaves a TTL of %d", c.sort, c.by, left)
		}
	}
}

// Increments of many clients at once add up: a write that reads sees all writes before it.
func TestIncrTogether(t *testing.T) {
	c := run(t, "onebox", "")
	const clients, each = 8, 50
	results := make(chan error, clients)
	for range clients {
		u := newUser(t, c)
		go func() {
			var err error
			for i := 0; i < each && err == nil; i++ {
				if _, err = at(u, "demo", []byte("h"), &wire.Incr, wire.IncrRequest{Key: key("h", "n"), Increment: 1}); err == nil {
					err = u.put("demo", "h", "other", "x", 0)
				}
			}
			results <- err
		}()
	}
	for range clients {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := newUser(t, c).get("demo", "h", "n"); got != fmt.Sprint(clients*each) {
		t.Errorf("%d increments make %s", clients*each, got)
	}
}

func TestHeaderErrors(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	p := u.healthy("demo").Configs[0]
	get := func(address string, pid wire.GPID) error {
		_, err := try(u, address, &wire.Get, pid, key("h", "s"))
		return err
	}
	put := func(address string, pid wire.GPID, size int) error {
		_, err := try(u, address, &wire.Put, pid, wire.PutRequest{Key: key("h", "s"), Value: make([]byte, size)})
		return err
	}
	none := wire.GPID{App: 99}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"read of a partition that is not here":  {get(p.Primary.String(), none), wire.CodeObjectNotFound},
		"write to a partition that is not here": {put(p.Primary.String(), none, 1), wire.CodeObjectNotFound},
		"read at a secondary":                   {get(p.Secondaries[0].String(), p.PID), wire.CodeInvalidState},
		"write at a secondary":                  {put(p.Secondaries[0].String(), p.PID, 1), wire.CodeInvalidState},
		"a write over 1 MiB":                    {put(p.Primary.String(), p.PID, maxWriteBody), wire.CodeInvalidData},
		"a meta call to a replica server":       {errOf(try(u, p.Primary.String(), &wire.ListApps, wire.GPID{}, wire.ListAppsRequest{})), wire.CodeHandlerNotFound},
		"a data call to the meta server":        {get(u.c.metaAt, p.PID), wire.CodeHandlerNotFound},
	} {
		if c.err == nil || c.err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, c.err, c.want)
		}
	}
	if err := put(p.Primary.String(), p.PID, maxWriteBody-200); err != nil {
		t.Errorf("a write just under 1 MiB: %v", err)
	}
}

func errOf[A any](_ A, err error) error { return err }

// A version 1 header can say that a secondary may answer.
func TestBackupRead(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	if err := u.put("demo", "h", "s", "v", 0); err != nil {
		t.Fatal(err)
	}
	config := u.healthy("demo")
	p := config.Configs[wire.PartitionOf(wire.Hash([]byte("h"), nil), int(config.Partitions))]
	c, err := u.on(p.Secondaries[0].String())
	if err != nil {
		t.Fatal(err)
	}
	args := key("h", "s")
	if _, err := c.conn.Write(wire.Get.AppendRequest(nil, wire.Header{Version: 1, GPID: p.PID, Backup: true}, 1, &args)); err != nil {
		t.Fatal(err)
	}
	reply, err := wire.ReadReply(c.r)
	var a wire.GetResponse
	if err != nil || !reply.OK() || wire.Get.DecodeResult(reply.Body, &a) != nil || !bytes.Equal(a.Value, []byte("v")) {
		t.Errorf("a secondary answers %+v %+v, %v", reply, a, err)
	}
}

package sandbox

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

func TestParseInt(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "+7": 7, " \t12": 12, "0x1F": 31, "-0x10": -16, "010": 8, "9223372036854775807": 1<<63 - 1,
		"-9223372036854775808": -1 << 63,
	} {
		if got, ok := parseInt([]byte(text)); !ok || got != want {
			t.Errorf("%q is %d (%t), want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", " ", "-", "0x", "08", "1 ", "1_0", "0b1", "+-1", "--1", "ten", "9223372036854775808"} {
		if got, ok := parseInt([]byte(text)); ok {
			t.Errorf("%q was taken for %d", text, got)
		}
	}
}

func TestCheckAndSet(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	now := int32(time.Now().Unix() - wire.Epoch)
	if err := errors.Join(u.put("demo", "h", "five", "5", 0), u.put("demo", "h", "empty", "", 0),
		u.put("demo", "h", "text", "alphabet", 0), u.put("demo", "h", "expired", "5", now-1)); err != nil {
		t.Fatal(err)
	}
	const ok, no, bad = wire.StatusOK, wire.StatusTryAgain, wire.StatusInvalidArgument
	for _, c := range []struct {
		sort, kind, operand string
		want                int32
	}{
		{"none", "no_check", "", ok},
		{"none", "not_exist", "", ok},
		{"expired", "not_exist", "", ok},
		{"empty", "not_exist", "", no},
		{"five", "not_exist", "", no},
		{"none", "not_exist_or_empty", "", ok},
		{"empty", "not_exist_or_empty", "", ok},
		{"five", "not_exist_or_empty", "", no},
		{"empty", "exist", "", ok},
		{"expired", "exist", "", no},
		{"empty", "not_empty", "", no},
		{"none", "not_empty", "", no},
		{"five", "not_empty", "", ok},
		{"text", "match_anywhere", "hab", ok},
		{"text", "match_anywhere", "", ok},
		{"none", "match_anywhere", "", no},
		{"text", "match_anywhere", "bah", no},
		{"text", "match_prefix", "alpha", ok},
		{"text", "match_prefix", "bet", no},
		{"text", "match_postfix", "bet", ok},
		{"text", "match_postfix", "an alphabet", no},
		{"five", "bytes_less", "50", ok},
		{"five", "bytes_less", "5", no},
		{"five", "bytes_less_or_equal", "5", ok},
		{"five", "bytes_less_or_equal", "49", no},
		{"five", "bytes_equal", "5", ok},
		{"empty", "bytes_equal", "", ok},
		{"none", "bytes_equal", "", no},
		{"five", "bytes_greater_or_equal", "5", ok},
		{"five", "bytes_greater_or_equal", "6", no},
		{"five", "bytes_greater", "49", ok},
		{"five", "bytes_greater", "5", no},
		{"five", "int_less", "49", ok},
		{"five", "int_less", "5", no},
		{"five", "int_less_or_equal", "0x5", ok},
		{"five", "int_equal", "+5", ok},
		{"five", "int_equal", "6", no},
		{"five", "int_greater_or_equal", "6", no},
		{"five", "int_greater", "-10", ok},
		{"none", "int_greater", "x", no},
		{"five", "int_greater", "x", bad},
		{"five", "int_greater", "", bad},
		{"text", "int_less", "1", bad},
		{"empty", "int_less", "1", bad},
	} {
		kind, _ := wire.ParseCheckType(c.kind)
		q := wire.CheckAndSetRequest{
			HashKey: []byte("h"), CheckSortKey: []byte(c.sort), CheckType: kind, CheckOperand: []byte(c.operand),
			SetDiffSortKey: true, SetSortKey: []byte("target"), SetValue: fmt.Append(nil, c), ReturnCheckValue: true,
		}
		a, err := at(u, "demo", q.HashKey, &wire.CheckAndSet, q)
		if err != nil || a.Error != c.want || !a.CheckValueReturned {
			t.Errorf("%+v answers %+v, %v", c, a, err)
		}
		value, found := u.get("demo", "h", c.sort)
		if a.CheckValueExist != (found == 0) || string(a.CheckValue) != value {
			t.Errorf("%+v answers the value %q, exists %t", c, a.CheckValue, a.CheckValueExist)
		}
		if got, _ := u.get("demo", "h", "target"); (got == string(q.SetValue)) != (c.want == ok) {
			t.Errorf("%+v left %q", c, got)
		}
	}
	q := wire.CheckAndSetRequest{HashKey: []byte("h"), CheckSortKey: []byte("five"), CheckType: 18}
	if a, err := at(u, "demo", q.HashKey, &wire.CheckAndSet, q); err != nil || a.Error != bad {
		t.Errorf("an unknown check answers %+v, %v", a, err)
	}
}

// Without SetDiffSortKey the row that was looked at is set, and the value is answered only when it was asked for.
func TestCheckAndSetSameRow(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	expire := int32(time.Now().Unix() - wire.Epoch + 1000)
	q := wire.CheckAndSetRequest{
		HashKey: []byte("h"), CheckSortKey: []byte("s"), CheckType: wire.CheckNotExist,
		SetSortKey: []byte("other"), SetValue: []byte("v"), ExpireTS: expire,
	}
	for _, want := range []int32{wire.StatusOK, wire.StatusTryAgain} {
		if a, err := at(u, "demo", q.HashKey, &wire.CheckAndSet, q); err != nil || a.Error != want || a.CheckValueReturned {
			t.Errorf("%+v, %v; want status %d", a, err, want)
		}
	}
	if got, _ := u.get("demo", "h", "s"); got != "v" {
		t.Errorf("the row reads %q", got)
	}
	if _, status := u.get("demo", "h", "other"); status != wire.StatusNotFound {
		t.Error("another row was set")
	}
	if ttl, err := at(u, "demo", q.HashKey, &wire.TTL, key("h", "s")); err != nil || ttl.TTL < 900 || ttl.TTL > 1000 {
		t.Errorf("ttl answers %+v, %v", ttl, err)
	}
}

func TestCheckAndMutate(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	if err := errors.Join(u.put("demo", "h", "lock", "me", 0), u.put("demo", "h", "old", "v", 0)); err != nil {
		t.Fatal(err)
	}
	put := func(sort, value string) wire.Mutation {
		return wire.Mutation{SortKey: []byte(sort), Value: []byte(value)}
	}
	del := func(sort string) wire.Mutation {
		return wire.Mutation{Operation: wire.MutateDelete, SortKey: []byte(sort)}
	}
	mutate := func(operand string, list ...wire.Mutation) wire.CheckResponse {
		t.Helper()
		q := wire.CheckAndMutateRequest{
			HashKey: []byte("h"), CheckSortKey: []byte("lock"), CheckType: wire.CheckBytesEqual, CheckOperand: []byte(operand),
			Mutations: list, ReturnCheckValue: true,
		}
		a, err := at(u, "demo", q.HashKey, &wire.CheckAndMutate, q)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := mutate("you", put("new", "1"), del("old")); a.Error != wire.StatusTryAgain || string(a.CheckValue) != "me" {
		t.Errorf("a failed check answers %+v", a)
	}
	if _, status := u.get("demo", "h", "new"); status != wire.StatusNotFound {
		t.Error("a failed check set a row")
	}
	a := mutate("me", put("new", "1"), del("old"), put("new", "2"), put("twice", "1"), del("twice"))
	if a.Error != 0 || a.Decree == 0 {
		t.Errorf("a passed check answers %+v", a)
	}
	for sort, want := range map[string]string{"new": "2", "old": "", "twice": "", "lock": "me"} {
		if got, _ := u.get("demo", "h", sort); got != want {
			t.Errorf("%s reads %q, want %q", sort, got, want)
		}
	}
	if a := mutate("me"); a.Error != wire.StatusInvalidArgument {
		t.Errorf("no mutations answer %+v", a)
	}
	if a := mutate("me", put("new", "3"), wire.Mutation{Operation: 2}); a.Error != wire.StatusInvalidArgument {
		t.Errorf("an unknown mutation answers %+v", a)
	}
	if got, _ := u.get("demo", "h", "new"); got != "2" {
		t.Errorf("a refused mutation set %q", got)
	}
}

// Of many clients that want a row to appear, one gets it: a check sees all writes before it.
func TestCheckTogether(t *testing.T) {
	c := run(t, "onebox", "")
	const clients, rounds = 8, 25
	won := make(chan int, clients)
	for i := range clients {
		u := newUser(t, c)
		go func() {
			n := 0
			for round := range rounds {
				q := wire.CheckAndSetRequest{
					HashKey: []byte("h"), CheckSortKey: fmt.Append(nil, round), CheckType: wire.CheckNotExist, SetValue: fmt.Append(nil, i),
				}
				a, err := at(u, "demo", q.HashKey, &wire.CheckAndSet, q)
				if err != nil || a.Error != 0 && a.Error != wire.StatusTryAgain {
					t.Errorf("%+v, %v", a, err)
				}
				if err == nil && a.Error == 0 {
					n++
				}
			}
			won <- n
		}()
	}
	all := 0
	for range clients {
		all += <-won
	}
	if all != rounds {
		t.Errorf("%d clients won %d rows", all, rounds)
	}
}

// What a conditional write changed is on the secondaries before it is acknowledged.
func TestCheckIsReplicated(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	q := wire.CheckAndMutateRequest{
		HashKey: []byte("h"), CheckSortKey: []byte("s"), CheckType: wire.CheckNotExist,
		Mutations: []wire.Mutation{{SortKey: []byte("s"), Value: []byte("v")}, {SortKey: []byte("t"), Value: []byte("w")}},
	}
	config := u.healthy("demo")
	if a, err := at(u, "demo", q.HashKey, &wire.CheckAndMutate, q); err != nil || a.Error != 0 {
		t.Fatal(a, err)
	}
	p := config.Configs[wire.PartitionOf(wire.Hash(q.HashKey, nil), int(config.Partitions))]
	for _, secondary := range p.Secondaries {
		c, err := u.on(secondary.String())
		if err != nil {
			t.Fatal(err)
		}
		args := key("h", "t")
		if _, err := c.conn.Write(wire.Get.AppendRequest(nil, wire.Header{Version: 1, GPID: p.PID, Backup: true}, 1, &args)); err != nil {
			t.Fatal(err)
		}
		reply, err := wire.ReadReply(c.r)
		var a wire.GetResponse
		if err != nil || !reply.OK() || wire.Get.DecodeResult(reply.Body, &a) != nil || string(a.Value) != "w" {
			t.Errorf("%s answers %+v %+v, %v", secondary, reply, a, err)
		}
	}
}

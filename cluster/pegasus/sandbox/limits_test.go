package sandbox

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// envs sets a table's envs to exactly these.
func (u *user) envs(table string, pairs ...string) {
	u.t.Helper()
	all := ""
	if a := ask(u, &wire.UpdateAppEnv, wire.UpdateAppEnvRequest{AppName: table, Op: wire.EnvClear, ClearPrefix: &all}); a.Err != wire.OK {
		u.t.Fatal(a)
	}
	q := wire.UpdateAppEnvRequest{AppName: table, Op: wire.EnvSet}
	for i := 0; i < len(pairs); i += 2 {
		q.Keys, q.Values = append(q.Keys, pairs[i]), append(q.Values, pairs[i+1])
	}
	if len(q.Keys) == 0 {
		return
	}
	if a := ask(u, &wire.UpdateAppEnv, q); a.Err != wire.OK {
		u.t.Fatal(a)
	}
}

func TestDenyClientRequest(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox", ""))
	p := u.config("demo").Configs[0]
	at, hash := p.Primary.String(), hashOn(u.config("demo"), 0)
	put := wire.PutRequest{Key: key(hash, "s"), Value: []byte("v")}
	if err := u.put("demo", hash, "s", "v", 0); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"all", "read", "write"} {
		u.envs("demo", envDeny, "reconfig*"+what)
		if err := u.put("demo", hash, "s", "v", 0); (err != nil && err.Error() == wire.CodeInvalidState) != (what != "read") {
			t.Errorf("reconfig*%s: a write is answered %v", what, err)
		}
		if _, err := try(u, at, &wire.Get, p.PID, put.Key); (err != nil && err.Error() == wire.CodeInvalidState) != (what != "write") {
			t.Errorf("reconfig*%s: a read is answered %v", what, err)
		}
		u.envs("demo", envDeny, "timeout*"+what)
		if what != "read" {
			silent(u, at, &wire.Put, p.PID, put)
		} else if err := u.put("demo", hash, "s", "v", 0); err != nil {
			t.Error(err)
		}
		if what != "write" {
			silent(u, at, &wire.Get, p.PID, put.Key)
		} else if _, err := try(u, at, &wire.Get, p.PID, put.Key); err != nil {
			t.Error(err)
		}
	}
	u.envs("demo")
	if err := u.put("demo", hash, "s", "v", 0); err != nil {
		t.Error(err)
	}
}

// refused counts the busy answers to n calls, which come as fast as they can.
func refused(t *testing.T, n int, call func(i int) error) int {
	t.Helper()
	count := 0
	for i := range n {
		if err := call(i); err != nil {
			if err.Error() != wire.CodeBusy {
				t.Fatal(err)
			}
			count++
		}
	}
	return count
}

func TestThrottlingEnvs(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox", ""))
	u.create("one", 1, nil)
	p := u.config("one").Configs[0]
	at := p.Primary.String()
	big := bytes.Repeat([]byte("x"), 10_000)
	write := func(i int) error {
		_, err := try(u, at, &wire.Put, p.PID, wire.PutRequest{Key: key("h", fmt.Sprint(i)), Value: big})
		return err
	}
	read := func(i int) error {
		_, err := try(u, at, &wire.Get, p.PID, key("h", fmt.Sprint(i%100)))
		return err
	}
	if n := refused(t, 100, write) + refused(t, 100, read); n != 0 {
		t.Fatalf("%d refused without a limit", n)
	}
	for _, c := range []struct {
		env, value string
		call       func(int) error
		writes     bool
	}{
		{envWriteThrottle, "10*reject*0", write, true},
		{envWriteSize, "100K*reject*0", write, true},
		{envReadThrottle, "10*reject*0", read, false},
		{envReadSize, "100K*reject*0", read, false},
	} {
		u.envs("one", c.env, c.value)
		begin := time.Now()
		n := refused(t, 200, c.call)
		windows := int(time.Now().Unix() - begin.Unix() + 1)
		if taken := 200 - n; taken < 10 || taken > 12*windows {
			t.Errorf("%s %s: %d of 200 were taken in %d seconds", c.env, c.value, taken, windows)
		}
		other := read
		if !c.writes {
			other = write
		}
		if n := refused(t, 20, other); n != 0 {
			t.Errorf("%s %s: %d of the others were refused", c.env, c.value, n)
		}
	}
	u.envs("one", envWriteThrottle, "1*delay*150")
	begin := time.Now()
	for i := range 6 { // at least two fall into one second, the second of which goes beyond
		if err := write(i); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took < 150*time.Millisecond {
		t.Errorf("six writes took %s", took)
	}
	u.envs("one", envWriteThrottle, "1*reject*150")
	begin = time.Now()
	if n := refused(t, 6, write); n == 0 || time.Since(begin) < 150*time.Millisecond {
		t.Errorf("%d of six were refused in %s", n, time.Since(begin))
	}
}

// A table's number is shared out among its partitions.
func TestLimitPerPartition(t *testing.T) {
	k := newLimit("2K*delay*5, 4M*reject*7", 8)
	want := limit{delayAt: 257, rejectAt: 4<<20/8 + 1, delayFor: 5 * time.Millisecond, rejectFor: 7 * time.Millisecond}
	if *k != want {
		t.Errorf("it is %+v", *k)
	}
	now := time.Unix(1000, 0)
	for i, w := range []struct {
		units int64
		at    time.Time
		want  verdict
	}{
		{257, now, verdict{}},
		{1, now, verdict{5 * time.Millisecond, ""}},
		{4 << 20, now, verdict{7 * time.Millisecond, wire.CodeBusy}},
		{1, now, verdict{5 * time.Millisecond, ""}},
		{257, now.Add(time.Second), verdict{}},
	} {
		if got := k.control(w.units, w.at, false); got != w.want {
			t.Errorf("request %d: %+v", i, got)
		}
	}
}

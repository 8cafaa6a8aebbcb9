package sandbox

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"testing"

	"shardsh/cluster/pegasus/wire"
)

// Writes whose outcome depends on rows are refused, and counted; others and reads are not.
func TestDuplicatedTableRefusesConditionalWrites(t *testing.T) {
	t.Parallel()
	source, follower := pair(t, "", nil)
	source.create("table", 1, nil)
	follower.create("table", 1, nil)
	source.addDup("table", false)
	source.ships("table")
	hash := []byte("h")
	for name, write := range map[string]func() error{
		"incr": func() error {
			_, err := at(source, "table", hash, &wire.Incr, wire.IncrRequest{Key: key("h", "s"), Increment: 1})
			return err
		},
		"check and set": func() error {
			_, err := at(source, "table", hash, &wire.CheckAndSet, wire.CheckAndSetRequest{HashKey: hash})
			return err
		},
		"check and mutate": func() error {
			_, err := at(source, "table", hash, &wire.CheckAndMutate, wire.CheckAndMutateRequest{HashKey: hash})
			return err
		},
	} {
		var refused rejection
		if err := write(); !errors.As(err, &refused) || string(refused) != wire.CodeOperationDisabled {
			t.Errorf("%s: %v", name, err)
		}
	}
	node := source.healthy("table").Configs[0].Primary.String()
	if n := source.counter(node, "dup.disabled_non_idempotent_write_count@table"); n != 3 {
		t.Errorf("%v writes were refused, by the counters", n)
	}
	if n := source.counter(node, "recent.write.fail.count"); n < 3 {
		t.Errorf("%v writes failed, by the counters", n)
	}
	if err := source.put("table", "h", "s", "v", 0); err != nil {
		t.Error(err)
	}
	source.shipped("table")
	if n := source.counter(node, "dup.pending_mutations_count"); n != 0 {
		t.Errorf("%v writes are pending, by the counters", n)
	}
	// A duplicated table cannot be split; one that is being split cannot be duplicated.
	if a := ask(source, &wire.StartSplit, wire.StartSplitRequest{AppName: "table", NewPartitions: 2}); a.Err != wire.CodeInvalidState {
		t.Errorf("split a duplicated table: %+v", a)
	}
	release := source.hold("demo")
	source.startSplit("demo", 8)
	if a := ask(source, &wire.AddDup, wire.AddDupRequest{AppName: "demo", Remote: "onebox2"}); a.Err != wire.CodeSplitting {
		t.Errorf("duplicate a table that is being split: %+v", a)
	}
	release()
	source.splits("demo", 8)
}

// What add and modify refuse, in the order in which Pegasus looks.
func TestDuplicationRefuses(t *testing.T) {
	t.Parallel()
	source, _ := pair(t, "", nil)
	for name, c := range map[string]struct {
		q    wire.AddDupRequest
		want string
	}{
		"itself":     {wire.AddDupRequest{AppName: "demo", Remote: "onebox"}, wire.CodeInvalidParameters},
		"no cluster": {wire.AddDupRequest{AppName: "demo", Remote: "nosuch"}, wire.CodeInvalidParameters},
		"no table":   {wire.AddDupRequest{AppName: "nosuch", Remote: "onebox2"}, wire.CodeAppNotExist},
	} {
		if a := ask(source, &wire.AddDup, c.q); a.Err != c.want || a.Hint == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	id := source.addDup("demo", false)
	if again := source.addDup("demo", false); again != id {
		t.Errorf("the same duplication is %d, then %d", id, again)
	}
	source.expect("of a table that is not there", source.modifyDup("nosuch", id, wire.DupPause), wire.CodeAppNotExist)
	source.expect("that is not there", source.modifyDup("demo", id+1, wire.DupPause), wire.CodeObjectNotFound)
	source.expect("back to the checkpoint", source.modifyDup("demo", id, wire.DupPrepare), wire.CodeInvalidParameters)
	if _, err := try(source, source.leader(""), &wire.ListDups, wire.GPID{}, wire.ListDupsRequest{MatchType: 1}); err == nil || err.Error() != wire.CodeHandlerNotFound {
		t.Errorf("2.5 lists all duplications: %v", err)
	}
}

// From 2.6 on the follower's table may have another name, and the master is told what was asked for.
func TestDuplicate26(t *testing.T) {
	t.Parallel()
	source, follower := pair(t, "2.6", nil)
	source.create("table", 2, nil)
	source.scribble("table", rand.New(rand.NewPCG(5, 6)), 40)
	name, one := "copy", int32(1)
	a := ask(source, &wire.AddDup, wire.AddDupRequest{AppName: "table", Remote: "onebox2", RemoteApp: &name, RemoteReplicas: &one})
	if a.Err != wire.OK || a.RemoteApp == nil || *a.RemoteApp != name || a.RemoteReplicas == nil || *a.RemoteReplicas != 1 {
		t.Fatalf("%+v", a)
	}
	source.eventually("it ships", func() bool {
		e := source.dup("table")
		for _, s := range e.States {
			if s.Confirmed < 0 || s.Confirmed < s.LastCommitted {
				return false
			}
		}
		return e.Status == wire.DupLog && e.Progress == nil && len(e.States) == 2
	})
	if want, got := source.rows("table"), follower.rows("copy"); !maps.Equal(want, got) {
		t.Errorf("the source has %d rows, the follower %d", len(want), len(got))
	}
	if b := ask(source, &wire.AddDup, wire.AddDupRequest{AppName: "demo", Remote: "onebox2", RemoteApp: &name}); b.Err != wire.CodeInvalidParameters {
		t.Errorf("two tables into one: %+v", b)
	}
	// Conditional writes are shipped as what they came to, when the table is made for that.
	atomic := ask(source, &wire.CreateApp, wire.CreateAppRequest{AppName: "atomic", Options: wire.CreateAppOptions{
		Partitions: 1, Replicas: 3, AppType: appType, Stateful: true, AtomicIdempotent: new(true),
	}})
	follower.create("atomic", 1, nil)
	source.healthy("atomic")
	off := false
	if b := ask(source, &wire.AddDup, wire.AddDupRequest{AppName: "atomic", Remote: "onebox2", Checkpoint: &off}); atomic.Err != wire.OK || b.Err != wire.OK {
		t.Fatalf("%+v, %+v", atomic, b)
	}
	source.eventually("the primary knows that it ships", func() bool {
		e := source.dup("atomic")
		return e.Status == wire.DupLog && len(e.States) == 1 && e.States[0].Confirmed >= 0
	})
	for range 3 {
		if b, err := at(source, "atomic", []byte("h"), &wire.Incr, wire.IncrRequest{Key: key("h", "n"), Increment: 2}); err != nil || b.Error != 0 {
			t.Fatal(b, err)
		}
	}
	cam := wire.CheckAndMutateRequest{HashKey: []byte("h"), CheckSortKey: []byte("n"), CheckType: wire.CheckExist, Mutations: []wire.Mutation{
		{Operation: wire.MutatePut, SortKey: []byte("m"), Value: []byte("set")}, {Operation: wire.MutateDelete, SortKey: []byte("n")},
	}}
	if b, err := at(source, "atomic", []byte("h"), &wire.CheckAndMutate, cam); err != nil || b.Error != 0 {
		t.Fatal(b, err)
	}
	want := source.rows("atomic")
	source.eventually("what conditional writes came to is there", func() bool { return maps.Equal(want, follower.rows("atomic")) })
	if len(want) != 1 {
		t.Errorf("the source has %v", want)
	}
	source.eventually("it is there already", func() bool {
		return ask(source, &wire.AddDup, wire.AddDupRequest{AppName: "table", Remote: "onebox2", Checkpoint: &off}).Err == wire.CodeDupExist
	})
	list := ask(source, &wire.ListDups, wire.ListDupsRequest{MatchType: 1})
	if d := list.Apps["table"].Dups[a.DupID]; list.Err != wire.OK || d.RemoteApp == nil || *d.RemoteApp != name || len(list.Apps["demo"].Dups) != 0 {
		t.Errorf("%+v", list)
	}
}

// A follower knows which write is newer when it is asked to look, and refuses what cannot be another cluster's.
func TestDuplicateRequests(t *testing.T) {
	t.Parallel()
	u := newUser(t, run(t, "onebox2", ""))
	u.create("table", 1, nil)
	hash, put := []byte("h"), wire.Put.Name
	ship := func(stamp int64, cluster int8, code, value string, verify bool) wire.DuplicateResponse {
		t.Helper()
		raw := wire.Put.AppendArgs(nil, &wire.PutRequest{Key: key("h", "s"), Value: []byte(value)})
		a, err := at(u, "table", hash, &wire.Duplicate, wire.DuplicateRequest{Entries: []wire.DuplicateEntry{
			{Timestamp: &stamp, Code: &code, RawMessage: &raw, ClusterID: &cluster, VerifyTimetag: &verify},
		}})
		u.do(err)
		return a
	}
	for _, step := range []struct {
		stamp  int64
		value  string
		verify bool
		reads  string
	}{
		{100, "first", true, "first"},
		{99, "older", true, "first"},
		{100, "as old", true, "first"},
		{101, "newer", true, "newer"},
		{50, "unasked", false, "unasked"},
	} {
		if a := ship(step.stamp, 1, put, step.value, step.verify); a.Error == nil || *a.Error != 0 {
			t.Fatalf("%+v: %+v", step, a)
		}
		if got, _ := u.get("table", "h", "s"); got != step.reads {
			t.Errorf("after %q of %d the row is %q, want %q", step.value, step.stamp, got, step.reads)
		}
	}
	for name, a := range map[string]wire.DuplicateResponse{
		"its own": ship(200, 2, put, "x", false), "nobody's": ship(200, 9, put, "x", false), "no write": ship(200, 1, wire.Incr.Name, "x", false),
	} {
		if a.Error == nil || *a.Error != wire.StatusInvalidArgument || a.Hint == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if got, _ := u.get("table", "h", "s"); got != "unasked" {
		t.Errorf("a refused write was made: %q", got)
	}
}

// FuzzLogEntry reads damaged entries of a log: what is accepted is, written again, the same.
func FuzzLogEntry(f *testing.F) {
	full := key("h", "s")
	one := appendMessage(make([]byte, 8), message{wire.Remove.Name, wire.Remove.AppendArgs(nil, &full)})
	f.Add(make([]byte, 8))
	f.Add(one)
	f.Add(appendMessage(one, message{wire.Put.Name, wire.Put.AppendArgs(nil, &wire.PutRequest{Key: full, Value: []byte("v")})}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, messages, err := parseEntry(b)
		if err != nil {
			return
		}
		again := append([]byte(nil), b[:8]...)
		for _, m := range messages {
			_, _ = hashOfMessage(m)
			again = appendMessage(again, m)
		}
		if !bytes.Equal(b, again) {
			t.Fatalf("% x, then % x", b, again)
		}
	})
}

package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"shardsh/cluster/sandbox/link"
)

// What a meta server in another process is handed is all there is, and what it keeps is kept while it leads.
func TestFarZookeeper(t *testing.T) {
	store, err := openStore(t.TempDir(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{store: store, dir: t.TempDir(), log: t.Logf}
	defer func() { c.store.Close() }()
	f := &farServer{c: c}
	here, there := net.Pipe()
	serves := link.Open(here, link.Serve(func() (*farServer, error) { return f, nil }, clusterCalls...), linkErrors)
	asks := link.Open(there, nil, linkErrors)
	defer serves.Close(io.EOF)
	defer asks.Close(io.EOF)

	first := farZookeeper{asks, c.nextReign()}
	want := map[string][]byte{}
	for i := range 3000 { // three parts
		want[fmt.Sprintf("g%05d", i)] = bytes.Repeat([]byte{byte(i)}, 1000)
	}
	want["a"], want["a\x00"] = []byte("first"), []byte("second")
	if err := first.save(want); err != nil {
		t.Fatal(err)
	}
	if err := markLost(store); err != nil {
		t.Fatal(err)
	}
	want[string(lostKey)] = nil
	for name, z := range map[string]zookeeper{"here": keep{store}, "far": first} {
		last, count := "", 0
		err := z.load(func(key, value []byte) error {
			if string(key) <= last || !bytes.Equal(value, want[string(key)]) {
				t.Errorf("%s: after %q comes %q with %d bytes", name, last, key, len(value))
			}
			last = string(key)
			count++
			return nil
		})
		if err != nil || count != len(want) {
			t.Errorf("%s: %d values of %d, %v", name, count, len(want), err)
		}
	}
	failed := errors.New("enough")
	if err := first.load(func([]byte, []byte) error { return failed }); err != failed {
		t.Errorf("a load that is given up: %v", err)
	}
	if err := first.save(map[string][]byte{string(filledKey): nil}, string(lostKey)); err != nil {
		t.Fatal(err)
	}
	if lost, err := (keep{store}).lost(); lost || err != nil {
		t.Errorf("it is lost still: %v, %v", lost, err)
	}
	second := farZookeeper{asks, c.nextReign()}
	if err := first.save(map[string][]byte{"a": []byte("late")}); !errors.Is(err, errDead) {
		t.Errorf("a leader of before keeps something: %v", err)
	}
	if err := first.load(func([]byte, []byte) error { return nil }); !errors.Is(err, errDead) {
		t.Errorf("a leader of before reads something: %v", err)
	}
	if err := second.save(map[string][]byte{"a": []byte("new")}); err != nil {
		t.Error(err)
	}
	if got, err := store.Read([]byte("a")); string(got) != "new" || err != nil {
		t.Errorf("kept is %q, %v", got, err)
	}
	if err := c.loseMetadata(); err != nil {
		t.Fatal(err)
	}
	if err := second.save(map[string][]byte{"a": []byte("late")}); !errors.Is(err, errDead) {
		t.Errorf("the leader of before the loss keeps something: %v", err)
	}
	third := farZookeeper{asks, c.nextReign()}
	err = third.load(func(key, _ []byte) error {
		if !bytes.Equal(key, lostKey) {
			return fmt.Errorf("%q is there", key)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if lost, err := (keep{c.store}).lost(); !lost || err != nil {
		t.Errorf("it is not lost: %v", err)
	}
}

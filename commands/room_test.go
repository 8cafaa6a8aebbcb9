package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"shardsh/commands/spec"
	"shardsh/storage"
)

// tight is a directory that says what room there is.
type tight struct {
	storage.Service
	room  storage.Room
	err   error
	asked string
	meet  func() // with others, before it answers
}

func (s *tight) Room(_ context.Context, dir string) (storage.Room, error) {
	s.asked = dir
	if s.meet != nil {
		s.meet()
	}
	return s.room, s.err
}

// dumb is a service that cannot tell.
type dumb struct{ storage.Service }

func directory(t *testing.T, name string) storage.Service {
	t.Helper()
	s, err := storage.Directory(name, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLookAtRoom(t *testing.T) {
	const gibi = 1 << 30
	away := &spec.Error{Kind: spec.Unavailable, Op: "ask", Endpoint: "hdfs://nn:8020", Err: errors.New("connection refused")}
	for _, c := range []struct {
		room    storage.Room
		err     error
		writing Writing
		note    string // "" for none
		blocker string
	}{
		{room: storage.Room{Free: 12 * gibi, Copies: 1}, writing: Writing{Bytes: 12 * gibi}, note: "disk: 12 GiB free, about 12 GiB needed"},
		{room: storage.Room{Free: 12 * gibi, Copies: 1}, writing: Writing{Bytes: -1}, note: "disk: 12 GiB free, how much is needed is not known"},
		{room: storage.Room{Free: 0, Copies: 1}, writing: Writing{}, note: "disk: 0 B free, about 0 MB needed"},
		{room: storage.Room{Free: 12*gibi - 1, Copies: 1}, writing: Writing{Bytes: 12 * gibi}, blocker: "12 GiB free, and about 12 GiB needed: make room, or name another place"},
		{
			room: storage.Room{Free: gibi, Copies: 3, Bound: "the quota of /b"}, writing: Writing{Bytes: 3 * gibi / 2, Small: true, Way: "rm_backup removes old backups"},
			blocker: "1 GiB free (within the quota of /b; for files that are stored 3 times), and about 1.5 GiB needed: make room, or name another place; rm_backup removes old backups",
		},
		{room: storage.Room{Free: gibi, Copies: 1}, writing: Writing{Bytes: 2 * gibi, Resumed: true}, note: "disk: 1 GiB free, about 2 GiB needed, of which part may be there"},
		{room: storage.Room{Free: gibi, Copies: 1, Unsure: "the quota is not known"}, writing: Writing{Bytes: 1}, note: "disk: 1 GiB free (the quota is not known), about 1 B needed"},
		{room: storage.Room{Free: gibi, Copies: 1}, writing: Writing{Bytes: small - 1, Small: true}},
		{room: storage.Room{Free: 9, Copies: 1}, writing: Writing{Bytes: 10, Small: true}, blocker: "9 B free, and about 10 B needed"},
		{err: away, writing: Writing{Bytes: gibi}, note: "how much room disk has is not known: hdfs://nn:8020: connection refused; about 1 GiB needed"},
		{err: away, writing: Writing{Bytes: 1, Small: true}},
		{err: away, writing: Writing{Bytes: gibi, Small: true}, note: "how much room disk has is not known: hdfs://nn:8020"},
	} {
		s := &tight{Service: directory(t, "disk"), room: c.room, err: c.err}
		c.writing.To, c.writing.Dir = s, "some/where"
		plan := &spec.Plan{}
		if err := LookAtRoom(t.Context(), plan, c.writing); err != nil || s.asked != "some/where" {
			t.Errorf("it asked for %q: %v", s.asked, err)
		}
		note, blocker := strings.Join(plan.Notes, "; "), ""
		for _, b := range plan.Blockers {
			blocker += b.Why
			if b.Object != "disk" {
				t.Errorf("%s is blocked by %s", b.Object, b.Why)
			}
		}
		if (note == "") != (c.note == "") || !strings.HasPrefix(note, c.note) || (blocker == "") != (c.blocker == "") || !strings.HasPrefix(blocker, c.blocker) {
			t.Errorf("%+v: %q, %q", c.room, note, blocker)
		}
	}

	plan := &spec.Plan{}
	err := LookAtRoom(t.Context(), plan, Writing{To: dumb{directory(t, "bucket")}, Bytes: gibi})
	if want := "how much room bucket has is not known: local_service has no call that tells it; about 1 GiB needed"; err != nil || !slices.Equal(plan.Notes, []string{want}) {
		t.Errorf("%v, %q", err, plan.Notes)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := LookAtRoom(ended, plan, Writing{To: directory(t, "disk")}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// services is an Env with block services, and with none that is called gone.
type services struct {
	store
	list []storage.Service
}

func (e *services) Blocks() []Block {
	all := []Block{{Name: "gone", Type: storage.S3Type, Where: "http://gone gone"}}
	for _, s := range e.list {
		all = append(all, Block{Name: s.Name(), Type: s.Type()})
	}
	return all
}

func (e *services) Block(_ context.Context, name string) (storage.Service, error) {
	for _, s := range e.list {
		if s.Name() == name {
			return s, nil
		}
	}
	return nil, spec.Errorf(spec.Usage, "the variable KEY is not set")
}

// What a copy would take is what it adds to the destination.
func TestCopyIsRefusedWithoutRoom(t *testing.T) {
	s := &tight{Service: directory(t, "disk"), room: storage.Room{Free: 1000, Total: 5000, Copies: 1}}
	env := &services{list: []storage.Service{s}}
	file := filepath.Join(t.TempDir(), "f")
	plan := func(size int, resumed bool) *spec.Plan {
		t.Helper()
		if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		c := FSPut(env)
		p, err := c.Change(t.Context(), &spec.Call{
			Command: &c, Args: []string{file, "disk:/d/f"}, Flags: map[string][]string{"parallel": {"1"}}, Resumed: resumed,
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := plan(1000, false); len(p.Blockers) != 0 || len(p.Notes) != 0 {
		t.Errorf("what fits: %+v, %q", p.Blockers, p.Notes)
	}
	p := plan(1001, false)
	if len(p.Blockers) != 1 || p.Blockers[0].Object != "disk" || !strings.HasPrefix(p.Blockers[0].Why, "1000 B free, and about 1001 B needed") || len(p.Steps) != 1 {
		t.Errorf("what does not: %+v", p.Blockers)
	}
	if s.asked != "d/f" {
		t.Errorf("the room of %q is asked for", s.asked)
	}
	if p := plan(1001, true); len(p.Blockers) != 0 {
		t.Errorf("what goes on: %+v", p.Blockers)
	}
	if err := storage.WriteFile(t.Context(), s, "d/f", make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	if p := plan(1500, false); len(p.Blockers) != 0 {
		t.Errorf("what takes the place of 500 bytes: %+v", p.Blockers)
	}
	if p := plan(1501, false); len(p.Blockers) != 1 {
		t.Errorf("what takes the place of 500 bytes, and too much: %+v", p.Blockers)
	}
}

// Services are asked beside each other: none waits for another one's answer.
func TestBlockServicesFree(t *testing.T) {
	var all sync.WaitGroup
	all.Add(2)
	meet := func() {
		all.Done()
		all.Wait()
	}
	env := &services{list: []storage.Service{
		&tight{Service: directory(t, "disk"), room: storage.Room{Free: 5, Total: 10, Copies: 1}, meet: meet},
		&tight{Service: directory(t, "hdfs"), room: storage.Room{Free: 7, Total: 8, Copies: 2, Bound: "the quota of /b"}, meet: meet},
		&tight{Service: directory(t, "dead"), err: &spec.Error{Op: "ask", Endpoint: "hdfs://nn:8020", Err: errors.New("connection refused")}},
	}}
	c := BlockServices(env)
	for free, want := range map[string]string{
		"false": "[gone s3_service configured http://gone gone] [disk local_service configured <nil>] [hdfs local_service configured <nil>] [dead local_service configured <nil>] ",
		"true": "[gone s3_service configured http://gone gone <nil> <nil> the variable KEY is not set] [disk local_service configured <nil> 5 10 <nil>] " +
			"[hdfs local_service configured <nil> 7 8 within the quota of /b; for files that are stored 2 times] " +
			"[dead local_service configured <nil> <nil> <nil> hdfs://nn:8020: connection refused] ",
	} {
		table, err := c.Query(t.Context(), &spec.Call{Command: &c, Flags: map[string][]string{"free": {free}}})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for row, err := range table.Rows {
			if err != nil || len(row) != len(table.Columns) {
				t.Fatalf("%d cells in %d columns, %v", len(row), len(table.Columns), err)
			}
			got += fmt.Sprint([]any(row)) + " "
		}
		if got != want {
			t.Errorf("--free=%s: %s", free, got)
		}
	}
}

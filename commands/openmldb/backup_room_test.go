package openmldb

import (
	"context"
	"strings"
	"testing"

	"shardsh/commands/spec"
	"shardsh/storage"
)

// tight is a service that says what room there is.
type tight struct {
	storage.Service
	free int64
}

func (s tight) Room(context.Context, string) (storage.Room, error) {
	return storage.Room{Free: s.free, Total: s.free, Copies: 1}, nil
}

// tightEnv has a block service with little room.
type tightEnv struct {
	*copyEnv
	s storage.Service
}

func (e *tightEnv) Block(context.Context, string) (storage.Service, error) { return e.s, nil }

// All tables of a backup go to one place: their sizes are added up.
func TestBackupNeedsRoom(t *testing.T) {
	for _, c := range []struct {
		free    int64
		resumed bool
		disk    bool // the rows are there
		mute    bool // a tablet told nothing
		note    string
		blocker string
	}{
		{free: 5 << 20, note: "disk: 5 MiB free, about 5 MiB needed"},
		{free: 5<<20 - 1, blocker: "5 MiB free, and about 5 MiB needed: make room, or name another place; fs rm -r removes old backups"},
		{free: 1 << 20, resumed: true, note: "disk: 1 MiB free, about 5 MiB needed, of which part may be there"},
		{free: 4 << 20, disk: true, note: "disk: 4 MiB free, about 4 MiB needed"},
		{free: 1, mute: true, note: "disk: 1 B free, how much is needed is not known"},
	} {
		s, err := storage.Directory("disk", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		env := &tightEnv{newCopyEnv(), tight{s, c.free}}
		f := env.from.fake
		more := small().tables[0]
		more.Name, more.ID = "more", 5
		more.Schema, more.Columns = f.tables[0].Schema, f.tables[0].Columns
		f.tables = append(f.tables, more)
		memory, disk := uint64(5<<18), uint64(1<<20) // of each of four partitions
		for i := range f.tables {
			if c.disk {
				f.tables[i].Storage = "kSSD"
			}
		}
		for _, table := range f.tables {
			for _, p := range table.Parts {
				for r := range p.Replicas {
					p.Replicas[r].Records, p.Replicas[r].Memory, p.Replicas[r].Disk = new(uint64), &memory, &disk
					if c.mute {
						p.Replicas[r].Memory = nil
					}
				}
			}
		}
		word := Backup(env)
		plan, err := word.Change(t.Context(), &spec.Call{
			Command: &word, Cluster: "here", Args: []string{"disk:/b"}, Resumed: c.resumed,
			Flags: map[string][]string{"all": {"true"}, "parallel": {"4"}, "patience": {"1m"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		blocked := ""
		for _, b := range plan.Blockers {
			blocked += b.Why
		}
		if notes := strings.Join(plan.Notes, "\n"); len(plan.Steps) != 2 || blocked != c.blocker || !strings.Contains(notes, c.note) {
			t.Errorf("%d bytes are free: %d steps, blocked by %q, with the notes\n%s", c.free, len(plan.Steps), blocked, notes)
		}
	}
}

package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/cluster/openmldb"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// Every index of a restored table has what it had: whatever the types, the bytes, the TTLs, and what was deleted from one
// of them only.
func TestEveryIndex(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	zoo := l.zoo()
	m := must[*Manifest](t)(l.make(zoo, "b/zoo", small, &work{t: t}))
	if m.ReadBy != "by_put" {
		t.Errorf("rows are read by %s", m.ReadBy)
	}
	own := map[string]int{}
	for _, x := range m.Indexes {
		own[x.Name] = len(x.Own)
		if want := int64(len(l.entries(zoo, x.Name))); x.Rows != want {
			t.Errorf("index %s has %d rows in the manifest, and %d", x.Name, x.Rows, want)
		}
	}
	if own["by_who"] != 1 || own["by_s"] != 1 || own["by_day"] == 0 || own["by_put"] != 0 {
		t.Errorf("partitions that are stored besides: %v", own)
	}
	loaded := must[*Manifest](t)(Load(t.Context(), l.s, "b/zoo"))
	if loaded.Rows() != m.Rows() || len(loaded.Chunks) != len(m.Chunks) || len(m.Chunks) < 20 {
		t.Errorf("%d chunks were written, and %d are read", len(m.Chunks), len(loaded.Chunks))
	}
	again := openmldb.TableName{DB: "demo_db", Name: "zoo2"}
	if err := l.restore("b/zoo", again, 7, &work{t: t}); err != nil {
		t.Fatal(err)
	}
	l.same(zoo, again)
	w := &work{t: t}
	if err := Compare(t.Context(), l.d, l.describe(again), m, Options{What: "compare"}, w); err != nil || !strings.Contains(w.said, "equal") {
		t.Error(err, w.said)
	}
	was, is := l.describe(zoo), l.describe(again)
	if !slices.Equal(was.Columns, is.Columns) || len(is.Parts) != 7 || is.Replicas != was.Replicas {
		t.Errorf("it was %+v, and is %+v", was, is)
	}
	for i, x := range was.Indexes {
		if o := is.Indexes[i]; o.Name != x.Name || !slices.Equal(o.Columns, x.Columns) || o.TimeColumn != x.TimeColumn || o.TTL != x.TTL {
			t.Errorf("index %+v is %+v", x, o)
		}
	}
	if err := l.d.Delete(t.Context(), again, openmldb.DeleteQuery{Index: "by_who", Key: "w7"}); err != nil {
		t.Fatal(err)
	}
	err := Compare(t.Context(), l.d, l.describe(again), m, Options{What: "compare"}, &work{t: t})
	if spec.KindOf(err) != spec.AnsweredNo || !strings.Contains(err.Error(), "index by_who has") {
		t.Error(err)
	}
}

// However often it is interrupted, the files are the same.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	zoo := l.zoo()
	must[*Manifest](t)(l.make(zoo, "whole", small, &work{t: t}))
	want := files(t, filepath.Join(l.root, "whole"))
	w, stops := &work{t: t, rate: spec.Rate{Rows: 3000}}, 0
	for at := int64(100); ; at += 300 {
		ctx, cancel := context.WithCancel(t.Context())
		w.at, w.then = at, cancel
		_, err := l.makeIn(ctx, zoo, "parts", small, w)
		cancel()
		if err == nil {
			break
		}
		if spec.KindOf(err) != spec.Interrupted {
			t.Fatal(err)
		}
		if _, lerr := Load(t.Context(), l.s, "parts"); spec.KindOf(lerr) != spec.Refused || !strings.Contains(lerr.Error(), "not complete") {
			t.Fatalf("after it was stopped: %v", lerr)
		}
		stops++
	}
	if stops < 3 {
		t.Errorf("it was stopped %d times only", stops)
	}
	sameFiles(t, want, files(t, filepath.Join(l.root, "parts")))
	// Killed between the documents: the journal says that all is stored.
	for _, name := range []string{ManifestFile, SumsFile} {
		if err := os.Remove(filepath.Join(l.root, "parts", name)); err != nil {
			t.Fatal(err)
		}
		must[*Manifest](t)(l.make(zoo, "parts", small, w))
		sameFiles(t, want, files(t, filepath.Join(l.root, "parts")))
	}
}

// A restore that is interrupted goes on, and puts no row twice.
func TestRestoreInterrupted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	zoo := l.zoo()
	must[*Manifest](t)(l.make(zoo, "b", small, &work{t: t}))
	to := openmldb.TableName{DB: "demo_db", Name: "zoo2"}
	w, stops := &work{t: t, rate: spec.Rate{Rows: 3000}}, 0
	for at := int64(50); ; at += 400 {
		ctx, cancel := context.WithCancel(t.Context())
		w.at, w.then = at, cancel
		err := l.restoreIn(ctx, "b", to, 5, w)
		cancel()
		if err == nil {
			break
		}
		if spec.KindOf(err) != spec.Interrupted {
			t.Fatal(err)
		}
		stops++
	}
	if stops < 2 {
		t.Errorf("it was stopped %d times only", stops)
	}
	l.same(zoo, to)
	if err := l.restore("b", to, 5, &work{t: t}); spec.KindOf(err) != spec.Refused || !strings.Contains(err.Error(), "there is a table demo_db/zoo2") {
		t.Error(err)
	}
	// Into the table that is there: what is missing, and nothing else.
	if err := l.d.Delete(t.Context(), to, openmldb.DeleteQuery{Index: "by_who", Key: "w7"}); err != nil {
		t.Fatal(err)
	}
	m := must[*Manifest](t)(Load(t.Context(), l.s, "b"))
	want := m.New()
	want.TableName = to
	o := RestoreOptions{What: "restore", Target: want, Add: true}
	if _, err := Restore(t.Context(), l.d, l.s, "b", m, o, &work{t: t}); err != nil {
		t.Fatal(err)
	}
}

// A leader dies in the middle of a backup, and one of the restore: either is followed.
func TestLeaderDies(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	name := openmldb.TableName{DB: "demo_db", Name: "visits"}
	if err := l.d.Create(t.Context(), openmldb.NewTable{
		TableName: name, Partitions: 3, Replicas: 3,
		Columns: []openmldb.Column{{Name: "who", Type: "string"}, {Name: "page", Type: "string"}, {Name: "at", Type: "timestamp"}, {Name: "score", Type: "double"}},
		Indexes: []openmldb.Index{
			{Name: "who", Columns: []string{"who"}, TimeColumn: "at", TTL: forever},
			{Name: "page", Columns: []string{"page"}, TimeColumn: "at", TTL: forever},
		},
	}); err != nil {
		t.Fatal(err)
	}
	const rows = 12_000
	l.put(name, rows, func(i int) openmldb.Row {
		return openmldb.Row{Values: []any{fmt.Sprint("v", i%997), fmt.Sprint("p", i%31), int64(1 + i%50), float64(i % 5)}}
	})
	l.whole()
	lim := limits{chunk: 64 << 10, group: 16 << 10}
	must[*Manifest](t)(l.make(name, "still", lim, &work{t: t}))
	leader, ok := l.describe(name).Parts[1].Leader()
	if !ok {
		t.Fatal("nobody leads")
	}
	died := make(chan error, 2)
	kill := func(endpoint string) func() {
		return func() { go func() { died <- l.server.Kill(t.Context(), endpoint) }() }
	}
	w := &work{t: t, rate: spec.Rate{Rows: 8000}, at: rows / 4, then: kill(leader.Endpoint)}
	must[*Manifest](t)(l.make(name, "moved", lim, w))
	if err := <-died; err != nil {
		t.Fatal(err)
	}
	sameFiles(t, files(t, filepath.Join(l.root, "still")), files(t, filepath.Join(l.root, "moved")))
	l.healthy(leader.Endpoint, false)
	if err := l.server.Start(t.Context(), leader.Endpoint); err != nil {
		t.Fatal(err)
	}
	l.healthy(leader.Endpoint, true)
	l.whole()

	to := openmldb.TableName{DB: "demo_db", Name: "visits2"}
	w = &work{t: t, rate: spec.Rate{Rows: 8000}, at: rows / 4, then: func() {
		leader, ok := l.describe(to).Parts[2].Leader()
		if !ok {
			died <- errors.New("nobody leads")
			return
		}
		kill(leader.Endpoint)()
	}}
	if err := l.restore("moved", to, 5, w); err != nil {
		t.Fatal(err)
	}
	if err := <-died; err != nil {
		t.Fatal(err)
	}
	l.same(name, to)
}

// One flipped bit in any file is found, named, and refused.
func TestDamage(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	zoo := l.zoo()
	must[*Manifest](t)(l.make(zoo, "b", limits{chunk: 64 << 10, group: 8 << 10}, &work{t: t}))
	to := openmldb.TableName{DB: "demo_db", Name: "broken"}
	names := files(t, filepath.Join(l.root, "b"))
	for name := range names {
		file := filepath.Join(l.root, "b", filepath.FromSlash(name))
		data := must[[]byte](t)(os.ReadFile(file))
		at := len(data) / 2
		data[at] ^= 1
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		found := l.damage("b")
		if len(found) != 1 || !strings.Contains(found[0], name) && name != SumsFile {
			t.Errorf("a flipped bit in %s: %q", name, found)
		}
		if strings.HasSuffix(name, ".parquet") {
			err := l.restore("b", to, 2, &work{t: t})
			if d := DamageOf(err); d == nil || d.Path != "b/"+name {
				t.Errorf("a restore with a flipped bit in %s: %v", name, err)
			}
			if err := l.d.Drop(t.Context(), to); err != nil {
				t.Fatal(err)
			}
		}
		data[at] ^= 1
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found := l.damage("b"); found != nil {
		t.Errorf("of the whole backup: %q", found)
	}
	l.missing(names)
}

func (l *lab) missing(names map[string]string) {
	l.t.Helper()
	for name := range names {
		file := filepath.Join(l.root, "b", filepath.FromSlash(name))
		aside := filepath.Join(l.t.TempDir(), "aside")
		if err := os.Rename(file, aside); err != nil {
			l.t.Fatal(err)
		}
		found := l.damage("b")
		if len(found) != 1 || !strings.Contains(found[0], name) && name != ManifestFile {
			l.t.Errorf("%s is missing: %q", name, found)
		}
		if m, err := Load(l.t.Context(), l.s, "b"); err == nil {
			if d := DamageOf(m.Sizes(l.t.Context(), l.s, "b")); d == nil || d.Path != "b/"+name {
				l.t.Errorf("%s is missing: %v", name, d)
			}
		}
		if err := os.Rename(aside, file); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(l.root, "b", "rows", "00099-00000.parquet"), nil, 0o600); err != nil {
		l.t.Fatal(err)
	}
	if found := l.damage("b"); len(found) != 1 || !strings.Contains(found[0], "no document lists it") {
		l.t.Errorf("a stray file: %q", found)
	}
}

// damage is what is found to be wrong with a backup.
func (l *lab) damage(dir string) []string {
	l.t.Helper()
	m, err := Load(l.t.Context(), l.s, dir)
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	if err := Verify(l.t.Context(), l.s, dir, m, 2, func(c Checked) error {
		if c.Why != "" {
			found = append(found, c.Path+": "+c.Why)
		}
		return nil
	}); err != nil {
		l.t.Fatal(err)
	}
	return found
}

// A table that changes under a backup ends it.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	zoo := l.zoo()
	w := &work{t: t, rate: spec.Rate{Rows: 2000}, at: 200}
	w.then = func() {
		if err := l.d.AddColumn(t.Context(), zoo, openmldb.Column{Name: "late", Type: "int"}); err != nil {
			t.Error(err)
		}
	}
	_, err := l.make(zoo, "b", small, w)
	if err == nil || !strings.Contains(err.Error(), "its columns were changed meanwhile") {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), l.s, "b"); spec.KindOf(err) != spec.Refused {
		t.Error(err)
	}
	// The new column is NULL in the rows that are older.
	l.put(zoo, 10, func(i int) openmldb.Row {
		return openmldb.Row{Values: []any{"w", "t", true, int16(1), int32(1), int64(1), float32(1), 1.0, nil, int64(7), "x", int32(i)}}
	})
	l.whole()
	must[*Manifest](t)(l.make(zoo, "c", small, &work{t: t}))
	to := openmldb.TableName{DB: "demo_db", Name: "zoo2"}
	if err := l.restore("c", to, 2, &work{t: t}); err != nil {
		t.Fatal(err)
	}
	l.same(zoo, to)
}

// What is found is told; a folder that holds something is not written into.
func TestList(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	flow := openmldb.TableName{Name: "flow"}
	must[*Manifest](t)(l.make(flow, "a/"+FolderName(flow), limits{}, &work{t: t}))
	ctx, cancel := context.WithCancel(t.Context())
	w := &work{t: t, rate: spec.Rate{Rows: 100}, at: 1, then: cancel}
	if _, err := l.makeIn(ctx, flow, "b", limits{}, w); spec.KindOf(err) != spec.Interrupted {
		t.Fatal(err)
	}
	for _, dir := range []string{"a/flow", "b"} {
		if _, err := l.make(flow, dir, limits{}, &work{t: t}); spec.KindOf(err) != spec.Refused {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := storage.WriteFile(t.Context(), l.s, "c/"+ManifestFile, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for f, err := range List(t.Context(), l.s, "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %v %v %s", f.Dir, f.Manifest != nil, f.Begun != nil, f.Why))
	}
	want := []string{"a/flow true false ", "b false true it was not finished", "c false false SHA256SUMS: it is missing"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if _, err := Load(t.Context(), l.s, "nowhere"); spec.KindOf(err) != spec.NotFound {
		t.Error(err)
	}
	for name, want := range map[openmldb.TableName]string{
		{DB: "d", Name: "t"}: "d.t", {Name: "a.b"}: "a%2Eb", {DB: "..", Name: "/"}: "%2E%2E.%2F",
	} {
		if got := FolderName(name); got != want {
			t.Errorf("%v: %s", name, got)
		}
	}
}

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/openmldb"
	emulator "shardsh/cluster/openmldb/sandbox"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// lab is a sandbox cluster with a driver, and a directory as a block service.
type lab struct {
	t      *testing.T
	server sandbox.ClusterServer
	d      *openmldb.Driver
	s      storage.Service
	root   string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, root: t.TempDir()}
	var network *sandbox.Network
	for first := 1; l.server == nil; first++ {
		var err error
		if network, err = sandbox.TakeNetwork(first, ""); err != nil {
			t.Fatal(err)
		}
		l.server, err = emulator.Kind().New(t.Context(), sandbox.Config{Name: "openmldb", Dir: t.TempDir(), Net: network, Log: t.Logf})
		if err != nil {
			l.server = nil
			if err = errors.Join(err, network.Close()); !errors.Is(err, syscall.EADDRINUSE) {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() {
		if err := errors.Join(l.server.Close(), network.Close()); err != nil {
			t.Error(err)
		}
	})
	var err error
	if l.d, err = openmldb.New(l.server.Address(), cluster.Options{Timeout: func() time.Duration { return 5 * time.Second }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.d.Close(); err != nil {
			t.Error(err)
		}
	})
	if l.s, err = storage.Open(storage.Config{Name: "disk", Type: storage.LocalType, Args: []string{l.root}, Settings: map[string]string{"meta": "none"}}); err != nil {
		t.Fatal(err)
	}
	return l
}

// work is a job's Work that keeps its journal as the shell does: as JSON.
type work struct {
	t     *testing.T
	mu    sync.Mutex
	saved []byte
	rate  spec.Rate
	said  string
	// then is called once, when so many rows are dealt with.
	at   int64
	then func()
}

func (w *work) Progress(int64, int64, string) {}

func (w *work) Detail(format string, args ...any) { w.said = fmt.Sprintf(format, args...) }

func (w *work) Rate() spec.Rate { return w.rate }

func (w *work) Restore(into any) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.saved == nil {
		return false, nil
	}
	return true, json.Unmarshal(w.saved, into)
}

func (w *work) Save(state any) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saved, err = json.Marshal(state)
	return err
}

func (w *work) Show(f spec.Figures) {
	if f.Done >= w.at && w.then != nil {
		then := w.then
		w.then = nil
		then()
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (l *lab) describe(name openmldb.TableName) *openmldb.Table {
	l.t.Helper()
	return must[*openmldb.Table](l.t)(l.d.Describe(l.t.Context(), name))
}

func (l *lab) put(name openmldb.TableName, n int, row func(i int) openmldb.Row) {
	l.t.Helper()
	rows := func(yield func(openmldb.Row, error) bool) {
		for i := range n {
			if !yield(row(i), nil) {
				return
			}
		}
	}
	for i, err := range l.d.PutMany(l.t.Context(), name, rows, 64) {
		if err != nil {
			l.t.Fatal(i, err)
		}
	}
}

// entries are all that an index has, sorted: what Sum sums.
func (l *lab) entries(name openmldb.TableName, index string) []string {
	l.t.Helper()
	var all []string
	src := l.d.CopySource(name, openmldb.CopySourceOptions{Index: index})
	for p := range l.describe(name).Parts {
		for b, err := range src.Read(l.t.Context(), p, nil) {
			if err != nil {
				l.t.Fatal(err)
			}
			for _, r := range b.Rows {
				all = append(all, fmt.Sprintf("%q %d %x", r.Key, r.Time, r.Value))
			}
		}
	}
	slices.Sort(all)
	return all
}

func (l *lab) same(a, b openmldb.TableName) {
	l.t.Helper()
	for _, x := range l.describe(a).Indexes {
		if want, got := l.entries(a, x.Name), l.entries(b, x.Name); !slices.Equal(want, got) {
			l.t.Errorf("index %s: %s has %d entries, and %s has %d, or others", x.Name, a, len(want), b, len(got))
			for i := range min(len(want), len(got)) {
				if want[i] != got[i] {
					l.t.Logf("the first that differ:\n%.300s\n%.300s", want[i], got[i])
					break
				}
			}
		}
	}
}

// whole waits until every replica has everything.
func (l *lab) whole() {
	l.t.Helper()
	l.eventually("every replica has everything", func() bool {
		faults, err := l.d.Faults(l.t.Context())
		return err == nil && len(faults) == 0
	})
}

// healthy waits until the nameserver takes a tablet for healthy, or dead.
func (l *lab) healthy(endpoint string, is bool) {
	l.t.Helper()
	l.eventually(fmt.Sprintf("%s is healthy: %v", endpoint, is), func() bool {
		all, err := l.d.Tablets(l.t.Context())
		return err == nil && slices.ContainsFunc(all, func(x openmldb.Tablet) bool { return x.Endpoint == endpoint && x.Healthy == is })
	})
}

func (l *lab) eventually(what string, ok func() bool) {
	l.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("it does not come about that %s", what)
		}
	}
}

// files are what a directory holds, the times in the manifest left out, and with them what depends on it.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		switch rel {
		case ManifestFile:
			var m map[string]any
			if err := json.Unmarshal(data, &m); err != nil {
				return err
			}
			delete(m, "started")
			delete(m, "finished")
			data, err = json.Marshal(m)
		case SumsFile:
			data = []byte(strings.Join(slices.DeleteFunc(strings.Split(string(data), "\n"), func(line string) bool {
				return strings.HasSuffix(line, "  "+ManifestFile)
			}), "\n"))
		}
		all[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func sameFiles(t *testing.T, a, b map[string]string) {
	t.Helper()
	for name, content := range a {
		if other, there := b[name]; !there {
			t.Errorf("%s is missing", name)
		} else if other != content {
			t.Errorf("%s differs", name)
		}
	}
	for name := range b {
		if _, there := a[name]; !there {
			t.Errorf("%s is one too many", name)
		}
	}
}

var forever = openmldb.TTL{Type: "kAbsoluteTime"}

// zoo has every type, indexes of every kind, and rows that are hard to keep.
func (l *lab) zoo() openmldb.TableName {
	l.t.Helper()
	name := openmldb.TableName{DB: "demo_db", Name: "zoo"}
	err := l.d.Create(l.t.Context(), openmldb.NewTable{
		TableName: name, Partitions: 3, Replicas: 2,
		Columns: []openmldb.Column{
			{Name: "who", Type: "string"},
			{Name: "what", Type: "varchar", Default: "nothing"},
			{Name: "b", Type: "bool"},
			{Name: "s", Type: "smallint"},
			{Name: "i", Type: "int"},
			{Name: "l", Type: "bigint", NotNull: true},
			{Name: "f", Type: "float"},
			{Name: "d", Type: "double"},
			{Name: "day", Type: "date"},
			{Name: "at", Type: "timestamp"},
			{Name: "odd name.é", Type: "string"},
		},
		Indexes: []openmldb.Index{
			{Name: "by_who", Columns: []string{"who"}, TimeColumn: "at", TTL: forever},
			{Name: "by_put", Columns: []string{"what", "i"}, TTL: forever},
			{Name: "by_day", Columns: []string{"day"}, TimeColumn: "l", TTL: openmldb.TTL{Type: "kLatestTime", Versions: 3}},
			{Name: "by_s", Columns: []string{"s"}, TimeColumn: "at", TTL: forever},
		},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	floats := []float64{0, math.Copysign(0, -1), math.Inf(-1), math.MaxFloat64, math.NaN(), math.SmallestNonzeroFloat64, 1.5}
	l.put(name, 700, func(i int) openmldb.Row {
		x := floats[i%len(floats)]
		row := openmldb.Row{Time: time.UnixMilli(int64(1000 + i%90)), Values: []any{
			fmt.Sprint("w", i%23), fmt.Sprint("t", i%7), i%2 == 0, int16(i%5 - 2), int32(i%3 - 1), int64(i % 40), float32(x), x,
			openmldb.Date{Year: 1900 + i%200, Month: 1 + i%12, Day: 1 + i%28},
			int64(5 + i%11), string(all),
		}}
		if i%11 == 0 {
			row.Values[10] = ""
		}
		if i%13 == 0 {
			row.Values[0], row.Values[1], row.Values[3] = "", nil, nil
		}
		if i%17 == 0 {
			for _, c := range []int{2, 4, 6, 7, 8, 10} {
				row.Values[c] = nil
			}
		}
		return row
	})
	// Gone from one index, and still in the others.
	for _, q := range []openmldb.DeleteQuery{{Index: "by_s", Key: "1"}, {Index: "by_who", Key: "w5"}} {
		if err := l.d.Delete(l.t.Context(), name, q); err != nil {
			l.t.Fatal(err)
		}
	}
	l.whole()
	return name
}

// small makes many files of few rows.
var small = limits{chunk: 6 << 10, group: 2 << 10}

func (l *lab) make(name openmldb.TableName, dir string, lim limits, w spec.Work) (*Manifest, error) {
	return l.makeIn(l.t.Context(), name, dir, lim, w)
}

func (l *lab) makeIn(ctx context.Context, name openmldb.TableName, dir string, lim limits, w spec.Work) (*Manifest, error) {
	return Make(ctx, l.d, l.describe(name), l.s, dir, Options{What: "back up", Cluster: "openmldb", Patience: time.Minute, SaveEvery: time.Millisecond, limits: lim}, w)
}

func (l *lab) restore(dir string, to openmldb.TableName, partitions int, w spec.Work) error {
	l.t.Helper()
	return l.restoreIn(l.t.Context(), dir, to, partitions, w)
}

func (l *lab) restoreIn(ctx context.Context, dir string, to openmldb.TableName, partitions int, w spec.Work) error {
	l.t.Helper()
	m := must[*Manifest](l.t)(Load(l.t.Context(), l.s, dir))
	want := m.New()
	want.TableName, want.Partitions = to, partitions
	_, err := Restore(ctx, l.d, l.s, dir, m, RestoreOptions{What: "restore", Target: want, Parallel: 2, Patience: time.Minute}, w)
	return err
}

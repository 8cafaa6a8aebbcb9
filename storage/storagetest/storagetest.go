// Package storagetest holds every block service to the contract of storage.Service: one suite, run for each.
package storagetest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"shardsh/commands/spec"
	"shardsh/storage"
)

// Run runs the suite. open answers a service whose root is empty, each time another one; it closes it at the end of the
// test.
func Run(t *testing.T, open func(t *testing.T) storage.Service) {
	for name, test := range map[string]func(*testing.T, storage.Service){
		"empty": empty, "round trip": roundTrip, "ranges": ranges, "invisible": invisible, "abort": abort, "overwrite": overwrite,
		"missing": missing, "order": order, "many": many, "remove": remove, "paths": paths, "cancelled": cancelled,
		"together": together, "tree": tree, "check": check, "room": room,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) { test(t, open(t)) })
	}
}

// Bytes are n bytes that look random and are the same for the same seed.
func Bytes(n int, seed uint64) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // it never fails
	return b
}

// Write writes a file and fails the test when that fails.
func Write(t *testing.T, s storage.Service, name string, data []byte) {
	t.Helper()
	if err := storage.WriteFile(t.Context(), s, name, data); err != nil {
		t.Fatal(err)
	}
}

// Names lists the paths of all files and empty directories.
func Names(t *testing.T, s storage.Service, dir string) []string {
	t.Helper()
	names := []string{}
	for e, err := range storage.Walk(t.Context(), s, dir) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Path)
	}
	return names
}

// Want fails the test unless err is of a kind and, when reason is not "", has that reason, and says what was attempted.
func Want(t *testing.T, err error, kind spec.ErrorKind, reason storage.Reason) {
	t.Helper()
	var e *spec.Error
	if !errors.As(err, &e) || e.Kind != kind || reason != "" && storage.ReasonOf(err) != reason {
		t.Fatalf("%v: kind %s, reason %q; want %s, %q", err, spec.KindOf(err), storage.ReasonOf(err), kind, reason)
	}
	if kind != spec.Usage && (e.Op == "" || e.Endpoint == "") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("the error does not say in one line what was attempted where: %q, %q: %v", e.Op, e.Endpoint, err)
	}
}

func empty(t *testing.T, s storage.Service) {
	if got := Names(t, s, ""); len(got) != 0 {
		t.Errorf("the root holds %q", got)
	}
	e, err := s.Stat(t.Context(), "/")
	if err != nil || !e.Dir || e.Path != "" {
		t.Errorf("the root is %+v, %v", e, err)
	}
}

func roundTrip(t *testing.T, s storage.Service) {
	for i, size := range []int{0, 1, 511, 512, 513, 1 << 20, 1<<20 + 1, 3<<20 - 7, 16 << 20, 16<<20 + 1, 40<<20 + 3} {
		data := Bytes(size, uint64(i))
		known := int64(size)
		if i%2 == 1 {
			known = -1
		}
		name := fmt.Sprintf("sizes/%d", size)
		w, err := s.Create(t.Context(), name, known)
		if err != nil {
			t.Fatal(err)
		}
		// In pieces that fit nothing.
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 100_003)
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		e, err := s.Stat(t.Context(), name)
		sum := md5.Sum(data)
		if err != nil || e.Size != int64(size) || e.Dir || e.Path != name || e.MD5 != "" && e.MD5 != hex.EncodeToString(sum[:]) || e.Modified.IsZero() {
			t.Fatalf("%d bytes: %+v, %v", size, e, err)
		}
		got, err := storage.ReadFile(t.Context(), s, name, int64(size))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: %d came back, the same: %t, %v", size, len(got), bytes.Equal(got, data), err)
		}
	}
	if _, err := storage.ReadFile(t.Context(), s, "sizes/513", 512); err == nil {
		t.Error("a file was read beyond the limit")
	}
}

func ranges(t *testing.T, s storage.Service) {
	const size = 3<<20 + 5
	data := Bytes(size, 3)
	Write(t, s, "f", data)
	for _, r := range [][2]int64{
		{0, 1}, {0, -1}, {1, 0}, {5, 100}, {1<<20 - 1, 2}, {1 << 20, 1 << 20}, {size - 1, 1}, {size - 1, 10}, {size, -1}, {size + 9, -1}, {size + 9, 3}, {2<<20 + 1, -1},
	} {
		f, err := s.Open(t.Context(), "f", r[0], r[1])
		if err != nil {
			t.Fatalf("%v: %v", r, err)
		}
		got, err := io.ReadAll(f)
		if cerr := f.Close(); err != nil || cerr != nil {
			t.Fatalf("%v: %v, %v", r, err, cerr)
		}
		from, to := min(r[0], size), int64(size)
		if r[1] >= 0 {
			to = min(from+r[1], size)
		}
		if !bytes.Equal(got, data[from:to]) {
			t.Errorf("%v: %d bytes came, %d were to", r, len(got), to-from)
		}
	}
	f, err := s.Open(t.Context(), "f", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("a reader that is left early: %v", err)
	}
}

func invisible(t *testing.T, s storage.Service) {
	w, err := s.Create(t.Context(), "a/b/f", -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(Bytes(20<<20, 1)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), "a/b/f")
	Want(t, err, spec.NotFound, storage.NoFile)
	for _, name := range Names(t, s, "") {
		if name != "a/b" {
			t.Errorf("%s is there before Commit", name)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := Names(t, s, ""); !slices.Equal(got, []string{"a/b/f"}) {
		t.Errorf("after Commit: %q", got)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
	if _, err := w.Write([]byte{1}); err == nil {
		t.Error("Write after Commit")
	}
	if got := Names(t, s, ""); !slices.Equal(got, []string{"a/b/f"}) {
		t.Errorf("after Abort: %q", got)
	}
}

func abort(t *testing.T, s storage.Service) {
	ctx, cancel := context.WithCancel(t.Context())
	for _, size := range []int{0, 10, 20 << 20} {
		w, err := s.Create(t.Context(), "a/b/f", -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(Bytes(size, 1)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Abort(), w.Abort()); err != nil {
			t.Fatal(err)
		}
	}
	w, err := s.Create(ctx, "a/b/g", 40<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(Bytes(20<<20, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := w.Commit(); spec.KindOf(err) != spec.Interrupted {
		t.Errorf("Commit under a context that has ended: %v", err)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("Abort under a context that has ended: %v", err)
	}
	if got := Names(t, s, ""); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func overwrite(t *testing.T, s storage.Service) {
	Write(t, s, "d/f", []byte("first"))
	w, err := s.Create(t.Context(), "d/f", -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("the second")); err != nil {
		t.Fatal(err)
	}
	if got, err := storage.ReadFile(t.Context(), s, "d/f", 100); string(got) != "first" || err != nil {
		t.Errorf("while it is written anew: %q, %v", got, err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if got, err := storage.ReadFile(t.Context(), s, "d/f", 100); string(got) != "first" || err != nil {
		t.Errorf("after Abort: %q, %v", got, err)
	}
	Write(t, s, "d/f", []byte("the second"))
	if got, err := storage.ReadFile(t.Context(), s, "d/f", 100); string(got) != "the second" || err != nil {
		t.Errorf("after Commit: %q, %v", got, err)
	}
}

func missing(t *testing.T, s storage.Service) {
	Write(t, s, "d/f", []byte("x"))
	for _, name := range []string{"no", "no/deeper", "d/no", "d/f/below"} {
		_, err := s.Stat(t.Context(), name)
		Want(t, err, spec.NotFound, storage.NoFile)
		_, err = s.Open(t.Context(), name, 0, -1)
		Want(t, err, spec.NotFound, storage.NoFile)
		Want(t, s.Remove(t.Context(), name), spec.NotFound, storage.NoFile)
	}
	for _, err := range s.List(t.Context(), "d/no") {
		Want(t, err, spec.NotFound, storage.NoFile)
	}
	for e, err := range s.List(t.Context(), "d/f") {
		if err == nil {
			t.Errorf("a file holds %+v", e)
		}
		Want(t, err, spec.NotFound, "")
	}
	_, err := s.Open(t.Context(), "d", 0, -1)
	Want(t, err, spec.NotFound, "")
}

func order(t *testing.T, s storage.Service) {
	files := []string{
		"a", "a-b", "a.txt", "a0", "b-c/x", "b.d/x", "b/x", "b/y/z", "b0/x", "with space", "percent%41", "plus+", "q?uestion", "h#ash", "ünïcode/文", "quote'\"", "amp&ersand", "tilde~", "[brackets]", "semi;colon", "eq=ual",
	}
	for _, name := range files {
		Write(t, s, name, []byte(name))
	}
	slices.Sort(files)
	if got := Names(t, s, ""); !slices.Equal(got, files) {
		t.Errorf("Walk yields\n%q, want\n%q", got, files)
	}
	for _, name := range files {
		if got, err := storage.ReadFile(t.Context(), s, name, 100); string(got) != name || err != nil {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
	if got := Names(t, s, "b/y"); !slices.Equal(got, []string{"b/y/z"}) {
		t.Errorf("below b/y: %q", got)
	}
	if got := Names(t, s, "a-b"); !slices.Equal(got, []string{"a-b"}) {
		t.Errorf("a file alone: %q", got)
	}
	e, err := s.Stat(t.Context(), "b/y")
	if err != nil || !e.Dir || e.Name != "y" || e.Path != "b/y" || e.Size != 0 {
		t.Errorf("the directory b/y is %+v, %v", e, err)
	}
}

// many is more than services list at a time.
func many(t *testing.T, s storage.Service) {
	const n = 2100
	var group errgroup.Group
	group.SetLimit(8)
	want := make([]string, n)
	for i := range n {
		want[i] = fmt.Sprintf("dir/f%05d", i)
		group.Go(func() error { return storage.WriteFile(t.Context(), s, want[i], nil) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := Names(t, s, "dir"); !slices.Equal(got, want) {
		t.Errorf("%d names, want %d", len(got), n)
	}
	seen := 0
	for _, err := range s.List(t.Context(), "dir") {
		if seen++; err != nil || seen == 5 {
			break // a list may be left early
		}
	}
	if err := storage.RemoveAll(t.Context(), s, "dir", nil); err != nil {
		t.Fatal(err)
	}
	if got := Names(t, s, ""); len(got) != 0 {
		t.Errorf("%d files were not removed", len(got))
	}
}

func remove(t *testing.T, s storage.Service) {
	for _, name := range []string{"a/b/1", "a/b/2", "a/c", "ab"} {
		Write(t, s, name, []byte(name))
	}
	Want(t, s.Remove(t.Context(), "a"), spec.Refused, storage.NotEmpty)
	if err := s.Remove(t.Context(), "a/b/1"); err != nil {
		t.Fatal(err)
	}
	if got := Names(t, s, ""); !slices.Equal(got, []string{"a/b/2", "a/c", "ab"}) {
		t.Errorf("left are %q", got)
	}
	var gone []string
	if err := storage.RemoveAll(t.Context(), s, "a", func(e storage.Entry) { gone = append(gone, e.Path) }); err != nil {
		t.Fatal(err)
	}
	if got := Names(t, s, ""); !slices.Equal(got, []string{"ab"}) || !slices.Equal(gone, []string{"a/b/2", "a/c"}) {
		t.Errorf("left are %q, gone %q", got, gone)
	}
	_, err := s.Stat(t.Context(), "a")
	Want(t, err, spec.NotFound, storage.NoFile)
	Want(t, s.Remove(t.Context(), ""), spec.Usage, "")
}

func paths(t *testing.T, s storage.Service) {
	for _, name := range []string{"../f", "a/../../f", "..", "a\x00b", "", "/", "d/", ".f.shardsh-tmp"} {
		_, err := s.Create(t.Context(), name, 1)
		Want(t, err, spec.Usage, "")
	}
	for _, name := range []string{"../f", "a/../../f", "a\x00b"} {
		_, err := s.Stat(t.Context(), name)
		Want(t, err, spec.Usage, "")
		for _, err := range s.List(t.Context(), name) {
			Want(t, err, spec.Usage, "")
		}
	}
	Write(t, s, "/x//y/./z", []byte("1"))
	if got := Names(t, s, "/x/"); !slices.Equal(got, []string{"x/y/z"}) {
		t.Errorf("%q", got)
	}
	_, err := s.Create(t.Context(), "x/y/z/below", 1)
	if err == nil && s.Type() != storage.S3Type { // an S3 has no directories: both may be there
		t.Error("a file was made below a file")
	}
}

func cancelled(t *testing.T, s storage.Service) {
	Write(t, s, "f", Bytes(1<<20, 1))
	r, err := s.Open(t.Context(), "f", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Stat(ctx, "f")
	Want(t, err, spec.Interrupted, "")
	for _, err := range s.List(ctx, "") {
		Want(t, err, spec.Interrupted, "")
	}
	if _, err := s.Open(ctx, "f", 0, -1); spec.KindOf(err) != spec.Interrupted {
		t.Errorf("Open: %v", err)
	}
	if err := s.Remove(ctx, "f"); spec.KindOf(err) != spec.Interrupted {
		t.Errorf("Remove: %v", err)
	}
	if n, err := io.Copy(io.Discard, r); n != 1<<20 || err != nil {
		t.Errorf("a reader of another context: %d, %v", n, err)
	}
}

func together(t *testing.T, s storage.Service) {
	var group errgroup.Group
	for i := range 12 {
		group.Go(func() error {
			data := Bytes(100_000*(i+1), uint64(i))
			name := fmt.Sprintf("t%d/f", i%4) + strings.Repeat("x", i)
			if err := storage.WriteFile(t.Context(), s, name, data); err != nil {
				return err
			}
			got, err := storage.ReadFile(t.Context(), s, name, 1<<30)
			if err == nil && !bytes.Equal(got, data) {
				err = fmt.Errorf("%s is not what was written", name)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := Names(t, s, ""); len(got) != 12 {
		t.Errorf("%d files", len(got))
	}
}

func tree(t *testing.T, s storage.Service) {
	for i, name := range []string{"from/1", "from/d/2", "from/d/3", "from/e/f/4"} {
		Write(t, s, name, Bytes(700_000*i, uint64(i)))
	}
	var told storage.Progress
	o := storage.CopyOptions{Progress: func(p storage.Progress) { told = p }}
	p, err := storage.Tree(t.Context(), s, "from", s, "to", o)
	if err != nil || p != told || p.Files != 4 || p.TotalFiles != 4 || p.Bytes != 6*700_000 || p.Bytes != p.TotalBytes || p.Skipped != 0 {
		t.Fatalf("%+v, told %+v, %v", p, told, err)
	}
	if got := Names(t, s, "to"); !slices.Equal(got, []string{"to/1", "to/d/2", "to/d/3", "to/e/f/4"}) {
		t.Errorf("copied are %q", got)
	}
	// Only what differs is copied again, also when its size is the same.
	Write(t, s, "to/d/2", Bytes(700_000, 99))
	if p, err = storage.Tree(t.Context(), s, "from", s, "to", o); err != nil || p.Skipped != 3 || p.Files != 4 || p.Bytes != p.TotalBytes {
		t.Errorf("again: %+v, %v", p, err)
	}
	got, err := storage.ReadFile(t.Context(), s, "to/d/2", 1<<20)
	if err != nil || !bytes.Equal(got, Bytes(700_000, 1)) {
		t.Errorf("the file that differed: %v", err)
	}
	made, err := storage.Copy(t.Context(), s, "from/1", s, "one", storage.CopyOptions{})
	if err != nil || made.To != "one" || made.Size != 0 || made.MD5 != "d41d8cd98f00b204e9800998ecf8427e" || made.Skipped {
		t.Errorf("one: %+v, %v", made, err)
	}
}

func check(t *testing.T, s storage.Service) {
	Write(t, s, "mine", []byte("1"))
	results, err := storage.Check(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 5 {
		t.Errorf("%d checks", len(results))
	}
	for _, r := range results {
		if r.Err != nil || r.Detail == "" {
			t.Errorf("%s: %q, %v", r.Step, r.Detail, r.Err)
		}
	}
	if got := Names(t, s, ""); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("the check left %q", got)
	}
}

// room asks where there is something and where there is nothing yet. A service that cannot tell says so.
func room(t *testing.T, s storage.Service) {
	if _, ok := s.(storage.Roomy); !ok {
		_, err := storage.RoomOf(t.Context(), s, "")
		Want(t, err, spec.Unable, storage.Other)
		return
	}
	Write(t, s, "d/f", Bytes(1<<20, 1))
	for _, dir := range []string{"", "/", "d", "d/f", "d/nothing/yet"} {
		r, err := storage.RoomOf(t.Context(), s, dir)
		if err != nil || r.Free <= 0 || r.Total < r.Free || r.Copies < 1 || r.Unsure != "" {
			t.Errorf("%q: %+v, %v", dir, r, err)
		}
	}
	_, err := storage.RoomOf(t.Context(), s, "d/../../up")
	Want(t, err, spec.Usage, storage.Other)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := storage.RoomOf(ended, s, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context has ended: %v", err)
	}
}

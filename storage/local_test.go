package storage_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"shardsh/commands/spec"
	"shardsh/storage"
	"shardsh/storage/storagetest"
)

// openLocal opens a directory with a setting of meta.
func openLocal(t *testing.T, dir, meta string) storage.Service {
	t.Helper()
	settings := map[string]string{}
	if meta != "" {
		settings["meta"] = meta
	}
	s, err := storage.Open(storage.Config{Name: "disk", Type: storage.LocalType, Args: []string{dir}, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestLocal(t *testing.T) {
	for _, meta := range []string{"", "optional", "none"} {
		t.Run("meta_"+meta, func(t *testing.T) {
			storagetest.Run(t, func(t *testing.T) storage.Service { return openLocal(t, t.TempDir(), meta) })
		})
	}
}

// What Pegasus's local_service reads and writes: F, and .F.meta beside it.
func TestLocalMeta(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir, "")
	storagetest.Write(t, s, "a/f", []byte("hello"))
	text, err := os.ReadFile(filepath.Join(dir, "a", ".f.meta"))
	if want := `{"size":5,"md5":"5d41402abc4b2a76b9719d911017c592"}`; string(text) != want || err != nil {
		t.Errorf("the .meta is %s, %v", text, err)
	}
	bare := filepath.Join(dir, "a", "bare")
	if err := os.WriteFile(bare, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = s.Open(t.Context(), "a/bare", 0, -1)
	storagetest.Want(t, err, spec.NotFound, storage.NoFile)
	if !strings.Contains(err.Error(), ".bare.meta is missing") || !strings.Contains(spec.HintOf(err), "meta = optional") {
		t.Errorf("%v, %s", err, spec.HintOf(err))
	}
	if got, err := storage.ReadFile(t.Context(), openLocal(t, dir, "optional"), "a/bare", 10); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	// What is there is there also for those who do not know about .meta, and nothing else is.
	if got := storagetest.Names(t, openLocal(t, dir, "none"), ""); !slices.Equal(got, []string{"a/.f.meta", "a/bare", "a/f"}) {
		t.Errorf("%q", got)
	}

	if err := os.WriteFile(filepath.Join(dir, "a", "f"), []byte("hell"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), "a/f")
	storagetest.Want(t, err, spec.Failed, storage.Corrupt)
	for _, broken := range []string{"", "{", `{"size":-1}`, strings.Repeat(" ", 5000) + `{"size":4}`} {
		if err := os.WriteFile(filepath.Join(dir, "a", ".f.meta"), []byte(broken), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = s.Stat(t.Context(), "a/f")
		storagetest.Want(t, err, spec.Failed, storage.Corrupt)
	}
	if err := s.Remove(t.Context(), "a/f"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a", ".f.meta")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the .meta is left: %v", err)
	}
}

func TestLocalRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	s := openLocal(t, dir, "")
	_, err := s.Stat(t.Context(), "")
	storagetest.Want(t, err, spec.NotFound, storage.NoPlace)
	_, err = s.Stat(t.Context(), "f")
	storagetest.Want(t, err, spec.NotFound, storage.NoPlace)
	if steps, err := storage.Check(t.Context(), s); err != nil || len(steps) != 5 {
		t.Errorf("%v, %v", steps, err)
	}
	storagetest.Write(t, s, "f", []byte("1"))
}

// Links that lead out of the directory lead nowhere.
func TestLocalKeepsInside(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege there")
	}
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "f"), []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(outside, filepath.Join(dir, "out")), os.Symlink(filepath.Join(outside, "f"), filepath.Join(dir, "g"))); err != nil {
		t.Fatal(err)
	}
	s := openLocal(t, dir, "none")
	for _, name := range []string{"out/f", "g"} {
		if _, err := s.Open(t.Context(), name, 0, -1); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	if err := storage.WriteFile(t.Context(), s, "out/new", nil); err == nil {
		t.Error("a file was written outside")
	}
	if got := storagetest.Names(t, s, ""); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// One file has one writer at a time, and what a killed one left is written over.
func TestLocalWriters(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir, "")
	if err := os.WriteFile(filepath.Join(dir, ".f.shardsh-tmp"), []byte("left by somebody who was killed"), 0o644); err != nil {
		t.Fatal(err)
	}
	w, err := s.Create(t.Context(), "f", -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("mine")); err != nil {
		t.Fatal(err)
	}
	_, err = s.Create(t.Context(), "f", -1)
	storagetest.Want(t, err, spec.Refused, storage.Taken)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, err := storage.ReadFile(t.Context(), s, "f", 100); string(got) != "mine" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if found, err := os.ReadDir(dir); len(found) != 2 || err != nil {
		t.Errorf("%v, %v", found, err)
	}
}

func TestLocalPermission(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	err := storage.WriteFile(t.Context(), openLocal(t, dir, ""), "f", []byte("1"))
	storagetest.Want(t, err, spec.Failed, storage.Forbidden)
}

func TestOpenRefuses(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}[name]
	}
	pem := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(pem, []byte("no certificate"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config storage.Config
		says   string
	}{
		{storage.Config{Type: "ftp_service"}, "no type"},
		{storage.Config{Type: storage.LocalType}, "one directory"},
		{storage.Config{Type: storage.LocalType, Args: []string{"relative"}}, "absolute"},
		{storage.Config{Type: storage.LocalType, Args: []string{"/d"}, Settings: map[string]string{"meta": "maybe"}}, "meta"},
		{storage.Config{Type: storage.HDFSType}, "hdfs://"},
		{storage.Config{Type: storage.HDFSType, Args: []string{"nn:8020"}}, "hdfs://"},
		{storage.Config{Type: storage.HDFSType, Args: []string{"hdfs://"}}, "no namenode"},
		{storage.Config{Type: storage.HDFSType, Args: []string{"hdfs://nn/user"}}, "second word"},
		{storage.Config{Type: storage.HDFSType, Args: []string{"hdfs://nn", "/a/../b"}}, "upwards"},
		{storage.Config{Type: storage.S3Type, Args: []string{"https://h"}}, "BUCKET"},
		{storage.Config{Type: storage.S3Type, Args: []string{"ftp://h", "b"}}, "http"},
		{storage.Config{Type: storage.S3Type, Args: []string{"http://h", "b"}, Settings: map[string]string{"use_ssl": "true"}}, "contradicts"},
		{storage.Config{Type: storage.S3Type, Args: []string{"http://h", "b"}, Settings: map[string]string{"style": "x"}}, "style"},
		{storage.Config{Type: storage.S3Type, Args: []string{"http://h", "b"}, Settings: map[string]string{"access_key_env": "NO", "secret_key_env": "NO"}}, "NO is not set"},
		{storage.Config{Type: storage.S3Type, Args: []string{"http://h", "b"}, Settings: map[string]string{"access_key_env": "NO"}}, "secret_key_env is not set"},
		{storage.Config{Type: storage.S3Type, Args: []string{"h", "b"}, Settings: map[string]string{"ca": "/nowhere"}}, "authority"},
		{storage.Config{Type: storage.S3Type, Args: []string{"h", "b"}, Settings: map[string]string{"ca": pem}}, "no certificate"},
	} {
		c.config.Name, c.config.Getenv = "x", env
		_, err := storage.Open(c.config)
		if spec.KindOf(err) != spec.Usage || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, which does not say %q", c.config, err, c.says)
		}
	}
}

func TestParseLocation(t *testing.T) {
	for text, want := range map[string]storage.Location{
		"disk:/a/b": {Service: "disk", Path: "a/b"}, "disk:": {Service: "disk"}, "disk:a//b/": {Service: "disk", Path: "a/b"}, "s3:a:b": {Service: "s3", Path: "a:b"},
	} {
		if got, err := storage.ParseLocation(text); got != want || err != nil {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "disk", ":a", "/a:b", "disk:../x"} {
		if got, err := storage.ParseLocation(text); spec.KindOf(err) != spec.Usage || err == nil {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
}

// A copy that is stopped in the middle leaves no half of a file, and goes on where it was.
func TestCopyGoesOn(t *testing.T) {
	from, into := openLocal(t, t.TempDir(), "none"), openLocal(t, t.TempDir(), "")
	for _, name := range []string{"1", "2", "3", "4"} {
		storagetest.Write(t, from, name, storagetest.Bytes(3<<20, 1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := storage.CopyOptions{Parallel: 1, Done: func(c storage.Copied) {
		if c.From == "2" {
			cancel()
		}
	}}
	_, err := storage.Tree(ctx, from, "", into, "x", o)
	if spec.KindOf(err) != spec.Interrupted {
		t.Fatal(err)
	}
	if got := storagetest.Names(t, into, ""); !slices.Equal(got, []string{"x/1", "x/2"}) {
		t.Errorf("after the stop: %q", got)
	}
	p, err := storage.Tree(t.Context(), from, "", into, "x", storage.CopyOptions{})
	if err != nil || p.Skipped != 2 || p.Files != 4 {
		t.Errorf("%+v, %v", p, err)
	}
}

// The room of a directory that is not there is that of the one in which it would be made.
func TestLocalRoomOfNothing(t *testing.T) {
	dir := t.TempDir()
	here, err := storage.RoomOf(t.Context(), openLocal(t, dir, ""), "")
	if err != nil {
		t.Fatal(err)
	}
	r, err := storage.RoomOf(t.Context(), openLocal(t, filepath.Join(dir, "not", "yet"), ""), "a/b")
	if err != nil || r.Total != here.Total || r.Free == 0 {
		t.Errorf("%+v, %v; of the directory above it %+v", r, err, here)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = storage.RoomOf(t.Context(), openLocal(t, filepath.Join(dir, "file", "below"), ""), "")
	storagetest.Want(t, err, spec.Failed, "")
}

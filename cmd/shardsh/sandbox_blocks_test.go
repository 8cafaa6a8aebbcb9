//go:build !nosandbox

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"shardsh/commands/spec"
	"shardsh/storage"
)

func TestProviderFiles(t *testing.T) {
	s, err := storage.Directory("d", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := blocks{s}
	if _, err := b.Open(t.Context(), "d/f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	text := strings.Repeat("0123456789", 1000)
	for _, end := range []string{"abort", "commit"} {
		w, err := b.Create(t.Context(), "d/"+end)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
		if end == "abort" {
			w.Abort()
		} else if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Open(t.Context(), "d/abort"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was aborted: %v", err)
	}
	if _, err := b.Open(t.Context(), "d"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
	f, err := b.Open(t.Context(), "d/commit")
	if err != nil || f.Size() != int64(len(text)) {
		t.Fatalf("%v, %v", f, err)
	}
	for _, c := range []struct{ at, n int }{{0, 100}, {100, 4096}, {4196, 10}, {50, 20}, {9990, 10}, {9990, 20}, {20_000, 5}} {
		want := text[min(c.at, len(text)):min(c.at+c.n, len(text))]
		got := make([]byte, c.n)
		n, err := f.ReadAt(got, int64(c.at))
		if string(got[:n]) != want || (err == nil) != (n == c.n) || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%d bytes from %d: %d, %v", c.n, c.at, n, err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestParseProviders(t *testing.T) {
	places, err := parseProviders([]string{"a=hdfs://h1:8020,h2:8020/r/s", "b=hdfs://h"})
	if err != nil {
		t.Fatal(err)
	}
	places["c"] = "/a directory"
	want := "[block_service.a]\ntype = hdfs_service\nargs = hdfs://h1:8020,h2:8020 /r/s\n" +
		"[block_service.b]\ntype = hdfs_service\nargs = hdfs://h /\n[block_service.c]\ntype = local_service\nargs = \"/a directory\"\n"
	if got := providerSections(places); got != want {
		t.Errorf("the configuration is\n%s", got)
	}
	for _, bad := range []string{"x", "=hdfs://h", "x=s3://bucket", "x=/dir", "x=hdfs://", "x=hdfs:///root", "x=hdfs://h?a=b", "a=hdfs://h,a=hdfs://h"} {
		if _, err := parseProviders(strings.Split(bad, ",")); spec.KindOf(err) != spec.Usage {
			t.Errorf("%s: %v", bad, fmt.Sprint(err))
		}
	}
}

//go:build !nosandbox

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// Servers of the sandbox reach an HDFS as this program does, by storage's hdfs_service.

// parseProviders reads NAME=hdfs://HOST[:PORT][,…][/ROOT], one each.
func parseProviders(words []string) (map[string]string, error) {
	all := map[string]string{}
	for _, word := range words {
		name, at, ok := strings.Cut(word, "=")
		if !ok || name == "" {
			return nil, spec.Errorf(spec.Usage, "--block-service %q is not NAME=hdfs://HOST[:PORT][/ROOT]", word)
		}
		if _, twice := all[name]; twice {
			return nil, spec.Errorf(spec.Usage, "--block-service names %s twice", name)
		}
		s, err := openProvider(at)
		if err != nil {
			return nil, fmt.Errorf("--block-service %s: %w", name, err)
		}
		if err := s.Close(); err != nil {
			return nil, err
		}
		all[name] = at
	}
	return all, nil
}

// hdfsArgs are the args of an hdfs_service's section.
func hdfsArgs(at string) ([]string, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "hdfs" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, spec.Errorf(spec.Usage, "%q is not hdfs://HOST[:PORT][/ROOT]", at).WithHint("servers know directories and HDFS, and nothing else")
	}
	return []string{"hdfs://" + u.Host, "/" + strings.Trim(u.Path, "/")}, nil
}

// openProvider opens a block service for the servers.
func openProvider(at string) (blocks, error) {
	args, err := hdfsArgs(at)
	if err != nil {
		return blocks{}, err
	}
	s, err := storage.Open(storage.Config{Name: "provider", Type: storage.HDFSType, Args: args, Getenv: os.Getenv})
	return blocks{s}, err
}

// blocks is a block service as the Pegasus servers of the sandbox want it.
type blocks struct{ s storage.Service }

func (b blocks) Close() error { return b.s.Close() }

// RemoveAll is how the meta server removes backups of a policy that are too many.
func (b blocks) RemoveAll(ctx context.Context, name string) error {
	err := storage.RemoveAll(ctx, b.s, name, nil)
	if storage.ReasonOf(err) == storage.NoFile {
		return nil
	}
	return err
}

func (b blocks) Open(ctx context.Context, name string) (rocksdb.File, error) {
	e, err := b.s.Stat(ctx, name)
	if err == nil && e.Dir {
		err = fmt.Errorf("%s is a directory", name)
	}
	if err != nil {
		return nil, missing(err)
	}
	return &blockFile{ctx: ctx, s: b.s, name: name, size: e.Size}, nil
}

// missing makes the error of a file that is not there the one that servers look for.
func missing(err error) error {
	if r := storage.ReasonOf(err); r == storage.NoFile || r == storage.NoPlace {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// blockFile reads on where it was: files are read from one end to the other.
type blockFile struct {
	ctx  context.Context
	s    storage.Service
	name string
	size int64

	mu   sync.Mutex
	r    io.ReadCloser // nil before the first read
	next int64         // where r is
}

func (f *blockFile) Size() int64 { return f.size }

func (f *blockFile) ReadAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.r == nil || f.next != at {
		if err := f.close(); err != nil {
			return 0, err
		}
		r, err := f.s.Open(f.ctx, f.name, at, -1)
		if err != nil {
			return 0, missing(err)
		}
		f.r, f.next = r, at
	}
	n, err := io.ReadFull(f.r, p)
	f.next += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// Close ends what is read.
func (f *blockFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.close()
}

// close is Close; f.mu is held.
func (f *blockFile) close() error {
	if f.r == nil {
		return nil
	}
	err := f.r.Close()
	f.r = nil
	return err
}

func (b blocks) Create(ctx context.Context, name string) (rocksdb.Output, error) {
	w, err := b.s.Create(ctx, name, -1)
	if err != nil {
		return nil, err
	}
	return blockOutput{w}, nil
}

type blockOutput struct{ storage.Writer }

func (o blockOutput) Abort() { _ = o.Writer.Abort() } // what made it necessary is told

// providerSections are the sections of config.ini for block services.
func providerSections(places map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(places)) {
		kind, at := storage.LocalType, places[name]
		args := fmt.Sprintf("%q", at)
		if hdfs, err := hdfsArgs(at); err == nil {
			kind, args = storage.HDFSType, strings.Join(hdfs, " ")
		}
		fmt.Fprintf(&b, "[block_service.%s]\ntype = %s\nargs = %s\n", name, kind, args)
	}
	return b.String()
}

package backuptest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands/spec"
)

// Dir is a directory of this machine as a store.
type Dir string

var _ coldbackup.Store = Dir("")

// List lists a directory.
func (d Dir) List(_ context.Context, dir string) iter.Seq2[coldbackup.Entry, error] {
	return func(yield func(coldbackup.Entry, error) bool) {
		found, err := os.ReadDir(filepath.Join(string(d), dir))
		if err != nil {
			yield(coldbackup.Entry{}, notFound(err))
			return
		}
		for _, e := range found {
			info, err := e.Info()
			if err != nil {
				continue
			}
			size := info.Size()
			if e.IsDir() {
				size = 0
			}
			if !yield(coldbackup.Entry{Name: e.Name(), Dir: e.IsDir(), Size: size}, nil) {
				return
			}
		}
	}
}

// Open opens a file.
func (d Dir) Open(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, notFound(err)
	}
	if length < 0 {
		length = 1 << 60
	}
	return section{io.NewSectionReader(f, offset, length), f}, nil
}

type section struct {
	io.Reader
	io.Closer
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return spec.Errorf(spec.NotFound, "%w", err)
	}
	return err
}

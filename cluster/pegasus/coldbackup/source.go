package coldbackup

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/commands/spec"
)

// notListed says that a file is needed that backup_metadata does not have.
type notListed struct{ name string }

func (n *notListed) Error() string {
	return "it does not list " + n.name + ", which the database needs"
}

// Open reads the MANIFEST of a partition's checkpoint; rows can be read from it then.
func (p *Partition) Open(ctx context.Context, s Store) (*rocksdb.Checkpoint, error) {
	if p.Checkpoint == nil {
		why := "it has no checkpoint"
		if len(p.Problems) > 0 {
			why = p.Problems[0].String()
		}
		return nil, spec.Errorf(spec.Failed, "partition %d cannot be read: %s", p.Index, why)
	}
	return rocksdb.OpenCheckpoint(ctx, &source{s, path.Join(p.Dir, p.Folder), p.Checkpoint.Files})
}

// source is the folder of a checkpoint; only listed files are in it.
type source struct {
	store Store
	dir   string
	files []File
}

func (s *source) Open(ctx context.Context, name string) (rocksdb.File, error) {
	i := slices.IndexFunc(s.files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return nil, &notListed{name}
	}
	return &file{ctx, s.store, path.Join(s.dir, name), s.files[i].Size}, nil
}

// file is read in pieces, each by a call of its own.
type file struct {
	ctx   context.Context
	store Store
	path  string
	size  int64
}

func (f *file) Size() int64  { return f.size }
func (f *file) Close() error { return nil }

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	if offset < 0 || offset >= f.size {
		return 0, io.EOF
	}
	want := b[:min(int64(len(b)), f.size-offset)]
	r, err := f.store.Open(f.ctx, f.path, offset, int64(len(want)))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.ReadFull(r, want)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if err == nil && len(want) < len(b) {
		err = io.EOF
	}
	return n, err
}

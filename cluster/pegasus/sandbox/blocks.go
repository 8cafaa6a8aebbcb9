package sandbox

import (
	"context"
	"crypto/md5" // what a local_service keeps with each file
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"

	"shardsh/cluster/pegasus/rocksdb"
)

// The block services that servers know: where cold backups go, and where bulk loads come from.

// BlockService is what servers do with one. Paths are below its root, with slashes.
type BlockService interface {
	// Open opens a file; fs.ErrNotExist when there is none.
	Open(ctx context.Context, name string) (rocksdb.File, error)
	// Create starts a file, whose directories are made.
	Create(ctx context.Context, name string) (rocksdb.Output, error)
}

// provider is a block service as the configuration of the servers has it.
type provider struct {
	BlockService
	// rooted says that its root is set: whoever starts a backup can name no path then.
	rooted bool
}

// BlockOpener opens a block service that is no directory of this machine, by its URL. It dials nothing. What it answers is
// closed when it is an io.Closer.
type BlockOpener func(url string) (BlockService, error)

// providers are the block services that the configuration of the servers has.
type providers struct {
	at   map[string]string // by name: directories, or URLs
	open BlockOpener

	far map[string]provider // those of URLs, once they are open
}

// openAll opens those that are no directories.
func (p *providers) openAll() error {
	p.far = map[string]provider{}
	for name, at := range p.at {
		if !strings.Contains(at, "://") {
			continue
		}
		u, err := url.Parse(at)
		if err == nil && p.open == nil {
			err = errors.New("only directories of this machine can be opened here")
		}
		var service BlockService
		if err == nil {
			service, err = p.open(at)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("open block service %s: %w", name, err), p.Close())
		}
		p.far[name] = provider{service, strings.Trim(u.Path, "/") != ""}
	}
	return nil
}

// find answers a block service. Among the directories those called hdfs_… play an hdfs_service whose root is /, others a
// local_service, whose root is a directory.
func (p *providers) find(name string) (provider, bool) {
	if far, is := p.far[name]; is {
		return far, true
	}
	dir, known := p.at[name]
	return provider{directory(dir), !strings.HasPrefix(name, "hdfs_")}, known
}

// Close closes what can be closed.
func (p *providers) Close() error {
	var errs []error
	for _, far := range p.far {
		if c, is := far.BlockService.(io.Closer); is {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// directory is a local_service: next to every file F is a hidden .F.meta, without which F is not found.
type directory string

type fileMeta struct {
	Size int64  `json:"size"` // bytes
	MD5  string `json:"md5"`  // hexadecimal
}

// split takes a path apart, so that it stays below the root.
func (d directory) split(name string) (dir, base string, err error) {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		return "", "", fmt.Errorf("%q: %w", name, fs.ErrInvalid)
	}
	dir, base = path.Split(clean)
	return path.Clean(dir), base, nil
}

func metaName(base string) string { return "." + base + ".meta" }

func (d directory) Open(_ context.Context, name string) (rocksdb.File, error) {
	dir, base, err := d.split(name)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	text, err := root.ReadFile(path.Join(dir, metaName(base)))
	if err != nil {
		return nil, err
	}
	var meta fileMeta
	if err := json.Unmarshal(text, &meta); err != nil {
		return nil, fmt.Errorf("%s: %w", metaName(base), err)
	}
	return openedFile(root.Open(path.Join(dir, base)))
}

// openedFile is a file of this machine.
func openedFile(f *os.File, err error) (rocksdb.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", f.Name())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return diskFile{f, info.Size()}, nil
}

type diskFile struct {
	*os.File
	size int64
}

func (f diskFile) Size() int64 { return f.size }

func (d directory) Create(_ context.Context, name string) (rocksdb.Output, error) {
	dir, base, err := d.split(name)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(string(d))
	if err != nil {
		return nil, err
	}
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	f, err := root.Create(path.Join(dir, base))
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &directoryOutput{root: root, f: f, dir: dir, base: base, sum: md5.New()}, nil
}

// directoryOutput writes a file in its place, as a local_service does: until its .meta is there nobody finds it.
type directoryOutput struct {
	root      *os.Root
	f         *os.File
	dir, base string
	sum       hash.Hash
	size      int64
}

func (o *directoryOutput) Write(b []byte) (int, error) {
	n, err := o.f.Write(b)
	o.sum.Write(b[:n])
	o.size += int64(n)
	return n, err
}

func (o *directoryOutput) Commit() error {
	err := o.f.Close()
	text, wrong := json.Marshal(fileMeta{o.size, hex.EncodeToString(o.sum.Sum(nil))})
	if err = errors.Join(err, wrong); err == nil {
		err = o.root.WriteFile(path.Join(o.dir, metaName(o.base)), text, 0o644)
	}
	return errors.Join(err, o.root.Close())
}

func (o *directoryOutput) Abort() {
	_ = o.f.Close()
	_ = o.root.Remove(path.Join(o.dir, o.base))
	_ = o.root.Close()
}

// maxBlockJSON bounds the files that describe others, in bytes.
const maxBlockJSON = 16 << 20

// readBlock reads a small file whole.
func readBlock(ctx context.Context, b BlockService, name string) ([]byte, error) {
	f, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > maxBlockJSON {
		return nil, fmt.Errorf("%s has %d bytes", name, f.Size())
	}
	return io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
}

func writeBlock(ctx context.Context, b BlockService, name string, content []byte) error {
	out, err := b.Create(ctx, name)
	if err != nil {
		return err
	}
	if _, err := out.Write(content); err != nil {
		out.Abort()
		return err
	}
	return out.Commit()
}

// writeBlockJSON writes a file that describes others.
func writeBlockJSON(ctx context.Context, b BlockService, name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return writeBlock(ctx, b, name, text)
}

// errDamaged is a file that is not what the list of files says.
var errDamaged = errors.New("a file is damaged")

// fetchBlock copies a file of a block service to this machine and checks it. An md5 of "" is not checked. After each
// part of it more is called with the bytes it has.
func fetchBlock(ctx context.Context, b BlockService, name, to string, want rocksdb.WrittenFile, more func(bytes int)) error {
	f, err := b.Open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Size() != want.Size {
		return fmt.Errorf("%w: %s has %d bytes instead of %d", errDamaged, name, f.Size(), want.Size)
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	sum := md5.New()
	err = copyBlock(ctx, io.MultiWriter(out, sum), f, more)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); want.MD5 != "" && got != want.MD5 {
		return fmt.Errorf("%w: %s has the md5 %s instead of %s", errDamaged, name, got, want.MD5)
	}
	return nil
}

// copyBuffer is how many bytes of a file are moved at once.
const copyBuffer = 64 << 10

func copyBlock(ctx context.Context, to io.Writer, f rocksdb.File, more func(bytes int)) error {
	buf := make([]byte, copyBuffer)
	for at := int64(0); at < f.Size(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), f.Size()-at)], at)
		if err != nil && !(errors.Is(err, io.EOF) && at+int64(n) == f.Size()) {
			return err
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return err
		}
		at += int64(n)
		more(n)
	}
	return nil
}

// folder is a directory of this machine for a checkpoint.
type folder string

func (d folder) Open(_ context.Context, name string) (rocksdb.File, error) {
	return openedFile(os.Open(path.Join(string(d), path.Base(name))))
}

func (d folder) Create(_ context.Context, name string) (rocksdb.Output, error) {
	f, err := os.Create(path.Join(string(d), path.Base(name)))
	if err != nil {
		return nil, err
	}
	return folderOutput{f}, nil
}

type folderOutput struct{ *os.File }

func (o folderOutput) Commit() error { return o.Close() }

func (o folderOutput) Abort() {
	_ = o.Close()
	_ = os.Remove(o.Name())
}

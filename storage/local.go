package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"shardsh/commands/spec"
)

// What the setting meta of a local_service may be. Pegasus's local_service writes next to every file F a hidden .F.meta
// with its size and MD5, and finds no file that has none.
const (
	metaRequired = "required" // written; a file without one is not found, as for Pegasus
	metaOptional = "optional" // written; a file without one is read all the same
	metaNone     = "none"     // neither written nor read: any directory of this machine
)

// maxMeta bounds a .F.meta, which has two short fields.
const maxMeta = 4 << 10

// local is a directory of this machine. os.Root keeps every path inside of it, whatever links there are.
type local struct {
	config Config
	dir    string
	meta   string
}

func openLocal(c Config) (Service, error) {
	meta := c.Settings["meta"]
	if meta == "" {
		meta = metaRequired
	}
	switch {
	case len(c.Args) != 1:
		return nil, c.usage("args has %d words, and is to be one directory", len(c.Args))
	case !filepath.IsAbs(c.Args[0]):
		return nil, c.usage("the directory %s is no absolute path", c.Args[0])
	case !slices.Contains([]string{metaRequired, metaOptional, metaNone}, meta):
		return nil, c.usage("meta is %q, and is to be required, optional or none", meta)
	}
	return &local{config: c, dir: filepath.Clean(c.Args[0]), meta: meta}, nil
}

// Directory is any directory of this machine as a service, without the files that Pegasus's local_service keeps beside the
// others.
func Directory(name, dir string) (Service, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return openLocal(Config{Name: name, Type: LocalType, Args: []string{dir}, Settings: map[string]string{"meta": metaNone}})
}

func (l *local) Name() string { return l.config.Name }
func (l *local) Type() string { return LocalType }
func (l *local) Close() error { return nil }

// fail makes the error of an attempt.
func (l *local) fail(op string, err error) error {
	e := failure(op, l.dir, Other, err)
	switch ReasonOf(e) {
	case Forbidden:
		e.Hint = "check who owns " + l.dir + " and whether it may be written"
	case NoPlace:
		e.Hint = "make the directory, or mount what it is on"
	}
	return e
}

// root opens the directory for one call. With make it is made when it is not there.
func (l *local) root(ctx context.Context, make bool) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(l.dir)
	if make && errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(l.dir, 0o755); err != nil {
			return nil, err
		}
		root, err = os.OpenRoot(l.dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = &reasoned{NoPlace, errors.New("the directory does not exist")}
	}
	return root, err
}

func (l *local) List(ctx context.Context, dir string) iter.Seq2[Entry, error] {
	p, err := clean(dir)
	if err != nil {
		return once(err)
	}
	return func(yield func(Entry, error) bool) {
		all, err := l.list(ctx, p)
		if err != nil {
			yield(Entry{}, l.fail("list "+dirName(p), err))
			return
		}
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l *local) list(ctx context.Context, dir string) ([]Entry, error) {
	root, err := l.root(ctx, false)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(local0(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := f.ReadDir(-1)
	if err != nil {
		if errors.Is(err, fs.ErrInvalid) || strings.Contains(err.Error(), "not a directory") {
			err = &reasoned{NotAFile, errors.New("it is no directory")}
		}
		return nil, err
	}
	var all []Entry
	for _, d := range found {
		if isTemporary(d.Name()) || l.meta != metaNone && isMeta(d.Name()) {
			continue
		}
		info, err := root.Stat(local0(join(dir, d.Name())))
		if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
			continue // gone meanwhile, a link out of the directory, or a device
		}
		e := entry(join(dir, d.Name()), info)
		if m, err := l.readMeta(root, e.Path); err == nil && m.Size == e.Size {
			e.MD5 = m.MD5
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(orderKey(a), orderKey(b)) })
	return all, nil
}

func entry(name string, info fs.FileInfo) Entry {
	e := Entry{Name: path.Base(name), Path: name, Dir: info.IsDir(), Modified: info.ModTime().UTC()}
	if !e.Dir {
		e.Size = info.Size()
	}
	return e
}

func (l *local) Stat(ctx context.Context, name string) (Entry, error) {
	p, err := clean(name)
	if err != nil {
		return Entry{}, err
	}
	root, err := l.root(ctx, false)
	if err != nil {
		return Entry{}, l.fail("look at "+dirName(p), err)
	}
	defer root.Close()
	e, err := l.stat(root, p)
	if err != nil {
		return Entry{}, l.fail("look at "+dirName(p), err)
	}
	return e, nil
}

// stat describes what is there. A file whose .meta tells another size is damaged.
func (l *local) stat(root *os.Root, name string) (Entry, error) {
	if base := path.Base(name); isTemporary(base) || l.meta != metaNone && isMeta(base) {
		return Entry{}, fs.ErrNotExist
	}
	info, err := root.Stat(local0(name))
	if err != nil {
		return Entry{}, missing(err)
	}
	e := entry(name, info)
	if name == "" {
		e.Name = ""
	}
	if e.Dir || l.meta == metaNone {
		return e, nil
	}
	m, err := l.readMeta(root, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && l.meta == metaOptional:
		return e, nil
	case errors.Is(err, fs.ErrNotExist):
		missing := spec.Errorf(spec.NotFound, "%w", &reasoned{NoFile, fmt.Errorf("%s is missing", metaName(name))})
		return Entry{}, missing.WithHint("a local_service finds no file without it; meta = optional in the [block_service] section reads such files")
	case err != nil:
		return Entry{}, err
	case m.Size != e.Size:
		return Entry{}, corrupt("it has %d bytes, and %s tells %d", e.Size, metaName(name), m.Size)
	}
	e.MD5 = m.MD5
	return e, nil
}

// missing makes a path below a file one that is not there.
func missing(err error) error {
	if err != nil && strings.Contains(err.Error(), "not a directory") {
		return fs.ErrNotExist
	}
	return err
}

func (l *local) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	p, err := fileName(name)
	if err != nil {
		return nil, err
	}
	r, err := l.open(ctx, p, offset, length)
	if err != nil {
		return nil, l.fail("read "+p, err)
	}
	return r, nil
}

func (l *local) open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	root, err := l.root(ctx, false)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	e, err := l.stat(root, name)
	if err != nil {
		return nil, err
	}
	if e.Dir {
		return nil, &reasoned{NotAFile, errors.New("it is a directory")}
	}
	f, err := root.Open(local0(name))
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &localReader{ctx: ctx, service: l, name: name, file: f, left: length}, nil
}

// localReader heeds the context and explains its errors.
type localReader struct {
	ctx     context.Context
	service *local
	name    string
	file    *os.File
	left    int64 // -1: all
}

func (r *localReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, r.service.fail("read "+r.name, err)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if r.left > 0 && int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.file.Read(p)
	if r.left > 0 {
		r.left -= int64(n)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.service.fail("read "+r.name, err)
	}
	return n, err
}

func (r *localReader) Close() error { return r.file.Close() }

func (l *local) Remove(ctx context.Context, name string) error {
	p, err := clean(name)
	if err == nil && p == "" {
		err = spec.Errorf(spec.Usage, "the root of %s cannot be removed", l.Name())
	}
	if err != nil {
		return err
	}
	if err := l.remove(ctx, p); err != nil {
		return l.fail("remove "+p, err)
	}
	return nil
}

func (l *local) remove(ctx context.Context, name string) error {
	root, err := l.root(ctx, false)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Lstat(local0(name))
	if err != nil {
		return missing(err)
	}
	if l.meta != metaNone && !info.IsDir() {
		// First what makes it a file of the service, so that half of the removal leaves none.
		if err := root.Remove(local0(metaName(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	err = root.Remove(local0(name))
	if info.IsDir() && err != nil && holds(root, name) {
		return &reasoned{NotEmpty, errors.New("the directory is not empty")}
	}
	return err
}

// holds reports whether a directory holds anything.
func holds(root *os.Root, dir string) bool {
	f, err := root.Open(local0(dir))
	if err != nil {
		return false
	}
	defer f.Close()
	some, _ := f.Readdirnames(1)
	return len(some) > 0
}

// local0 is a path as os.Root takes it.
func local0(name string) string {
	if name == "" {
		return "."
	}
	return filepath.FromSlash(name)
}

func dirName(name string) string {
	if name == "" {
		return "/"
	}
	return name
}

// fileMeta is what Pegasus's local_service keeps about a file.
type fileMeta struct {
	Size int64  `json:"size"`
	MD5  string `json:"md5"`
}

// metaName is the name of the file beside a file.
func metaName(name string) string {
	dir, base := path.Split(name)
	return dir + "." + base + ".meta"
}

func isMeta(base string) bool {
	return strings.HasPrefix(base, ".") && strings.HasSuffix(base, ".meta")
}

func (l *local) readMeta(root *os.Root, name string) (fileMeta, error) {
	if l.meta == metaNone {
		return fileMeta{}, fs.ErrNotExist
	}
	f, err := root.Open(local0(metaName(name)))
	if err != nil {
		return fileMeta{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMeta+1))
	if err != nil {
		return fileMeta{}, err
	}
	var m fileMeta
	if err := json.Unmarshal(data, &m); err != nil || len(data) > maxMeta || m.Size < 0 {
		return fileMeta{}, corrupt("%s is not what a local_service writes", metaName(name))
	}
	return m, nil
}

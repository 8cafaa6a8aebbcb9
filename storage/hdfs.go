package storage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"path"
	"slices"
	"strings"

	client "github.com/colinmarc/hdfs/v2"

	"shardsh/commands/spec"
)

// hdfsService is a directory of an HDFS.
type hdfsService struct {
	config   Config
	root     string // absolute
	endpoint string // the namenodes, as errors name them
	kerberos bool
	pool     *hdfsPool
	tickets  doorkeeper
}

func openHDFS(c Config) (Service, error) {
	place, err := parseHDFS(c)
	if err != nil {
		return nil, err
	}
	pool, err := newHDFSPool(c, place)
	if err != nil {
		return nil, err
	}
	return &hdfsService{
		config: c, root: place.root, endpoint: "hdfs://" + strings.Join(place.addresses, ","), kerberos: place.kerberos(), pool: pool,
	}, nil
}

func (h *hdfsService) Name() string { return h.config.Name }
func (h *hdfsService) Type() string { return HDFSType }
func (h *hdfsService) Close() error { return h.pool.close() }

// at is the absolute path of one relative to the root.
func (h *hdfsService) at(name string) string { return path.Join(h.root, name) }

// callTries is how often a call is made on fresh connections when one breaks: those that a restarted namenode left open
// are found out only so.
const callTries = 3

// do makes a call to the namenode. It may be made twice when a connection breaks, so it must be one that can be.
func (h *hdfsService) do(ctx context.Context, call func(*client.Client) error) error {
	for n := 1; ; n++ {
		err := h.pool.with(ctx, call)
		if err == nil || n == callTries || ctx.Err() != nil || h.reason(err) != Broken {
			return err
		}
	}
}

func (h *hdfsService) List(ctx context.Context, dir string) iter.Seq2[Entry, error] {
	p, err := clean(dir)
	if err != nil {
		return once(err)
	}
	return func(yield func(Entry, error) bool) {
		if err := h.list(ctx, p, yield); err != nil {
			yield(Entry{}, h.fail("list "+dirName(p), err))
		}
	}
}

// page is how many entries a namenode lists at a time by default (dfs.ls.limit).
const listPage = 1000

func (h *hdfsService) list(ctx context.Context, dir string, yield func(Entry, error) bool) error {
	c, err := h.pool.get(ctx)
	if err != nil {
		return err
	}
	defer func() { h.pool.put(c, err) }()
	r, err := c.Open(h.at(dir))
	if err = c.explain(err); err != nil && h.reason(err) == Broken {
		h.pool.put(c, err)
		if c, err = h.pool.get(ctx); err != nil {
			return err
		}
		r, err = c.Open(h.at(dir))
		err = c.explain(err)
	}
	if errors.Is(err, fs.ErrNotExist) && dir == "" {
		return h.noRoot()
	}
	if err != nil {
		return err
	}
	defer r.Close()
	if !r.Stat().IsDir() {
		return &reasoned{NotAFile, errors.New("it is no directory")}
	}
	var held []Entry // directories whose turn has not come, see slashed
	for {
		found, lerr := r.Readdir(listPage)
		if errors.Is(lerr, io.EOF) {
			break
		}
		if lerr != nil {
			err = c.explain(lerr)
			return err
		}
		for _, info := range found {
			if isTemporary(info.Name()) {
				continue
			}
			if !slashed(&held, entry(join(dir, info.Name()), info), yield) {
				return nil
			}
		}
	}
	for _, e := range held {
		if !yield(e, nil) {
			return nil
		}
	}
	return nil
}

// slashed yields entries that come in the order of their bare names in that of List, where a directory has a slash behind
// its name: "a-b" comes before "a/". Only directories are held back, and only while names come that begin with theirs.
func slashed(held *[]Entry, e Entry, yield func(Entry, error) bool) bool {
	for len(*held) > 0 && orderKey((*held)[0]) < e.Name {
		if !yield((*held)[0], nil) {
			return false
		}
		*held = (*held)[1:]
	}
	if !e.Dir {
		return yield(e, nil)
	}
	at, _ := slices.BinarySearchFunc(*held, orderKey(e), func(h Entry, key string) int { return strings.Compare(orderKey(h), key) })
	*held = slices.Insert(*held, at, e)
	return true
}

func (h *hdfsService) noRoot() error {
	return &reasoned{NoPlace, errors.New("the directory " + h.root + " does not exist")}
}

func (h *hdfsService) Stat(ctx context.Context, name string) (Entry, error) {
	p, err := clean(name)
	if err != nil {
		return Entry{}, err
	}
	e, err := h.stat(ctx, p)
	if err != nil {
		return Entry{}, h.fail("look at "+dirName(p), err)
	}
	return e, nil
}

func (h *hdfsService) stat(ctx context.Context, name string) (Entry, error) {
	var e Entry
	err := h.do(ctx, func(c *client.Client) error {
		info, err := c.Stat(h.at(name))
		if err == nil {
			e = entry(name, info)
		}
		return err
	})
	switch {
	case name == "" && errors.Is(err, fs.ErrNotExist):
		return Entry{}, h.noRoot()
	case isTemporary(e.Name):
		return Entry{}, fs.ErrNotExist
	case name == "":
		e.Name = ""
	}
	return e, err
}

func (h *hdfsService) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	p, err := fileName(name)
	if err != nil {
		return nil, err
	}
	e, err := h.stat(ctx, p)
	if err == nil && e.Dir {
		err = &reasoned{NotAFile, errors.New("it is a directory")}
	}
	fail := func(err error) error { return h.fail("read "+p, err) }
	if err != nil {
		return nil, fail(err)
	}
	left := max(e.Size-offset, 0)
	if length >= 0 {
		left = min(left, length)
	}
	if left == 0 {
		return http.NoBody, nil
	}
	open := func(ctx context.Context, offset, _ int64) (io.ReadCloser, error) { return h.openAt(ctx, p, offset) }
	return &resuming{ctx: ctx, offset: offset, left: left, fail: fail, open: open}, nil
}

// openAt opens a file on a connection of its own, for as long as it is read.
func (h *hdfsService) openAt(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	c, err := h.pool.get(ctx)
	if err != nil {
		return nil, err
	}
	r, err := c.Open(h.at(name))
	if err == nil {
		_, err = r.Seek(offset, io.SeekStart)
	}
	if err != nil {
		err = c.explain(err)
		h.pool.put(c, err)
		return nil, err
	}
	return &hdfsReader{service: h, client: c, r: r}, nil
}

// hdfsReader gives its client back when it ends.
type hdfsReader struct {
	service *hdfsService
	client  *hdfsClient
	r       *client.FileReader
	err     error
}

func (r *hdfsReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.client.explain(err)
		if reasonOf(err) == Other && r.client.ctx.Err() == nil && !isException(err) {
			err = &reasoned{Broken, err} // of the stream, which knows no kinds of errors
		}
		if strings.Contains(err.Error(), "invalid checksum") {
			err = corrupt("a block differs from its checksum")
		}
		r.err = err
	}
	return n, err
}

func (r *hdfsReader) Close() error {
	if r.client == nil {
		return nil
	}
	_ = r.r.Close() // what was read is read; a stream that was left in the middle complains
	r.service.pool.put(r.client, r.err)
	r.client = nil
	return nil
}

func (h *hdfsService) Remove(ctx context.Context, name string) error {
	p, err := clean(name)
	if err == nil && p == "" {
		err = spec.Errorf(spec.Usage, "the root of %s cannot be removed", h.Name())
	}
	if err != nil {
		return err
	}
	if err := h.remove(ctx, p); err != nil {
		return h.fail("remove "+p, err)
	}
	return nil
}

// remove asks what is there first: the client's own question loses the answer's kind. What a broken connection left open
// is settled by a second call, which finds nothing when the first was carried out.
func (h *hdfsService) remove(ctx context.Context, name string) error {
	if _, err := h.stat(ctx, name); err != nil {
		return err
	}
	sent := false
	err := h.do(ctx, func(c *client.Client) error {
		err := c.Remove(h.at(name))
		if sent && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		sent = true
		return err
	})
	if err != nil && ctx.Err() == nil && lost(err) {
		return spec.Errorf(spec.UnknownOutcome, "%w", &reasoned{h.reason(err), short(err)}).WithHint("look with: fs stat %s:/%s", h.Name(), name)
	}
	return err
}

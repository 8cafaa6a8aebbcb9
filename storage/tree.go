package storage

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"shardsh/commands/spec"
)

// maxDepth bounds how deep Walk goes: what a hostile or broken service answers must come to an end.
const maxDepth = 100

// Walk yields all files below a directory, in the order of the bytes of their paths. Directories themselves are yielded
// only when they hold nothing, so that they can be removed; a file instead of a directory is yielded alone.
func Walk(ctx context.Context, s Service, dir string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		dir, err := clean(dir)
		if err == nil && dir != "" {
			var e Entry
			if e, err = s.Stat(ctx, dir); err == nil && !e.Dir {
				yield(e, nil)
				return
			}
		}
		if err != nil {
			yield(Entry{}, err)
			return
		}
		walk(ctx, s, dir, 0, yield)
	}
}

func walk(ctx context.Context, s Service, dir string, depth int, yield func(Entry, error) bool) (more bool) {
	if depth > maxDepth {
		yield(Entry{}, failure("list "+dir, s.Name(), Other, fmt.Errorf("directories are more than %d deep", maxDepth)))
		return false
	}
	empty := true
	for e, err := range s.List(ctx, dir) {
		empty = false
		switch {
		case err != nil:
			yield(Entry{}, err)
			return false
		case e.Dir:
			if !walk(ctx, s, e.Path, depth+1, yield) {
				return false
			}
		case !yield(e, nil):
			return false
		}
	}
	if empty && dir != "" {
		return yield(Entry{Name: path.Base(dir), Path: dir, Dir: true}, nil)
	}
	return true
}

// ReadFile reads a whole file of at most limit bytes; a longer one is refused without being read.
func ReadFile(ctx context.Context, s Service, name string, limit int64) ([]byte, error) {
	r, err := s.Open(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, failure("read "+name, s.Name(), Other, fmt.Errorf("it is larger than %d bytes", limit))
	}
	return data, nil
}

// WriteFile writes a whole file.
func WriteFile(ctx context.Context, s Service, name string, data []byte) error {
	w, err := s.Create(ctx, name, int64(len(data)))
	if err != nil {
		return err
	}
	if _, err = io.Copy(w, bytes.NewReader(data)); err == nil {
		err = w.Commit()
	}
	if err != nil {
		return giveUp(w, err)
	}
	return nil
}

// giveUp aborts a writer after an error, and says when that left something behind.
func giveUp(w Writer, err error) error {
	aerr := w.Abort()
	var known *spec.Error
	if aerr == nil || !errors.As(err, &known) {
		return err
	}
	both := *known
	both.Err = fmt.Errorf("%w; what was written so far could not be removed: %s", known.Err, short(aerr))
	return &both
}

// Exists reports whether there is a file or directory of that path.
func Exists(ctx context.Context, s Service, name string) (bool, error) {
	_, err := s.Stat(ctx, name)
	if ReasonOf(err) == NoFile {
		return false, nil
	}
	return err == nil, err
}

// Sum answers the MD5 of a file in hex: what the service tells, else that of what is read.
func Sum(ctx context.Context, s Service, e Entry) (string, error) {
	if e.MD5 != "" {
		return e.MD5, nil
	}
	sum, n, err := readSum(ctx, s, e.Path, nil)
	if err == nil && n != e.Size {
		err = failure("read "+e.Path, s.Name(), Broken, fmt.Errorf("%d bytes were read of %d", n, e.Size))
	}
	return sum, err
}

// readSum reads a file for its checksum and length.
func readSum(ctx context.Context, s Service, name string, meter func(int) error) (string, int64, error) {
	r, err := s.Open(ctx, name, 0, -1)
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	h := md5.New()
	n, err := pour(h, r, meter)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// pourSize is how much is moved at a time.
const pourSize = 256 << 10

// pour copies all of r to w, asking the meter before each write.
func pour(w io.Writer, r io.Reader, meter func(int) error) (int64, error) {
	var total int64
	buf := make([]byte, pourSize)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if meter != nil {
				if merr := meter(n); merr != nil {
					return total, merr
				}
			}
			if _, werr := w.Write(buf[:n]); werr != nil {
				return total, werr
			}
			total += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// RemoveAll removes the files that Walk yields below a path, and the directories that are empty then, the deepest first.
// each is called after each that is gone. It goes on after what is gone already.
func RemoveAll(ctx context.Context, s Service, name string, each func(Entry)) error {
	var dirs []string
	seen := map[string]bool{}
	for e, err := range Walk(ctx, s, name) {
		if err != nil {
			return err
		}
		if err := s.Remove(ctx, e.Path); err != nil && ReasonOf(err) != NoFile {
			return err
		}
		if each != nil {
			each(e)
		}
		for d := path.Dir(e.Path); d != "." && d != "/" && len(d) >= len(name) && !seen[d]; d = path.Dir(d) {
			seen[d] = true
			dirs = append(dirs, d)
		}
	}
	return removeEmpty(ctx, s, dirs)
}

// RemoveEmpty removes a directory and all below it that hold no files. One that does is NotEmpty.
func RemoveEmpty(ctx context.Context, s Service, dir string) error {
	dirs := map[string]bool{}
	if there, err := Exists(ctx, s, dir); err != nil || !there {
		return err
	}
	for e, err := range Walk(ctx, s, dir) {
		if err != nil {
			return err
		}
		if !e.Dir {
			return failure("remove "+dir, s.Name(), NotEmpty, fmt.Errorf("%s is there", e.Path))
		}
		for d := e.Path; len(d) >= len(dir) && d != "." && !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	return removeEmpty(ctx, s, slices.Collect(maps.Keys(dirs)))
}

// removeEmpty removes directories that hold nothing any more. A service without such has none of them by now.
func removeEmpty(ctx context.Context, s Service, dirs []string) error {
	byDepth(dirs)
	for _, d := range dirs {
		err := s.Remove(ctx, d)
		if err != nil && ReasonOf(err) != NoFile {
			return err
		}
	}
	return nil
}

// byDepth puts the deepest directories first.
func byDepth(dirs []string) {
	slices.SortFunc(dirs, func(a, b string) int {
		return cmp.Or(strings.Count(b, "/")-strings.Count(a, "/"), strings.Compare(a, b))
	})
}

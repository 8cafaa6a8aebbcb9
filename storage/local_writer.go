package storage

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"

	"shardsh/commands/spec"
)

// localWriter writes under a temporary name, which it holds locked, and renames when all is on disk.
type localWriter struct {
	ctx     context.Context
	service *local
	root    *os.Root
	name    string
	file    *os.File // nil when it has ended
	sum     hash.Hash
	size    int64
	made    []string // directories that were made for it, the deepest last
}

func (l *local) Create(ctx context.Context, name string, _ int64) (Writer, error) {
	p, err := fileName(name)
	if err == nil && l.meta != metaNone && isMeta(path.Base(p)) {
		err = spec.Errorf(spec.Usage, "%q is a name that a local_service keeps for itself", name)
	}
	if err != nil {
		return nil, err
	}
	w := &localWriter{ctx: ctx, service: l, name: p, sum: md5.New()}
	if err := w.begin(); err != nil {
		return nil, l.fail("write "+p, err)
	}
	return w, nil
}

func (w *localWriter) begin() error {
	root, err := w.service.root(w.ctx, true)
	if err != nil {
		return err
	}
	w.root = root
	err = w.makeDirs()
	if err == nil {
		err = w.notADirectory()
	}
	if err == nil {
		w.file, err = lockedTemporary(root, temporary(w.name))
	}
	if err != nil {
		w.tidy()
		return errors.Join(err, root.Close())
	}
	return nil
}

func (w *localWriter) notADirectory() error {
	if info, err := w.root.Stat(local0(w.name)); err == nil && info.IsDir() {
		return &reasoned{NotAFile, errors.New("there is a directory of that name")}
	}
	return nil
}

// makeDirs makes the directories above the file, and remembers which.
func (w *localWriter) makeDirs() error {
	dir := ""
	for part := range strings.SplitSeq(path.Dir(w.name), "/") {
		if part == "." {
			return nil
		}
		dir = join(dir, part)
		err := w.root.Mkdir(local0(dir), 0o755)
		if err == nil {
			w.made = append(w.made, dir)
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// lockedTemporary opens the file that is written to, emptied, once nobody else holds it.
func lockedTemporary(root *os.Root, name string) (*os.File, error) {
	for {
		f, err := root.OpenFile(local0(name), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		if err := lock(f); err != nil {
			return nil, errors.Join(&reasoned{Taken, errors.New("somebody else is writing it")}, f.Close())
		}
		// The one who held it may have renamed it before we got it.
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := root.Stat(local0(name)); err == nil && os.SameFile(mine, there) {
			if err := f.Truncate(0); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

func (w *localWriter) Write(p []byte) (int, error) {
	if w.file == nil {
		return 0, w.service.fail("write "+w.name, fs.ErrClosed)
	}
	if err := w.ctx.Err(); err != nil {
		return 0, w.service.fail("write "+w.name, err)
	}
	n, err := w.file.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	if err != nil {
		return n, w.service.fail("write "+w.name, err)
	}
	return n, nil
}

// MD5 implements summed.
func (w *localWriter) MD5() string { return hex.EncodeToString(w.sum.Sum(nil)) }

func (w *localWriter) Commit() error {
	if w.file == nil {
		return w.service.fail("write "+w.name, fs.ErrClosed)
	}
	err := w.ctx.Err()
	if err == nil {
		err = w.commit()
	}
	if err != nil {
		return w.service.fail("write "+w.name, err)
	}
	w.made = nil
	return w.end()
}

// commit puts file and .meta in place, in an order that never shows a file with the .meta of another: a file without
// one is none.
func (w *localWriter) commit() error {
	if err := w.file.Sync(); err != nil {
		return err
	}
	if w.service.meta == metaNone {
		return w.rename(temporary(w.name), w.name)
	}
	meta := metaName(w.name)
	data, err := json.Marshal(fileMeta{w.size, w.MD5()})
	if err != nil {
		return err
	}
	if err := w.writeSynced(temporary(meta), data); err != nil {
		return err
	}
	if err := w.root.Remove(local0(meta)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.rename(temporary(w.name), w.name); err != nil {
		return err
	}
	return w.rename(temporary(meta), meta)
}

func (w *localWriter) writeSynced(name string, data []byte) error {
	f, err := w.root.OpenFile(local0(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (w *localWriter) rename(from, to string) error {
	if err := w.root.Rename(local0(from), local0(to)); err != nil {
		return err
	}
	return w.syncDir(path.Dir(to))
}

// syncDir makes a rename last. Windows opens no directories for that.
func (w *localWriter) syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if dir == "." {
		dir = ""
	}
	d, err := w.root.Open(local0(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (w *localWriter) Abort() error {
	if w.file == nil {
		return nil
	}
	if err := errors.Join(w.tidy(), w.end()); err != nil {
		return w.service.fail("abort writing "+w.name, err)
	}
	return nil
}

// tidy removes what was made: the temporary files, and the directories unless they serve others by now.
func (w *localWriter) tidy() error {
	var errs []error
	if w.file != nil {
		for _, name := range []string{temporary(w.name), temporary(metaName(w.name))} {
			if err := w.root.Remove(local0(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	for i := len(w.made) - 1; i >= 0; i-- {
		if w.root.Remove(local0(w.made[i])) != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (w *localWriter) end() error {
	err := errors.Join(w.file.Close(), w.root.Close())
	w.file = nil
	return err
}

package coldbackup

import (
	"context"
	"iter"
	"path"

	"shardsh/commands/spec"
)

// maxDepth is how many folders deep List looks for backups, and maxFolders how many it looks into.
const (
	maxDepth   = 8
	maxFolders = 100_000
)

// List yields the folders of the backups in or below a directory, by path. It looks into none of them.
func List(ctx context.Context, s Store, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		w := walker{ctx: ctx, s: s, yield: yield}
		w.walk(dir, 0)
	}
}

type walker struct {
	ctx     context.Context
	s       Store
	yield   func(string, error) bool
	folders int
}

func (w *walker) walk(dir string, depth int) (more bool) {
	if w.folders++; w.folders > maxFolders {
		w.yield("", spec.Errorf(spec.Failed, "there are more than %d folders to look for backups in", maxFolders).
			WithHint("name a folder further down"))
		return false
	}
	entries, err := list(w.ctx, w.s, dir)
	if err != nil {
		w.yield("", err)
		return false
	}
	if _, ok := backupID(path.Base(dir)); ok && isBackup(entries) {
		return w.yield(dir, nil)
	}
	if depth == maxDepth {
		return true
	}
	for _, e := range entries {
		if e.Dir && !w.walk(path.Join(dir, e.Name), depth+1) {
			return false
		}
	}
	return true
}

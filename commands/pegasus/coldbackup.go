package pegasus

import (
	"context"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// blockStore is a block service as backups are read from it.
type blockStore struct{ storage.Service }

func (s blockStore) List(ctx context.Context, dir string) iter.Seq2[coldbackup.Entry, error] {
	return func(yield func(coldbackup.Entry, error) bool) {
		for e, err := range s.Service.List(ctx, dir) {
			if !yield(coldbackup.Entry{Name: e.Name, Dir: e.Dir, Size: e.Size, MD5: e.MD5}, blockError(err)) || err != nil {
				return
			}
		}
	}
}

func (s blockStore) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := s.Service.Open(ctx, name, offset, length)
	return r, blockError(err)
}

// blockError makes a service without its root one that failed, instead of an empty one.
func blockError(err error) error {
	switch storage.ReasonOf(err) {
	case storage.NoPlace:
		return &spec.Error{Kind: spec.Failed, Err: err, Hint: spec.HintOf(err)}
	case storage.Corrupt, storage.NotAFile:
		return fmt.Errorf("%w: %w", coldbackup.ErrDamaged, err)
	}
	return err
}

var (
	backupArg  = spec.Arg{Name: "backup", Kind: spec.ArgLocation, Help: "SERVICE:PATH of the backup's folder, or of one above it that holds no other backup"}
	ofTable    = spec.Flag{Name: "table", Kind: spec.ArgText, Help: "the table, NAME or NAME_ID, where the backup has several"}
	onebackup  = "disk:/backup/onebox/1742888751127"
	backupHere = []string{"fs put backup disk:/backup"}
)

// openBackups reads argument 0, SERVICE:PATH, which must be there.
func openBackups(ctx context.Context, env commands.Env, call *spec.Call) (blockStore, storage.Location, error) {
	s, l, err := commands.Locate(ctx, env, call, 0)
	if err != nil {
		return blockStore{}, l, err
	}
	if l.Path != "" {
		var e storage.Entry
		if e, err = s.Stat(ctx, l.Path); err == nil && !e.Dir {
			err = spec.Errorf(spec.Usage, "%s is a file", l).WithHint("name the folder of a backup: ls_backup %s:/ finds them", l.Service)
		}
		if spec.KindOf(err) == spec.NotFound {
			err = spec.Errorf(spec.NotFound, "there is no %s", l).WithHint("ls_backup %s:/ finds the backups", l.Service)
		}
	}
	return blockStore{s}, l, err
}

// openBackup loads the one backup that argument 0 names.
func openBackup(ctx context.Context, env commands.Env, call *spec.Call) (blockStore, storage.Location, *coldbackup.Backup, error) {
	s, l, err := openBackups(ctx, env, call)
	if err != nil {
		return s, l, nil, err
	}
	const shownAtMost = 5
	var found []string
	for dir, err := range coldbackup.List(ctx, s, l.Path) {
		if err != nil {
			return s, l, nil, err
		}
		if found = append(found, l.Service+":/"+dir); len(found) > shownAtMost {
			break
		}
	}
	switch {
	case len(found) == 0:
		return s, l, nil, spec.Errorf(spec.NotFound, "%s holds no backup", l).WithHint("ls_backup %s:/ finds them", l.Service)
	case len(found) > 1:
		return s, l, nil, spec.Errorf(spec.Usage, "%s holds several backups", l).WithHint("name one of %s", strings.Join(found, ", "))
	}
	l.Path = strings.TrimPrefix(found[0], l.Service+":/")
	b, err := coldbackup.Load(ctx, s, l.Path)
	return s, l, b, err
}

// pickTables are those that --table names, all when it is not given.
func pickTables(call *spec.Call, b *coldbackup.Backup) ([]*coldbackup.Table, error) {
	return tablesNamed(call.String(ofTable.Name), b)
}

func tablesNamed(named string, b *coldbackup.Backup) ([]*coldbackup.Table, error) {
	if named == "" {
		return b.Tables, nil
	}
	var found []*coldbackup.Table
	for _, t := range b.Tables {
		if named == t.Name || named == path.Base(t.Dir) {
			found = append(found, t)
		}
	}
	if len(found) == 0 {
		return nil, spec.Errorf(spec.NotFound, "backup %d has no table %s", b.ID, shown(named)).WithHint("it has %s", tableNames(b))
	}
	return found, nil
}

// pickTable is the one table that a flag names.
func pickTable(call *spec.Call, flag string, b *coldbackup.Backup) (*coldbackup.Table, error) {
	tables, err := tablesNamed(call.String(flag), b)
	switch {
	case err != nil:
		return nil, err
	case len(tables) == 0:
		return nil, spec.Errorf(spec.Failed, "backup %d has no table", b.ID)
	case len(tables) > 1:
		return nil, spec.Errorf(spec.Usage, "backup %d has several tables", b.ID).WithHint("choose one with --%s: %s", flag, tableNames(b))
	}
	return tables[0], nil
}

func tableNames(b *coldbackup.Backup) string {
	var names []string
	for _, t := range b.Tables {
		names = append(names, path.Base(t.Dir))
	}
	return strings.Join(names, ", ")
}

// at is a path of a service as people write it.
func at(service, name string) string { return storage.Location{Service: service, Path: name}.String() }

// firstProblem is what keeps a table from being restored, "" when nothing does.
func firstProblem(b *coldbackup.Backup, t *coldbackup.Table) string {
	problems := b.AllProblems(t)
	if len(problems) == 0 {
		return ""
	}
	more := ""
	if n := len(problems) - 1; n > 0 {
		more = " (and " + strconv.Itoa(n) + " more)"
	}
	p := problems[0]
	return strings.TrimPrefix(p.Path, b.Dir+"/") + ": " + p.Why + more
}

// sortedOthers are the checkpoints of a table that do not count: left by primaries before the last one.
func sortedOthers(t *coldbackup.Table) []string {
	var all []string
	for _, p := range t.Partitions {
		for _, name := range p.Others {
			all = append(all, path.Join(strconv.Itoa(p.Index), name))
		}
	}
	slices.Sort(all)
	return all
}

package coldbackup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"shardsh/commands/spec"
)

// Backup is what is there of a backup. Problems say what is missing or contradicts itself.
type Backup struct {
	Dir      string // its own folder, which is named like its id
	ID       int64  // Unix milliseconds of its start
	Info     *Info  // nil when there is none to read
	Tables   []*Table
	SideCar  *SideCar // nil when there is none
	Problems []Problem
	// Documents are the JSON and text files that were read, by path: what lists of files do not protect.
	Documents []Document
}

// Document is a small file as it was read.
type Document struct {
	Path   string
	Size   int64  // bytes
	MD5    string // hexadecimal, of what was read
	Stored string // hexadecimal, as the service tells it; "" when it does not
}

// Table is a table of a backup.
type Table struct {
	Dir        string
	Name       string // from the name of its folder, as is ID
	ID         int32
	App        *App // nil when there is none to read
	Partitions []*Partition
	Problems   []Problem
}

// Partition is a partition of a table of a backup.
type Partition struct {
	Dir        string
	Index      int
	Folder     string      // the folder of the checkpoint that counts, "" when that is not known
	Checkpoint *Checkpoint // nil when there is none to read
	Others     []string    // folders of checkpoints that do not count
	Problems   []Problem
	documents  []Document
}

// Complete reports whether the backup ran to its end: the file that is written last is there.
func (b *Backup) Complete() bool { return b.Info != nil }

// InfoPath is where backup_info of a backup is, or should be.
func InfoPath(b *Backup) string { return path.Join(b.Dir, infoFile) }

// AllProblems are those of the backup and of a table of it; of all tables when it is nil.
func (b *Backup) AllProblems(t *Table) []Problem {
	all := slices.Clone(b.Problems)
	for _, some := range b.Tables {
		if t != nil && some != t {
			continue
		}
		all = append(all, some.Problems...)
		for _, p := range some.Partitions {
			all = append(all, p.Problems...)
		}
	}
	return all
}

// Size is that of all listed files of a table, in bytes, and Files how many there are.
func (t *Table) Size() (size int64, files int) {
	for _, p := range t.Partitions {
		if p.Checkpoint != nil {
			size += p.Checkpoint.TotalSize
			files += len(p.Checkpoint.Files)
		}
	}
	return size, files
}

// backupID reads the name of a backup's folder: 12 digits or more, which is after 1973.
func backupID(name string) (int64, bool) {
	if len(name) < 12 || len(name) > 18 || strings.Trim(name, "0123456789") != "" {
		return 0, false
	}
	id, err := strconv.ParseInt(name, 10, 64)
	return id, err == nil
}

// TableFolder is what the folder of a table is called in a backup: <app_name>_<app_id>.
func TableFolder(table string, id int32) string { return fmt.Sprintf("%s_%d", table, id) }

// tableFolder takes <app_name>_<app_id> apart.
func tableFolder(name string) (table string, id int32, ok bool) {
	i := strings.LastIndexByte(name, '_')
	if i < 1 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != name[i+1:] {
		return "", 0, false
	}
	return name[:i], int32(n), true
}

// Load reads the documents of the backup in a folder and lists its files, reading none of them. A folder that is none of
// a backup is spec.NotFound; other errors are those of the store.
func Load(ctx context.Context, s Store, dir string) (*Backup, error) {
	id, ok := backupID(path.Base(dir))
	entries, err := list(ctx, s, dir)
	if err != nil {
		return nil, err
	}
	if !ok || !isBackup(entries) {
		return nil, spec.Errorf(spec.NotFound, "%s is no backup: its folder is named like its id, and holds %s and folders TABLE_ID", dir, infoFile)
	}
	b := &Backup{Dir: dir, ID: id}
	for _, e := range entries {
		if name, app, ok := tableFolder(e.Name); ok && e.Dir {
			b.Tables = append(b.Tables, &Table{Dir: path.Join(dir, e.Name), Name: name, ID: app})
		}
	}
	if err := b.loadInfo(ctx, s, entries); err != nil {
		return nil, err
	}
	for _, t := range b.Tables {
		if err := b.loadTable(ctx, s, t); err != nil {
			return nil, err
		}
	}
	b.checkInfo()
	return b, b.loadSideCar(ctx, s, entries)
}

func isBackup(entries []Entry) bool {
	return slices.ContainsFunc(entries, func(e Entry) bool {
		_, _, table := tableFolder(e.Name)
		return e.Dir && table || !e.Dir && e.Name == infoFile
	})
}

// list reads a whole directory; one that is not there is empty.
func list(ctx context.Context, s Store, dir string) ([]Entry, error) {
	var all []Entry
	for e, err := range s.List(ctx, dir) {
		switch {
		case spec.KindOf(err) == spec.NotFound && err != nil:
			return all, nil
		case err != nil:
			return nil, err
		case len(all) == maxEntries:
			return nil, spec.Errorf(spec.Failed, "%s holds more than %d entries", dir, maxEntries)
		case plainName(e.Name):
			all = append(all, e)
		}
	}
	return all, nil
}

// document reads a small file. Why is what is wrong with it; err is of the store.
func document(ctx context.Context, s Store, dir string, entries []Entry, name string, limit int64) (b []byte, d Document, why, err error) {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name && !e.Dir })
	d.Path = path.Join(dir, name)
	if i < 0 {
		return nil, d, errMissing, nil
	}
	if entries[i].Size > limit {
		return nil, d, fmt.Errorf("it has %d bytes", entries[i].Size), nil
	}
	r, err := s.Open(ctx, d.Path, 0, -1)
	if err != nil {
		if spec.KindOf(err) == spec.NotFound {
			return nil, d, errMissing, nil
		}
		if errors.Is(err, ErrDamaged) {
			return nil, d, err, nil
		}
		return nil, d, nil, err
	}
	defer r.Close()
	if b, err = io.ReadAll(io.LimitReader(r, limit+1)); err != nil {
		return nil, d, nil, err
	}
	if int64(len(b)) > limit {
		return nil, d, fmt.Errorf("it has more than %d bytes", limit), nil
	}
	d.Size, d.MD5, d.Stored = int64(len(b)), sum(b), entries[i].MD5
	return b, d, nil, nil
}

var errMissing = errors.New("it is missing")

func (b *Backup) loadInfo(ctx context.Context, s Store, entries []Entry) error {
	data, d, why, err := document(ctx, s, b.Dir, entries, infoFile, maxInfo)
	if err != nil {
		return err
	}
	if why == nil {
		b.Documents = append(b.Documents, d)
		b.Info, why = ParseInfo(data)
	}
	if errors.Is(why, errMissing) {
		why = errors.New("it is missing: the backup runs still, or never ended")
	}
	if why != nil {
		b.Problems = append(b.Problems, Problem{d.Path, why.Error()})
	}
	return nil
}

// checkInfo compares backup_info with the folders.
func (b *Backup) checkInfo() {
	if b.Info == nil {
		return
	}
	wrong := func(format string, args ...any) {
		b.Problems = append(b.Problems, Problem{path.Join(b.Dir, infoFile), fmt.Sprintf(format, args...)})
	}
	if b.Info.BackupID != b.ID {
		wrong("it is of backup %d", b.Info.BackupID)
	}
	listed := map[int32]string{}
	for _, id := range b.Info.AppIDs {
		listed[id] = b.Info.AppNames[strconv.Itoa(int(id))]
	}
	if len(b.Info.AppIDs) == 0 {
		listed[b.Info.AppID] = b.Info.AppName
	}
	for _, t := range b.Tables {
		name, ok := listed[t.ID]
		if !ok || name != t.Name {
			wrong("it does not list %s", TableFolder(t.Name, t.ID))
		}
		delete(listed, t.ID)
	}
	for id, name := range listed {
		wrong("it lists %q with the id %d, which has no folder", name, id)
	}
}

func (b *Backup) loadTable(ctx context.Context, s Store, t *Table) error {
	meta := path.Join(t.Dir, metaFolder)
	entries, err := list(ctx, s, meta)
	if err != nil {
		return err
	}
	data, d, why, err := document(ctx, s, meta, entries, appFile, maxInfo)
	if err != nil {
		return err
	}
	if why == nil {
		b.Documents = append(b.Documents, d)
		t.App, why = ParseApp(data)
	}
	switch {
	case why != nil:
		t.App = nil
		t.Problems = append(t.Problems, Problem{d.Path, why.Error()})
	case t.App.Name != t.Name || t.App.ID != t.ID:
		t.Problems = append(t.Problems, Problem{d.Path, fmt.Sprintf("it is of %q with the id %d", t.App.Name, t.App.ID)})
	}
	if err := t.findPartitions(ctx, s); err != nil {
		return err
	}
	const atOnce = 16
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, p := range t.Partitions {
		g.Go(func() error { return p.load(inner, s) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, p := range t.Partitions {
		b.Documents = append(b.Documents, p.documents...)
	}
	return nil
}

// findPartitions lists the folders of a table, and says which ones it should have besides or has too many.
func (t *Table) findPartitions(ctx context.Context, s Store) error {
	entries, err := list(ctx, s, t.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		i, err := strconv.Atoi(e.Name)
		if err != nil || !e.Dir || i < 0 || i >= maxPartitions || strconv.Itoa(i) != e.Name {
			continue
		}
		t.Partitions = append(t.Partitions, &Partition{Dir: path.Join(t.Dir, e.Name), Index: i})
	}
	slices.SortFunc(t.Partitions, func(a, b *Partition) int { return cmp.Compare(a.Index, b.Index) })
	if t.App == nil {
		return nil
	}
	there := map[int]bool{}
	for _, p := range t.Partitions {
		there[p.Index] = true
		if p.Index >= int(t.App.PartitionCount) {
			t.Problems = append(t.Problems, Problem{p.Dir, fmt.Sprintf("the table has %d partitions", t.App.PartitionCount)})
		}
	}
	for i := range int(t.App.PartitionCount) {
		if !there[i] {
			t.Problems = append(t.Problems, Problem{path.Join(t.Dir, strconv.Itoa(i)), "the partition is missing"})
		}
	}
	return nil
}

func (p *Partition) wrong(file, why string) { p.Problems = append(p.Problems, Problem{file, why}) }

func (p *Partition) load(ctx context.Context, s Store) error {
	entries, err := list(ctx, s, p.Dir)
	if err != nil {
		return err
	}
	data, d, why, err := document(ctx, s, p.Dir, entries, currentFile, maxSmall)
	if err != nil {
		return err
	}
	if why == nil {
		p.documents = append(p.documents, d)
		p.Folder, why = ParseCurrent(data)
	}
	for _, e := range entries {
		if e.Dir && strings.HasPrefix(e.Name, chkptPrefix) && e.Name != p.Folder {
			p.Others = append(p.Others, e.Name)
		}
	}
	if why != nil {
		p.wrong(d.Path, why.Error())
		return nil
	}
	return p.loadCheckpoint(ctx, s, d.Path)
}

func (p *Partition) loadCheckpoint(ctx context.Context, s Store, named string) error {
	dir := path.Join(p.Dir, p.Folder)
	entries, err := list(ctx, s, dir)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		p.wrong(named, "it names "+p.Folder+", which is not there")
		return nil
	}
	data, d, why, err := document(ctx, s, dir, entries, checkpointFile, maxCheckpoint)
	if err != nil {
		return err
	}
	if why == nil {
		p.documents = append(p.documents, d)
		p.Checkpoint, why = ParseCheckpoint(data)
	}
	if why != nil {
		p.Checkpoint = nil
		p.wrong(d.Path, why.Error())
		return nil
	}
	sizes := map[string]int64{}
	for _, e := range entries {
		if !e.Dir {
			sizes[e.Name] = e.Size
		}
	}
	for _, f := range p.Checkpoint.Files {
		switch size, ok := sizes[f.Name]; {
		case !ok:
			p.wrong(path.Join(dir, f.Name), "it is missing")
		case size != f.Size:
			p.wrong(path.Join(dir, f.Name), fmt.Sprintf("it has %d bytes instead of %d", size, f.Size))
		}
	}
	return nil
}

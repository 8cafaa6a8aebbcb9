package backup

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"

	"shardsh/commands/spec"
	"shardsh/storage"
)

// Found is a folder that looks like a backup.
type Found struct {
	Dir string
	// Manifest is nil where the backup is not complete, or damaged; Begun where it is.
	Manifest *Manifest
	Begun    *Begun
	// Why says what is wrong with it, "" for nothing that can be seen without reading its rows.
	Why string
}

// mostDepth bounds how deep List looks.
const mostDepth = 20

// List finds the backups in a folder and below it, by path. Inside of one it does not look for others. The error of a
// service ends it; what is wrong with a backup is told by it.
func List(ctx context.Context, s storage.Service, dir string) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) { list(ctx, s, dir, 0, yield) }
}

func list(ctx context.Context, s storage.Service, dir string, depth int, yield func(Found, error) bool) (more bool) {
	if depth > mostDepth {
		return yield(Found{}, spec.Errorf(spec.Failed, "folders are more than %d deep in %s:/%s", mostDepth, s.Name(), dir))
	}
	var dirs []string
	manifest, begun := false, false
	for e, err := range s.List(ctx, dir) {
		if err != nil {
			yield(Found{}, err)
			return false
		}
		switch {
		case e.Dir:
			dirs = append(dirs, e.Path)
		case e.Name == ManifestFile:
			manifest = true
		case e.Name == BegunFile:
			begun = true
		}
	}
	if manifest || begun {
		f, is, err := look(ctx, s, dir, manifest)
		if err != nil {
			yield(Found{}, err)
			return false
		}
		if is {
			return yield(f, nil)
		}
	}
	for _, d := range dirs {
		if !list(ctx, s, d, depth+1, yield) {
			return false
		}
	}
	return true
}

// look reads the documents of a folder; is says that they are of a backup.
func look(ctx context.Context, s storage.Service, dir string, manifest bool) (f Found, is bool, err error) {
	f = Found{Dir: dir}
	if manifest {
		f.Manifest, err = Load(ctx, s, dir)
		if d := DamageOf(err); d != nil {
			f.Why = strings.TrimPrefix(d.Path, dir+"/") + ": " + d.Why
			return f, true, nil
		}
		if spec.KindOf(err) == spec.Unable { // somebody else's, or of another version
			f.Why = rootCause(err).Error()
			return f, true, nil
		}
		return f, true, err
	}
	data, err := storage.ReadFile(ctx, s, path.Join(dir, BegunFile), largestBegun)
	if storage.ReasonOf(err) == storage.NoFile {
		return f, false, nil // it was finished in this moment, or removed
	}
	if err != nil {
		return f, false, err
	}
	f.Begun, f.Why = &Begun{}, "it was not finished"
	if err := json.Unmarshal(data, f.Begun); err != nil || f.Begun.Format == 0 || f.Begun.Table == "" {
		return f, false, nil // somebody else's file
	}
	return f, true, nil
}

// Load reads the manifest of a folder. One that is not as it was written, or that cannot be, is a Damage; a folder without
// any is spec.NotFound, and says so where a backup was begun there.
func Load(ctx context.Context, s storage.Service, dir string) (*Manifest, error) {
	name := path.Join(dir, ManifestFile)
	place := storage.Location{Service: s.Name(), Path: dir}
	data, err := storage.ReadFile(ctx, s, name, largestManifest)
	switch storage.ReasonOf(err) {
	case storage.NoFile:
		if there, berr := storage.Exists(ctx, s, path.Join(dir, BegunFile)); berr == nil && there {
			return nil, spec.Errorf(spec.Refused, "the backup in %s is not complete: it has no %s, which is written last", place, ManifestFile).
				WithHint("jobs --all lists the job that was making it: job resume finishes it")
		}
		return nil, spec.Errorf(spec.NotFound, "%s holds no backup", place).WithHint("ls_backup %s:/ finds them", s.Name())
	case storage.Corrupt:
		return nil, damage(s, name, err)
	}
	if err != nil {
		return nil, err
	}
	listed, size, err := readSums(ctx, s, dir)
	if err != nil {
		return nil, err
	}
	if sum := sha(data); sum != listed[ManifestFile] {
		return nil, damaged(s, name, "its SHA-256 is %s, and %s has %s", sum, SumsFile, listed[ManifestFile])
	}
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, damaged(s, name, "it makes no sense: %v", err)
	}
	if m.Format != format {
		return nil, spec.Errorf(spec.Unable, "the backup in %s is of format %d, and this version reads format %d", place, m.Format, format)
	}
	m.sha256, m.sizes = listed[ManifestFile], [2]int64{int64(len(data)), size}
	if err := m.check(listed); err != nil {
		var sums *sumsError
		if errors.As(err, &sums) {
			return nil, damaged(s, path.Join(dir, SumsFile), "%s", sums.why)
		}
		return nil, damaged(s, name, "%v", err)
	}
	return m, nil
}

// readSums reads SHA256SUMS: path to sum, and its own size.
func readSums(ctx context.Context, s storage.Service, dir string) (map[string]string, int64, error) {
	name := path.Join(dir, SumsFile)
	data, err := storage.ReadFile(ctx, s, name, largestManifest)
	if err != nil {
		return nil, 0, damage(s, name, err)
	}
	all := map[string]string{}
	for line := range bytes.Lines(data) {
		sum, file, ok := strings.Cut(string(bytes.TrimSuffix(line, []byte("\n"))), "  ")
		if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != 32 || sum != strings.ToLower(sum) {
			return nil, 0, damaged(s, name, "the line %.100q is none of it", line)
		}
		all[file] = sum
	}
	if all[ManifestFile] == "" {
		return nil, 0, damaged(s, name, "it does not list %s", ManifestFile)
	}
	return all, int64(len(data)), nil
}

// sumsError says that SHA256SUMS is not what the manifest says, though that is as it was written.
type sumsError struct{ why string }

func (e *sumsError) Error() string { return e.why }

// check demands that a manifest makes sense, and lists what the sums list.
func (m *Manifest) check(listed map[string]string) error {
	t := m.Table
	switch {
	case t.Name == "" || len(t.Columns) == 0 || len(m.Indexes) == 0:
		return errors.New("it describes no table")
	case t.Partitions < 1 || t.Partitions > mostPartitions || t.Replicas < 0:
		return fmt.Errorf("a table has no %d partitions of %d replicas", t.Partitions, t.Replicas)
	}
	schema, err := schemaOf(t.Columns)
	if err != nil {
		return err
	}
	columns := map[string]bool{}
	for _, c := range schema.Columns {
		columns[c.Name] = true
	}
	if len(columns) != len(schema.Columns) {
		return errors.New("two columns have one name")
	}
	for _, x := range m.Indexes {
		for _, c := range append(append([]string{x.TimeColumn}, x.Columns...), t.PartitionKey...) {
			if c != "" && !columns[c] {
				return fmt.Errorf("there is no column %q, which a key or time is made of", c)
			}
		}
		for _, p := range x.Own {
			if p < 0 || p >= t.Partitions {
				return fmt.Errorf("index %s has no partition %d", x.Name, p)
			}
		}
	}
	if _, err := newSaved(m); err != nil {
		return err
	}
	return m.checkChunks(listed)
}

func (m *Manifest) checkChunks(listed map[string]string) error {
	type place struct {
		index     string
		partition int
	}
	next := map[place]int{}
	files := 1
	for _, c := range m.Chunks {
		i := m.index(c.Index)
		at := place{c.Index, c.Partition}
		if i < 0 || c.Partition < 0 || c.Partition >= m.Table.Partitions || c.Number != next[at] || c.Rows < 1 {
			return fmt.Errorf("file %d of partition %d of index %s cannot be", c.Number, c.Partition, c.Index)
		}
		next[at]++
		for kind, f := range c.Files {
			if want := chunkPath(c.Index, c.Index != m.ReadBy, kind, c.Partition, c.Number); f.Path != want {
				return fmt.Errorf("the file %s is called %q", want, f.Path)
			}
			if f.Size < 1 || f.Size > largestFile {
				return fmt.Errorf("%s cannot have %d bytes", f.Path, f.Size)
			}
			if listed[f.Path] != f.SHA256 {
				return &sumsError{fmt.Sprintf("it has %q for %s, and %s has %s", listed[f.Path], f.Path, ManifestFile, f.SHA256)}
			}
			files++
		}
	}
	if len(listed) != files {
		return &sumsError{fmt.Sprintf("it lists %d files, and there are %d", len(listed), files)}
	}
	return nil
}

// Sizes compares the files that are there with the manifest, by their sizes only, asking for each folder once. It answers
// a Damage.
func (m *Manifest) Sizes(ctx context.Context, s storage.Service, dir string) error {
	there := map[string]int64{}
	for e, err := range storage.Walk(ctx, s, dir) {
		if err != nil {
			return err
		}
		if !e.Dir {
			there[e.Path] = e.Size
		}
	}
	for _, c := range m.Chunks {
		for _, f := range c.Files {
			name := path.Join(dir, f.Path)
			size, found := there[name]
			switch {
			case !found:
				return damaged(s, name, "it is missing")
			case size != f.Size:
				return damaged(s, name, "it has %d bytes of %d", size, f.Size)
			}
		}
	}
	return nil
}

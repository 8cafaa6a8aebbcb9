package coldbackup

import (
	"context"
	"crypto/md5" // what Pegasus lists in its metadata
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/commands/spec"
)

// Verdict is what became of a file.
type Verdict string

// The verdicts. Unprotected files are well-formed and agree with the others, and nothing tells whether they are as they
// were written.
const (
	OK          Verdict = "ok"
	Damaged     Verdict = "damaged"
	Missing     Verdict = "missing"
	Unprotected Verdict = "unprotected"
)

// Checked is a file that was verified.
type Checked struct {
	Path    string
	Size    int64 // bytes that were read
	Verdict Verdict
	Why     string // "" when it is OK
}

// Verify reads every listed file of the tables of a backup (of all when tables is empty), parallel at once, and calls each
// once with every file, by one goroutine at a time: listed files, then what they come to, then documents. The error is of
// the store, or what each answers.
func Verify(ctx context.Context, s Store, b *Backup, tables []*Table, parallel int, each func(Checked) error) error {
	if len(tables) == 0 {
		tables = b.Tables
	}
	v := verifier{s: s, each: each, bad: map[string]bool{}}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(max(parallel, 1))
	for _, t := range tables {
		for _, p := range t.Partitions {
			if p.Checkpoint == nil {
				continue
			}
			dir := path.Join(p.Dir, p.Folder)
			for _, f := range p.Checkpoint.Files {
				g.Go(func() error {
					c, err := CheckFile(inner, s, dir, f)
					if err != nil {
						return err
					}
					return v.tell(dir, c)
				})
			}
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	problems, err := v.manifests(ctx, tables)
	if err != nil {
		return err
	}
	return v.documents(b, tables, problems)
}

type verifier struct {
	s    Store
	each func(Checked) error
	mu   sync.Mutex
	bad  map[string]bool // files that were told as bad, and the folders they are in
}

func (v *verifier) tell(dir string, c Checked) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.Verdict == Damaged || c.Verdict == Missing {
		v.bad[c.Path], v.bad[dir] = true, true
	}
	return v.each(c)
}

// manifests looks into the partitions whose files are all as they should be.
func (v *verifier) manifests(ctx context.Context, tables []*Table) ([]Problem, error) {
	var all []Problem
	for _, t := range tables {
		for _, p := range t.Partitions {
			if p.Checkpoint == nil || v.bad[path.Join(p.Dir, p.Folder)] {
				continue
			}
			problem, err := p.checkManifest(ctx, v.s)
			if err != nil {
				return nil, err
			}
			if problem.Why != "" {
				all = append(all, problem)
			}
		}
	}
	return all, nil
}

// documents tells what Load has found besides, and which documents nothing protects.
func (v *verifier) documents(b *Backup, tables []*Table, problems []Problem) error {
	problems = append(problems, b.Problems...)
	for _, t := range tables {
		problems = append(problems, (&Backup{Tables: []*Table{t}}).AllProblems(nil)...)
	}
	for _, p := range problems {
		if v.bad[p.Path] {
			continue
		}
		v.bad[p.Path] = true
		c := Checked{Path: p.Path, Verdict: Damaged, Why: p.Why}
		if strings.HasPrefix(p.Why, errMissing.Error()) {
			c.Verdict = Missing
		}
		if err := v.each(c); err != nil {
			return err
		}
	}
	for _, d := range b.Documents {
		if v.bad[d.Path] || !b.concerns(d.Path, tables) {
			continue
		}
		c := Checked{Path: d.Path, Size: d.Size, Verdict: OK}
		switch {
		case d.Stored != "" && d.Stored != d.MD5:
			c.Verdict, c.Why = Damaged, fmt.Sprintf("its MD5 is %s, and the service has %s", d.MD5, d.Stored)
		case d.Stored == "" && !b.SideCar.protects(strings.TrimPrefix(d.Path, b.Dir+"/")):
			c.Verdict, c.Why = Unprotected, "nothing has its checksum"
		}
		if err := v.each(c); err != nil {
			return err
		}
	}
	return nil
}

// concerns reports whether a document is of the backup itself or of one of some tables.
func (b *Backup) concerns(document string, tables []*Table) bool {
	return path.Dir(document) == b.Dir ||
		slices.ContainsFunc(tables, func(t *Table) bool { return strings.HasPrefix(document, t.Dir+"/") })
}

func (c *SideCar) protects(name string) bool {
	return c != nil && slices.ContainsFunc(c.Documents, func(f File) bool { return f.Name == name })
}

// CheckFile reads a listed file of a folder.
func CheckFile(ctx context.Context, s Store, dir string, f File) (Checked, error) {
	c := Checked{Path: path.Join(dir, f.Name), Verdict: OK}
	r, err := s.Open(ctx, c.Path, 0, -1)
	if err != nil {
		if spec.KindOf(err) == spec.NotFound {
			c.Verdict, c.Why = Missing, errMissing.Error()
			return c, nil
		}
		if errors.Is(err, ErrDamaged) {
			c.Verdict, c.Why = Damaged, err.Error()
			return c, nil
		}
		return c, err
	}
	defer r.Close()
	h := md5.New()
	if c.Size, err = io.Copy(h, io.LimitReader(r, f.Size+1)); err != nil {
		return c, err
	}
	got := hex.EncodeToString(h.Sum(nil))
	switch {
	case c.Size > f.Size:
		c.Verdict, c.Why = Damaged, fmt.Sprintf("it has more than %d bytes", f.Size)
	case c.Size != f.Size:
		c.Verdict, c.Why = Damaged, fmt.Sprintf("it has %d bytes instead of %d", c.Size, f.Size)
	case f.MD5 == "":
		c.Verdict, c.Why = Unprotected, "its MD5 is not listed"
	case !strings.EqualFold(got, f.MD5):
		c.Verdict, c.Why = Damaged, fmt.Sprintf("its MD5 is %s instead of %s", got, f.MD5)
	}
	return c, nil
}

// checkManifest makes sure that all files the database consists of are listed. The problem has no Why when they are.
func (p *Partition) checkManifest(ctx context.Context, s Store) (Problem, error) {
	dir := path.Join(p.Dir, p.Folder)
	listed := path.Join(dir, checkpointFile)
	db, err := p.Open(ctx, s)
	var missing *notListed
	switch {
	case errors.As(err, &missing):
		return Problem{listed, missing.Error()}, nil
	case errors.Is(err, rocksdb.ErrCorrupt), errors.Is(err, rocksdb.ErrUnsupported), errors.Is(err, ErrDamaged):
		return Problem{dir, err.Error()}, nil
	case err != nil:
		return Problem{}, err
	}
	names := make(map[string]bool, len(p.Checkpoint.Files))
	for _, f := range p.Checkpoint.Files {
		names[f.Name] = true
	}
	for _, name := range db.Files() {
		if !names[name] {
			return Problem{listed, (&notListed{name}).Error()}, nil
		}
	}
	return Problem{}, nil
}

package rocksdb

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The column families of Pegasus.
const (
	DefaultFamily = "default"
	MetaFamily    = "pegasus_meta_cf"
)

// Family is a column family and its live tables: level 0 first, its newest table first; in deeper levels by key.
type Family struct {
	ID    uint32
	Name  string
	Files []FileMeta
}

// Manifest is the state that a MANIFEST describes.
type Manifest struct {
	Families     []Family // by id
	LastSequence uint64
	NextFile     uint64
}

// Family returns the column family of a name, nil when there is none.
func (m *Manifest) Family(name string) *Family {
	for i := range m.Families {
		if m.Families[i].Name == name {
			return &m.Families[i]
		}
	}
	return nil
}

// TableName is the file name of a table.
func TableName(number uint64) string { return fmt.Sprintf("%06d.sst", number) }

// ParseCurrent returns the name of the MANIFEST that the file CURRENT names.
func ParseCurrent(b []byte) (string, error) {
	name, ok := strings.CutSuffix(string(b), "\n")
	digits, named := strings.CutPrefix(name, "MANIFEST-")
	if !ok || !named || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return "", corruptf("CURRENT names no MANIFEST: %q", b[:min(len(b), 64)])
	}
	return name, nil
}

// state is what the edits so far amount to.
type state struct {
	families  map[uint32]*familyState
	last      uint64
	next      uint64
	seen      bool
	groupLeft uint32
}

type familyState struct {
	name  string
	files map[uint64]FileMeta
}

// ParseManifest plays the edits of a MANIFEST.
func ParseManifest(b []byte) (*Manifest, error) {
	s := state{families: map[uint32]*familyState{0: {DefaultFamily, map[uint64]FileMeta{}}}}
	err := records(b, func(record []byte) error {
		e, err := decodeEdit(record)
		if err != nil {
			return err
		}
		return s.apply(e)
	})
	switch {
	case err != nil:
		return nil, err
	case !s.seen:
		return nil, corruptf("the MANIFEST is empty")
	case s.groupLeft != 0:
		return nil, corruptf("the MANIFEST ends within a group of %d more edits", s.groupLeft)
	}
	return s.manifest()
}

func (s *state) apply(e *edit) error {
	s.seen, s.groupLeft = true, e.groupLeft
	if e.comparator != nil && *e.comparator != Comparator {
		return unsupportedf("keys in the order of %q", *e.comparator)
	}
	if e.lastSeq != nil {
		s.last = *e.lastSeq
	}
	if e.next != nil {
		s.next = *e.next
	}
	f := s.families[e.family]
	if e.addFamily != nil {
		if f != nil && e.family != 0 {
			return corruptf("column family %d is added twice", e.family)
		}
		f = &familyState{*e.addFamily, map[uint64]FileMeta{}}
		s.families[e.family] = f
	}
	if f == nil {
		return corruptf("an edit of column family %d, which there is not", e.family)
	}
	if e.dropFamily {
		if e.family == 0 {
			return corruptf("the default column family is dropped")
		}
		delete(s.families, e.family)
		return nil
	}
	for _, d := range e.deleted {
		if have, ok := f.files[d.number]; !ok || have.Level != d.level {
			return corruptf("table %d is deleted from level %d, where it is not", d.number, d.level)
		}
		delete(f.files, d.number)
	}
	for _, a := range e.added {
		if _, ok := f.files[a.Number]; ok {
			return corruptf("table %d is added twice", a.Number)
		}
		f.files[a.Number] = a
	}
	return nil
}

func (s *state) manifest() (*Manifest, error) {
	m := &Manifest{LastSequence: s.last, NextFile: s.next}
	for id, f := range s.families {
		family := Family{ID: id, Name: f.name}
		for _, file := range f.files {
			family.Files = append(family.Files, file)
		}
		slices.SortFunc(family.Files, compareFiles)
		if err := family.check(); err != nil {
			return nil, err
		}
		m.Families = append(m.Families, family)
	}
	slices.SortFunc(m.Families, func(a, b Family) int { return cmp.Compare(a.ID, b.ID) })
	return m, nil
}

func compareFiles(a, b FileMeta) int {
	if c := cmp.Compare(a.Level, b.Level); c != 0 {
		return c
	}
	if a.Level == 0 {
		return cmp.Or(cmp.Compare(b.LargestSeqno, a.LargestSeqno), cmp.Compare(b.Number, a.Number))
	}
	return cmp.Or(a.Smallest.compare(b.Smallest), cmp.Compare(a.Number, b.Number))
}

// check refuses tables that end before they start, and overlapping ones below level 0.
func (f *Family) check() error {
	for i, file := range f.Files {
		if bytes.Compare(file.Smallest.User, file.Largest.User) > 0 || file.SmallestSeqno > file.LargestSeqno {
			return corruptf("%s: table %d ends before it starts", f.Name, file.Number)
		}
		if i == 0 || file.Level == 0 || f.Files[i-1].Level != file.Level {
			continue
		}
		if last := f.Files[i-1]; last.Largest.compare(file.Smallest) >= 0 {
			return corruptf("%s: tables %d and %d of level %d overlap", f.Name, last.Number, file.Number, file.Level)
		}
	}
	return nil
}

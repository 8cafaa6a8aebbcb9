package tablet

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/RaduBerinde/btreemap"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
)

// snapshot is a file of the rows there were at an offset, and what the manifest says of it. A partition on a disk has it
// in a directory of its own, which is what the store makes of a RocksDB checkpoint.
type snapshot struct {
	name         string // within the snapshot directory; "" when there is none
	path         string // of the file
	count        uint64
	offset, term uint64
	size         int64
}

const (
	snapshotMagic  = "omdbsnp1" // begins a file, and keeps an empty one from being of no length
	snapshotSuffix = ".sdb"
	rowsFile       = "rows" + snapshotSuffix // within the directory of a partition on a disk
)

// snapshotPath is where the file of a snapshot is.
func snapshotPath(dir, name string, mode common.StorageMode) string {
	path := filepath.Join(dir, snapshotDir, name)
	if mode != common.StorageMode_kMemory {
		return filepath.Join(path, rowsFile)
	}
	return path
}

// openSnapshot finds a partition's snapshot by its manifest; none is the zero value.
func openSnapshot(dir string, mode common.StorageMode) (s snapshot, err error) {
	m, found, err := readManifest(dir)
	if err != nil || !found {
		return s, err
	}
	path := snapshotPath(dir, m.GetName(), mode)
	info, err := os.Stat(path)
	if err != nil {
		return s, fmt.Errorf("%w: its manifest names %s: %w", errDamaged, m.GetName(), err)
	}
	return snapshot{m.GetName(), path, m.GetCount(), m.GetOffset(), m.GetTerm(), info.Size()}, nil
}

// read hands on the rows.
func (s *snapshot) read(do func(*entry) error) error {
	if s.name == "" {
		return nil
	}
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	count, err := readSnapshot(f, s.offset, do)
	if err == nil && count != s.count {
		err = fmt.Errorf("%w: it has %d rows of %d", errDamaged, count, s.count)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	return nil
}

// readSnapshot reads a snapshot's file; a row past its offset cannot be in it.
func readSnapshot(r io.Reader, offset uint64, do func(*entry) error) (count uint64, err error) {
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != snapshotMagic {
		return 0, fmt.Errorf("%w: it does not begin as a snapshot", errDamaged)
	}
	for rows := readRecords(r, int64(len(magic))); ; count++ {
		payload, err := rows.next()
		if errors.Is(err, io.EOF) {
			return count, nil
		}
		if err != nil {
			return count, fmt.Errorf("%w: %w", errDamaged, err)
		}
		e, err := parseEntry(payload)
		if err != nil || e.index > offset {
			return count, fmt.Errorf("%w: row %d is none of offset %d", errDamaged, count, offset)
		}
		if err := do(e); err != nil {
			return count, err
		}
	}
}

// writeSnapshot writes the rows and then the manifest, and removes what was before.
func (p *partition) writeSnapshot(rows iter.Seq[*entry], offset, term uint64) (s snapshot, err error) {
	name := p.t.tune.now().Format("20060102150405.000")
	if p.mode == common.StorageMode_kMemory {
		name += snapshotSuffix
	}
	at := filepath.Join(p.dir, snapshotDir)
	name = filepath.Base(unused(filepath.Join(at, name)))
	s = snapshot{name: name, path: snapshotPath(p.dir, name, p.mode), offset: offset, term: term}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return s, err
	}
	if s.count, s.size, err = writeRows(s.path, rows); err != nil {
		return s, errors.Join(err, os.RemoveAll(filepath.Join(at, name)))
	}
	m := &api.Manifest{Offset: &s.offset, Name: &s.name, Count: &s.count, Term: &s.term}
	if err := writeText(filepath.Join(at, manifestFile), m); err != nil {
		return s, err
	}
	files, err := os.ReadDir(at)
	for _, f := range files {
		if f.Name() != name && f.Name() != manifestFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(at, f.Name())))
		}
	}
	if err != nil {
		p.t.c.Log("tablet %s: old snapshots of %s: %v", p.t.c.Endpoint, p.id, err)
	}
	return s, nil
}

func writeRows(path string, rows iter.Seq[*entry]) (count uint64, size int64, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, 0, err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	size = int64(len(snapshotMagic))
	_, err = w.WriteString(snapshotMagic)
	var b []byte
	if rows != nil {
		for e := range rows {
			b, _ = appendRecord(b[:0], e) // it fitted the binlog
			if _, err = w.Write(b); err != nil {
				break
			}
			count++
			size += int64(len(b))
		}
	}
	return count, size, errors.Join(err, w.Flush(), f.Close())
}

// view is an index at one moment.
type view struct {
	idx    uint32
	rows   *btreemap.BTreeMap[place, *entry]
	expiry expiry
}

// views are the ready indexes as they are now. The lock is held for writing: a tree is cloned, lazily.
func (p *partition) views() (all []view) {
	for i, x := range p.indexes {
		if x.state == indexReady {
			e := x.ttl.at(p.t.tune.now(), p.keep)
			if p.keep {
				e = never()
			}
			all = append(all, view{uint32(i), x.rows.Clone(), e})
		}
	}
	return all
}

// rowsUpTo collects the rows of the views that some index has not let expire, by index, as far as an offset. A row keeps
// the dimensions that were not deleted.
func rowsUpTo(views []view, offset uint64) iter.Seq[*entry] {
	kept := map[*entry][]dimension{}
	alive := map[*entry]bool{}
	for _, v := range views {
		var key *keyRows
		newer := uint64(0)
		for at, e := range v.rows.Ascend(btreemap.Min[place](), btreemap.Max[place]()) {
			if at.key != key {
				key, newer = at.key, 0
			}
			if e.index <= offset {
				kept[e] = append(kept[e], dimension{at.key.key, v.idx})
				alive[e] = alive[e] || !v.expiry.expired(at.ts, newer)
			}
			newer++
		}
	}
	rows := make([]*entry, 0, len(alive))
	for e, is := range alive {
		if is {
			rows = append(rows, e)
		}
	}
	slices.SortFunc(rows, func(a, b *entry) int { return cmp.Compare(a.index, b.index) })
	return func(yield func(*entry) bool) {
		for _, e := range rows {
			row := entry{term: e.term, index: e.index, value: e.value, dims: kept[e], ts: e.ts, hasTS: e.hasTS}
			if !yield(&row) {
				return
			}
		}
	}
}

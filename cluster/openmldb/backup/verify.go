package backup

import (
	"context"
	"fmt"
	"path"

	"shardsh/cluster/transfer"
	"shardsh/storage"
)

// Checked is a file that was read and compared.
type Checked struct {
	Path string // relative to the root of the service
	Size int64
	Rows int64  // -1 where it has none to count
	Why  string // what is wrong with it, "" when nothing is
	// Stray says that no document lists it: it harms nothing but LOAD DATA.
	Stray bool
}

// Verify reads every file of a backup, atOnce beside each other, and hands over what it found, in order: size and SHA-256,
// and that the rows can be read, are as many as listed and sum up to what the table had. An error of each ends it.
func Verify(ctx context.Context, s storage.Service, dir string, m *Manifest, atOnce int, each func(Checked) error) error {
	type result struct {
		files [2]Checked
		sums  map[int]Tally // by index
	}
	known := map[string]bool{path.Join(dir, ManifestFile): true, path.Join(dir, SumsFile): true, path.Join(dir, BegunFile): true}
	totals := make([]Tally, len(m.Indexes))
	bad := false
	for r, err := range transfer.InOrder(ctx, len(m.Chunks), atOnce, func(ctx context.Context, i int) (result, error) {
		files, sums, err := verifyChunk(ctx, s, dir, m, m.Chunks[i])
		return result{files, sums}, err
	}) {
		if err != nil {
			return err
		}
		for i, t := range r.sums {
			totals[i].plus(t)
		}
		for _, f := range r.files {
			known[f.Path] = true
			bad = bad || f.Why != ""
			if err := each(f); err != nil {
				return err
			}
		}
	}
	if !bad {
		if err := verifyTotals(dir, m, totals, each); err != nil {
			return err
		}
	}
	return strays(ctx, s, dir, known, each)
}

// verifyTotals compares what the files add up to with what was read from the table.
func verifyTotals(dir string, m *Manifest, totals []Tally, each func(Checked) error) error {
	c := Checked{Path: path.Join(dir, ManifestFile), Size: m.sizes[0], Rows: -1}
	for i, x := range m.Indexes {
		if got := totals[i]; got != (Tally{x.Rows, x.Sum}) {
			c.Why = fmt.Sprintf("index %s had %d rows, and the files have %d, or others", x.Name, x.Rows, got.Rows)
			break
		}
	}
	if err := each(c); err != nil {
		return err
	}
	return each(Checked{Path: path.Join(dir, SumsFile), Size: m.sizes[1], Rows: -1}) // Load has compared it with the manifest
}

// strays hands over files that no document lists.
func strays(ctx context.Context, s storage.Service, dir string, known map[string]bool, each func(Checked) error) error {
	for e, err := range storage.Walk(ctx, s, dir) {
		if err != nil {
			return err
		}
		if e.Dir || known[e.Path] {
			continue
		}
		if err := each(Checked{Path: e.Path, Size: e.Size, Rows: -1, Why: "no document lists it", Stray: true}); err != nil {
			return err
		}
	}
	return nil
}

// verifyChunk compares the two files of a chunk. The error is one of the service.
func verifyChunk(ctx context.Context, s storage.Service, dir string, m *Manifest, c Chunk) (files [2]Checked, sums map[int]Tally, err error) {
	var data [2][]byte
	whole := true
	for i, f := range c.Files {
		files[i] = Checked{Path: path.Join(dir, f.Path), Size: f.Size, Rows: c.Rows}
		data[i], err = readFile(ctx, s, dir, f)
		if d := DamageOf(err); d != nil {
			files[i].Why, files[i].Rows, whole = d.Why, -1, false
		} else if err != nil {
			return files, nil, err
		}
	}
	if !whole {
		return files, nil, nil
	}
	sums, err = sumChunk(m, c, data[rowsKind], data[timesKind])
	if err != nil {
		files[rowsKind].Why = err.Error()
	}
	return files, sums, nil
}

// sumChunk sums what the rows of a chunk are in every index that they are put into.
func sumChunk(m *Manifest, c Chunk, rows, times []byte) (map[int]Tally, error) {
	s, err := newSaved(m)
	if err != nil {
		return nil, err
	}
	sums := map[int]Tally{}
	var buf []byte
	for r, err := range s.chunkRows(c, rows, times) {
		if err != nil {
			return nil, err
		}
		values, err := s.schema.Decode(r.Value)
		if err != nil {
			return nil, err
		}
		entries, err := s.table.Entries(r, values, r.Places.Index)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := s.table.Indexes[e.Index].Name
			for _, in := range r.Places.Names {
				if in == name {
					t := sums[e.Index]
					t.Rows++
					buf = t.Sum.add(buf, e.Key, e.Time, r.Value)
					sums[e.Index] = t
				}
			}
		}
	}
	return sums, nil
}

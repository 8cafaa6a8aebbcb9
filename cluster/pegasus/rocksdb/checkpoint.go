package rocksdb

import (
	"context"
	"fmt"
	"io"
	"strconv"
)

// MetaDataVersion is the key of MetaFamily whose value, in decimal, is the data version of the table; the other keys
// hold the last decree that is in the tables, the end of the last manual compaction (Unix seconds), and the scenario.
const (
	MetaDataVersion   = "pegasus_data_version"
	MetaFlushedDecree = "pegasus_last_flushed_decree"
	MetaCompactFinish = "pegasus_last_manual_compact_finish_time"
	MetaUsageScenario = "rocksdb.usage_scenario"
)

// maxSmallFile bounds CURRENT, and maxManifest the MANIFEST; both are read whole, in bytes.
const (
	maxSmallFile = 4 << 10
	maxManifest  = 1 << 30
)

// Checkpoint is the state of a database at one time: what its MANIFEST says. What was not flushed when the checkpoint
// was made is not in it; Pegasus flushes first.
type Checkpoint struct {
	*Manifest
	// ManifestName is the file that CURRENT names.
	ManifestName string
	source       Source
}

// OpenCheckpoint reads CURRENT and the MANIFEST. Tables are opened when they are needed.
func OpenCheckpoint(ctx context.Context, source Source) (*Checkpoint, error) {
	current, err := readFile(ctx, source, "CURRENT", maxSmallFile)
	if err != nil {
		return nil, err
	}
	name, err := ParseCurrent(current)
	if err != nil {
		return nil, err
	}
	b, err := readFile(ctx, source, name, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Checkpoint{Manifest: m, ManifestName: name, source: source}, nil
}

func readFile(ctx context.Context, source Source, name string, most int64) ([]byte, error) {
	f, err := source.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > most {
		return nil, fmt.Errorf("%s: %w", name, corruptf("%d bytes", f.Size()))
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(b)) != f.Size() {
		return nil, fmt.Errorf("%s: %w", name, corruptf("%d bytes instead of %d", len(b), f.Size()))
	}
	return b, nil
}

// Files are the names of all files that the checkpoint consists of: CURRENT, the MANIFEST and the live tables.
func (c *Checkpoint) Files() []string {
	names := []string{"CURRENT", c.ManifestName}
	for _, family := range c.Families {
		for _, f := range family.Files {
			names = append(names, TableName(f.Number))
		}
	}
	return names
}

// DataVersion is how values are stored: 0 without a time tag, 1 with one. A table of the first release says nothing.
func (c *Checkpoint) DataVersion(ctx context.Context) (int, error) {
	if c.Family(MetaFamily) == nil {
		return 0, nil
	}
	value, found, err := c.Get(ctx, MetaFamily, []byte(MetaDataVersion))
	if err != nil || !found {
		return 0, err
	}
	v, err := strconv.ParseUint(string(value), 10, 32)
	if err != nil || v > 1 {
		return 0, unsupportedf("data version %q", value)
	}
	return int(v), nil
}

// Get returns the latest visible value of a key of a column family. It copies the value.
func (c *Checkpoint) Get(ctx context.Context, family string, key []byte) (value []byte, found bool, err error) {
	end := append(append([]byte(nil), key...), 0)
	it, err := c.NewIterator(ctx, IterOptions{Family: family, Start: key, End: end})
	if err != nil {
		return nil, false, err
	}
	defer it.Close()
	if it.Next() {
		return append([]byte{}, it.Value()...), true, nil
	}
	return nil, false, it.Err()
}

// tableFile is an open table of a checkpoint.
type tableFile struct {
	*Table
	file File
	name string
}

func (c *Checkpoint) openTable(ctx context.Context, meta *FileMeta, readAhead int) (*tableFile, error) {
	name := TableName(meta.Number)
	f, err := c.source.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if f.Size() != meta.Size {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, corruptf("%d bytes instead of the %d of the MANIFEST", f.Size(), meta.Size))
	}
	t, err := OpenTable(f, ReadOptions{ReadAhead: readAhead, LargestSeqno: &meta.LargestSeqno})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &tableFile{t, f, name}, nil
}

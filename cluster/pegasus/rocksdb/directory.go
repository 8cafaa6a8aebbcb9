package rocksdb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// DefaultTargetSize is how large Pegasus lets a table become, in bytes.
const DefaultTargetSize = 64 << 20

// The numbers of the files of a new directory. WALs below logNumber, that is all, are over.
const (
	manifestNumber = 4
	optionsNumber  = 5
	logNumber      = 6
	firstTable     = 7
	// BottomLevel is the last of the six levels that Pegasus configures.
	BottomLevel = 5
)

// DirectoryOptions are how a directory is written.
type DirectoryOptions struct {
	Table      WriterOptions // External, FamilyID and FamilyName are set by the writer
	TargetSize int64         // bytes of a table; 0 is DefaultTargetSize
	Level      int           // of the tables, 1 to BottomLevel; 0 is BottomLevel
	// LastSequence is where the numbers of later changes go on; rows have the number 0, as compaction leaves them.
	LastSequence uint64
	// Meta are the rows of MetaFamily: the Meta… keys, and their values as text.
	Meta map[string]string
}

// DirectoryWriter writes a directory that RocksDB opens as one it wrote itself: CURRENT, MANIFEST, OPTIONS and tables,
// with the column families of Pegasus. CURRENT comes last.
type DirectoryWriter struct {
	ctx     context.Context
	sink    Sink
	options DirectoryOptions
	codec   codec
	rows    *tableSeries
	next    uint64 // number of the next file
	added   []FileMeta
}

// NewDirectoryWriter starts a directory, which should be empty.
func NewDirectoryWriter(ctx context.Context, sink Sink, options DirectoryOptions) (*DirectoryWriter, error) {
	if options.TargetSize <= 0 {
		options.TargetSize = DefaultTargetSize
	}
	if options.Level == 0 {
		options.Level = BottomLevel
	}
	if options.Level < 1 || options.Level > BottomLevel || options.LastSequence > MaxSeqno {
		return nil, fmt.Errorf("level %d, sequence number %d", options.Level, options.LastSequence)
	}
	if err := options.Table.check(); err != nil {
		return nil, err
	}
	d := &DirectoryWriter{ctx: ctx, sink: sink, options: options, next: firstTable}
	d.rows = d.series(0, DefaultFamily)
	return d, nil
}

func (d *DirectoryWriter) series(family uint32, name string) *tableSeries {
	table := d.options.Table
	table.External, table.FamilyID, table.FamilyName = false, family, name
	s := &tableSeries{ctx: d.ctx, sink: d.sink, options: table, target: d.options.TargetSize, codec: &d.codec}
	s.name = func(int) string { return TableName(d.next) }
	s.done = func(meta FileMeta) error {
		meta.Number, meta.Level = d.next, d.options.Level
		d.next++
		d.added = append(d.added, meta)
		return nil
	}
	return s
}

// Put adds a row, its value with the header; keys rise strictly.
func (d *DirectoryWriter) Put(key, value []byte) error {
	return d.rows.add(InternalKey{User: key, Kind: KindValue}, value)
}

// Abort leaves nothing of the table that is being written; what was finished stays.
func (d *DirectoryWriter) Abort() { d.rows.abort() }

// Finish writes the rest and returns all files. After an error CURRENT is not there.
func (d *DirectoryWriter) Finish() ([]WrittenFile, error) {
	if err := d.rows.end(); err != nil {
		return nil, err
	}
	files, data := d.rows.files, d.added
	d.added = nil
	meta := d.series(1, MetaFamily)
	meta.options.Compression, meta.options.BloomHashKeys = Uncompressed, false
	for _, key := range slices.Sorted(maps.Keys(d.options.Meta)) {
		if err := meta.add(InternalKey{User: []byte(key), Kind: KindValue}, []byte(d.options.Meta[key])); err != nil {
			meta.abort()
			return nil, err
		}
	}
	if err := meta.end(); err != nil {
		return nil, err
	}
	files = append(files, meta.files...)
	name := fmt.Sprintf("MANIFEST-%06d", manifestNumber)
	for _, f := range []struct {
		name    string
		content []byte
	}{
		{fmt.Sprintf("OPTIONS-%06d", optionsNumber), []byte(d.optionsFile())},
		{name, d.manifest(data, d.added)},
		{"CURRENT", []byte(name + "\n")},
	} {
		written, err := writeFile(d.ctx, d.sink, f.name, f.content)
		if err != nil {
			return nil, err
		}
		files = append(files, written)
	}
	return files, nil
}

func (d *DirectoryWriter) manifest(data, meta []FileMeta) []byte {
	comparator, family, last := Comparator, MetaFamily, max(d.options.LastSequence, 1)
	log, most := uint64(logNumber), uint32(1)
	var b []byte
	for _, e := range []edit{
		{comparator: &comparator, logNumber: &log, next: &d.next, lastSeq: &last},
		{family: 1, addFamily: &family, comparator: &comparator, logNumber: &log, maxFamily: &most},
		{added: data},
		{family: 1, added: meta},
	} {
		if e.comparator != nil || len(e.added) > 0 {
			b = appendRecord(b, e.encode())
		}
	}
	return b
}

// optionsFile says how Pegasus configures its database. RocksDB takes its defaults for what is not in it; Pegasus opens
// no directory without it.
func (d *DirectoryWriter) optionsFile() string {
	compression := map[Compression]string{
		Uncompressed: "kNoCompression", Snappy: "kSnappyCompression", Zlib: "kZlibCompression", LZ4: "kLZ4Compression", Zstd: "kZSTD",
	}
	var b strings.Builder
	b.WriteString("[Version]\n  rocksdb_version=8.5.3\n  options_file_version=1.1\n\n[DBOptions]\n  create_if_missing=true\n")
	for _, family := range []struct{ name, compression, extractor string }{
		{DefaultFamily, compression[d.options.Table.Compression], "nullptr"},
		{MetaFamily, compression[Uncompressed], "nullptr"},
	} {
		fmt.Fprintf(&b, "\n[CFOptions %q]\n  comparator=%s\n  num_levels=%d\n  target_file_size_base=%d\n  compression=%s\n  prefix_extractor=%s\n",
			family.name, Comparator, BottomLevel+1, d.options.TargetSize, family.compression, family.extractor)
		fmt.Fprintf(&b, "\n[TableOptions/BlockBasedTable %q]\n  format_version=%d\n  block_size=%d\n  checksum=kCRC32c\n  index_type=kBinarySearch\n",
			family.name, d.options.Table.FormatVersion, d.options.Table.BlockSize)
	}
	return b.String()
}

package rocksdb

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"

	"shardsh/cluster/pegasus/wire"
)

// WriterOptions are how a table is written. Start from DefaultWriterOptions.
type WriterOptions struct {
	FormatVersion   int         // 2 to 5
	Compression     Compression // blocks that it does not shrink by an eighth stay as they are
	Checksum        Checksum
	BlockSize       int // bytes of a block of data before compression
	RestartInterval int // entries between two whole keys
	BloomBits       int // bits a key of a full Bloom filter; 0 writes none
	// BloomHashKeys makes the filter one of hash keys, as Pegasus writes it, instead of whole keys.
	BloomHashKeys bool
	// External makes a table to be ingested: all numbers 0, keys that rise strictly, and the properties that say so.
	External bool
	// FamilyID and FamilyName are those of the column family of a table that is not external.
	FamilyID   uint32
	FamilyName string
}

// DefaultWriterOptions are what Pegasus writes: format version 2, LZ4, CRC-32C, blocks of 4 KiB.
func DefaultWriterOptions() WriterOptions {
	return WriterOptions{
		FormatVersion: 2, Compression: LZ4, Checksum: ChecksumCRC32C, BlockSize: 4 << 10, RestartInterval: 16, FamilyName: DefaultFamily,
	}
}

func (o *WriterOptions) check() error {
	switch {
	case o.FormatVersion < 2 || o.FormatVersion > 5:
		return unsupportedf("format version %d", o.FormatVersion)
	case o.Checksum == NoChecksum || o.Checksum > ChecksumXXH3:
		return unsupportedf("%v", o.Checksum)
	case o.BlockSize < 64 || o.BlockSize > 16<<20 || o.RestartInterval < 1 || o.BloomBits < 0 || o.BloomBits > 100:
		return fmt.Errorf("a block of %d bytes, %d entries between whole keys, %d bits in the filter", o.BlockSize, o.RestartInterval, o.BloomBits)
	}
	switch o.Compression {
	case Uncompressed, Snappy, Zlib, LZ4, Zstd:
		return nil
	}
	return unsupportedf("writing %v", o.Compression)
}

// hashKeyExtractor is the name of Pegasus's prefix extractor: a key up to the end of its hash key.
const hashKeyExtractor = "pegasus.HashkeyTransform"

// TableWriter writes one table. The same calls give the same bytes. It holds one block, the index, and four bytes a key
// for the filter.
type TableWriter struct {
	w       io.Writer
	options WriterOptions
	codec   *codec
	offset  uint64
	block   blockWriter
	index   blockWriter
	ranges  []RangeDeletion
	hashes  []uint32
	out     []byte // the block as it is stored
	last    []byte // internal key
	prefix  []byte // last one in the filter
	meta    FileMeta
	counts  tableCounts
	err     error
}

type tableCounts struct {
	entries, blocks, deletions, merges, rawKeys, rawValues, data uint64
}

// NewTableWriter starts a table. Nothing but w is owned by the caller, who flushes and closes it after Finish.
func NewTableWriter(w io.Writer, options WriterOptions) (*TableWriter, error) {
	return newTableWriter(w, options, &codec{})
}

func newTableWriter(w io.Writer, options WriterOptions, c *codec) (*TableWriter, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	t := &TableWriter{w: w, options: options, codec: c}
	t.block.interval, t.index.interval = options.RestartInterval, 1
	return t, nil
}

// Size is how many bytes were written so far, and Entries how many entries were added.
func (t *TableWriter) Size() int64 { return int64(t.offset) }

// Entries is how many entries were added, range deletions included.
func (t *TableWriter) Entries() uint64 { return t.counts.entries }

// Put adds a value with the sequence number 0, as external tables have it.
func (t *TableWriter) Put(key, value []byte) error {
	return t.Add(InternalKey{User: key, Kind: KindValue}, value)
}

// Add adds an entry: by rising keys, the latest change of a key first.
func (t *TableWriter) Add(key InternalKey, value []byte) error {
	if t.err != nil {
		return t.err
	}
	if t.counts.entries > uint64(len(t.ranges)) {
		last, _ := parseInternalKey(t.last)
		if c := key.compare(last); c <= 0 || t.options.External && bytes.Equal(key.User, last.User) {
			return fmt.Errorf("%w: %x after %x", ErrOrder, key.User, last.User)
		}
	}
	if key.Seqno > MaxSeqno || t.options.External && key.Seqno != 0 {
		return fmt.Errorf("sequence number %d in a table", key.Seqno)
	}
	t.last = key.append(t.last[:0])
	t.block.add(t.last, value)
	t.filter(key.User)
	t.count(key, len(value))
	if t.block.size() >= t.options.BlockSize {
		t.flush()
	}
	return t.err
}

// AddRangeDeletion adds the deletion of a range; they may come in any order, at any time before Finish.
func (t *TableWriter) AddRangeDeletion(d RangeDeletion) error {
	if bytes.Compare(d.Start, d.End) >= 0 || d.Seqno > MaxSeqno || t.options.External && d.Seqno != 0 {
		return fmt.Errorf("a range deletion from %x to %x with the number %d", d.Start, d.End, d.Seqno)
	}
	t.ranges = append(t.ranges, RangeDeletion{bytes.Clone(d.Start), bytes.Clone(d.End), d.Seqno})
	t.count(InternalKey{User: d.Start, Seqno: d.Seqno, Kind: KindRangeDelete}, len(d.End))
	end := InternalKey{User: d.End, Seqno: MaxSeqno, Kind: KindRangeDelete}
	if end.compare(t.meta.Largest) > 0 {
		t.meta.Largest = InternalKey{User: bytes.Clone(d.End), Seqno: MaxSeqno, Kind: KindRangeDelete}
	}
	return nil
}

// count keeps the bounds and figures up to date. The largest key of the entries is set by Finish.
func (t *TableWriter) count(key InternalKey, value int) {
	c, m := &t.counts, &t.meta
	if c.entries == 0 {
		m.SmallestSeqno, m.LargestSeqno = key.Seqno, key.Seqno
	}
	if c.entries == 0 || key.compare(m.Smallest) < 0 {
		m.Smallest = InternalKey{User: bytes.Clone(key.User), Seqno: key.Seqno, Kind: key.Kind}
	}
	m.SmallestSeqno, m.LargestSeqno = min(m.SmallestSeqno, key.Seqno), max(m.LargestSeqno, key.Seqno)
	c.entries++
	c.rawKeys += uint64(len(key.User)) + suffixSize
	c.rawValues += uint64(value)
	switch key.Kind {
	case KindDelete, KindSingleDelete, KindRangeDelete:
		c.deletions++
	case KindMerge:
		c.merges++
	}
}

// filter notes a key for the Bloom filter.
func (t *TableWriter) filter(key []byte) {
	switch {
	case t.options.BloomBits == 0:
	case !t.options.BloomHashKeys:
		t.hashes = append(t.hashes, bloomHash(key))
	default:
		hash, _, err := wire.DecodeKey(key)
		if err != nil {
			return
		}
		if prefix := key[:2+len(hash)]; t.hashes == nil || !bytes.Equal(prefix, t.prefix) {
			t.prefix = append(t.prefix[:0], prefix...)
			t.hashes = append(t.hashes, bloomHash(prefix))
		}
	}
}

// flush ends the block of data and enters it into the index under its last key.
func (t *TableWriter) flush() {
	if t.block.empty() || t.err != nil {
		return
	}
	h := t.write(t.block.finish(), t.options.Compression)
	t.block.reset()
	var b [2 * binary.MaxVarintLen64]byte
	t.index.add(t.last, h.append(b[:0]))
	t.counts.blocks++
	t.counts.data = t.offset
}

func (t *TableWriter) write(b []byte, how Compression) handle {
	if t.err != nil {
		return handle{}
	}
	out, how, err := t.codec.compress(t.out[:0], b, how)
	if err != nil {
		t.err = err
		return handle{}
	}
	h := handle{t.offset, uint64(len(out))}
	out = append(out, byte(how))
	t.out = binary.LittleEndian.AppendUint32(out, t.options.Checksum.sum(out))
	t.emit(t.out)
	return h
}

func (t *TableWriter) emit(b []byte) {
	if t.err != nil {
		return
	}
	n, err := t.w.Write(b)
	t.offset += uint64(n)
	t.err = err
}

// Finish writes what follows the data and returns the table as a MANIFEST has it, without number and level.
func (t *TableWriter) Finish() (FileMeta, error) {
	t.flush()
	if !t.index.empty() {
		if last, err := parseInternalKey(bytes.Clone(t.last)); err == nil && (len(t.ranges) == 0 || last.compare(t.meta.Largest) > 0) {
			t.meta.Largest = last
		}
	}
	metaindex := map[string]handle{}
	filterSize := 0
	if t.options.BloomBits > 0 {
		b := bloomFilter(t.hashes, t.options.BloomBits)
		filterSize = len(b)
		metaindex["fullfilter.rocksdb.BuiltinBloomFilter"] = t.write(b, Uncompressed)
	}
	indexBlock := t.index.finish()
	index := t.write(indexBlock, t.options.Compression)
	if len(t.ranges) > 0 {
		metaindex["rocksdb.range_del"] = t.write(t.rangeBlock(), Uncompressed)
	}
	metaindex["rocksdb.properties"] = t.write(t.properties(len(indexBlock), filterSize), Uncompressed)
	meta := blockWriter{interval: 1}
	for _, name := range slices.Sorted(maps.Keys(metaindex)) {
		meta.add([]byte(name), metaindex[name].append(nil))
	}
	f := footer{t.options.Checksum, t.write(meta.finish(), Uncompressed), index, uint32(t.options.FormatVersion)}
	t.emit(f.append(nil))
	t.meta.Size = int64(t.offset)
	return t.meta, t.err
}

func (t *TableWriter) rangeBlock() []byte {
	slices.SortStableFunc(t.ranges, func(a, b RangeDeletion) int {
		return InternalKey{a.Start, a.Seqno, KindRangeDelete}.compare(InternalKey{b.Start, b.Seqno, KindRangeDelete})
	})
	w := blockWriter{interval: 1}
	for _, d := range t.ranges {
		w.add(InternalKey{d.Start, d.Seqno, KindRangeDelete}.append(nil), d.End)
	}
	return w.finish()
}

func (t *TableWriter) properties(indexSize, filterSize int) []byte {
	number := func(v uint64) []byte { return binary.AppendUvarint(nil, v) }
	flag := func(on bool) []byte {
		if on {
			return []byte("1")
		}
		return []byte("0")
	}
	c, bloom := t.counts, t.options.BloomBits > 0
	p := Properties{
		propComparator: []byte(Comparator), propCompression: []byte(t.options.Compression.String()), propDataSize: number(c.data),
		propDataBlocks: number(c.blocks), propDeletedKeys: number(c.deletions), propEntries: number(c.entries),
		propFilterSize: number(uint64(filterSize)), propFormatVersion: number(0), propFixedKey: number(0),
		propIndexSize: number(uint64(indexSize)), propIndexType: make([]byte, 4), propMergeOperands: number(c.merges),
		propPrefixFilter: flag(bloom && t.options.BloomHashKeys), propRangeDeletions: number(uint64(len(t.ranges))),
		propRawKeys: number(c.rawKeys), propRawValues: number(c.rawValues), propWholeFilter: flag(bloom && !t.options.BloomHashKeys),
	}
	if bloom {
		p[propFilterPolicy] = []byte("rocksdb.BuiltinBloomFilter")
		if t.options.BloomHashKeys {
			p[propPrefixName] = []byte(hashKeyExtractor)
		}
	}
	if t.options.External {
		p[propExternal] = binary.LittleEndian.AppendUint32(nil, externalVersion)
		p[propGlobalSeqno] = make([]byte, 8)
	} else {
		p[propFamilyID], p[propFamilyName] = number(uint64(t.options.FamilyID)), []byte(t.options.FamilyName)
	}
	w := blockWriter{interval: 1}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		w.add([]byte(name), p[name])
	}
	return w.finish()
}

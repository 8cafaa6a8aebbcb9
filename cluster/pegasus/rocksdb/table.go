package rocksdb

import (
	"bytes"
	"slices"
)

// RangeDeletion deletes every key from Start up to, and without, End whose change is older than Seqno.
type RangeDeletion struct {
	Start, End []byte
	Seqno      uint64
}

// ReadOptions are how a table is read.
type ReadOptions struct {
	// ReadAhead is how many bytes are asked for at once in a long read; 0 is DefaultReadAhead. An iterator holds about
	// that much, one block, and the index of the table.
	ReadAhead int
	// LargestSeqno is what the MANIFEST has for the table, and for an ingested one the only place where its number is.
	// Nil when there is no MANIFEST.
	LargestSeqno *uint64
}

// Table is one open table. Its iterators may be used by several goroutines, one each.
type Table struct {
	file    File
	footer  footer
	options ReadOptions
	props   Properties
	ranges  []RangeDeletion
	index   []byte // the block of the index, its top when it has two levels
	layout  layout // of the index
	users   bool   // the keys of the index are those of users
	global  *uint64
}

// OpenTable reads the ends of a table: footer, properties, index, range deletions. The caller still owns the file, and
// closes it after the last use of the table.
func OpenTable(f File, options ReadOptions) (*Table, error) {
	if options.ReadAhead <= 0 {
		options.ReadAhead = DefaultReadAhead
	}
	size := f.Size()
	if size < footerSize {
		return nil, corruptf("a table of %d bytes", size)
	}
	b := make([]byte, footerSize)
	if err := readFull(f, b, size-footerSize); err != nil {
		return nil, err
	}
	foot, err := parseFooter(b)
	if err != nil {
		return nil, err
	}
	t := &Table{file: f, footer: foot, options: options}
	var c codec
	defer c.close()
	r := t.reader(&c)
	if err := t.readMeta(r); err != nil {
		return nil, err
	}
	if err := t.settle(); err != nil {
		return nil, err
	}
	index, err := r.read(foot.index)
	if err != nil {
		return nil, err
	}
	if _, err := parseBlock(index); err != nil {
		return nil, err
	}
	t.index = slices.Clone(index)
	return t, nil
}

// Properties are what the table says of itself.
func (t *Table) Properties() Properties { return t.props }

// RangeDeletions are in the order of the file, with the table's own sequence number where it has one.
func (t *Table) RangeDeletions() []RangeDeletion { return t.ranges }

// FormatVersion is 2 to 5.
func (t *Table) FormatVersion() int { return int(t.footer.version) }

// Checksum is how the blocks are protected.
func (t *Table) Checksum() Checksum { return t.footer.checksum }

func (t *Table) reader(c *codec) *blockReader {
	return &blockReader{
		file: t.file, limit: t.file.Size() - footerSize, checksum: t.footer.checksum, most: t.options.ReadAhead, codec: c,
	}
}

// readMeta reads the list of the blocks that are no data, and of those the properties and the range deletions.
func (t *Table) readMeta(r *blockReader) error {
	b, err := r.read(t.footer.metaindex)
	if err != nil {
		return err
	}
	parsed, err := parseBlock(b)
	if err != nil {
		return err
	}
	named := map[string]handle{}
	var it blockIterator
	it.reset(parsed, layout{})
	for it.step() {
		c := cursor{b: it.value}
		named[string(it.key)] = c.handle()
		if c.err != nil {
			return c.err
		}
	}
	if it.err != nil {
		return it.err
	}
	if _, ok := named["rocksdb.compression_dict"]; ok {
		return unsupportedf("a compression dictionary")
	}
	h, ok := named["rocksdb.properties"]
	if !ok {
		return corruptf("the table has no properties")
	}
	if t.props, err = t.readProperties(r, h); err != nil {
		return err
	}
	if h, ok := named["rocksdb.range_del"]; ok {
		return t.readRanges(r, h)
	}
	return nil
}

func (t *Table) readProperties(r *blockReader, h handle) (Properties, error) {
	raw, err := r.raw(h)
	if err != nil {
		return nil, err
	}
	if err := r.verify(raw, h); err != nil {
		original := withoutSeqno(raw)
		if original == nil || r.verify(original, h) != nil {
			return nil, err
		}
	}
	b, err := r.open(raw)
	if err != nil {
		return nil, err
	}
	return parseProperties(b)
}

func (t *Table) readRanges(r *blockReader, h handle) error {
	b, err := r.read(h)
	if err != nil {
		return err
	}
	parsed, err := parseBlock(b)
	if err != nil {
		return err
	}
	var it blockIterator
	it.reset(parsed, layout{})
	for it.step() {
		k, err := parseInternalKey(it.key)
		if err != nil {
			return err
		}
		if k.Kind != KindRangeDelete {
			return corruptf("an entry of kind %#x among the range deletions", uint8(k.Kind))
		}
		if bytes.Compare(k.User, it.value) < 0 {
			t.ranges = append(t.ranges, RangeDeletion{slices.Clone(k.User), slices.Clone(it.value), k.Seqno})
		}
	}
	return it.err
}

// settle draws the consequences of the properties.
func (t *Table) settle() error {
	if c, ok := t.props[propComparator]; ok && string(c) != Comparator {
		return unsupportedf("keys in the order of %q", c)
	}
	if kind := t.props.indexType(); kind > indexFirstKey {
		return unsupportedf("an index of type %d", kind)
	}
	t.layout = layout{deltas: t.props.Number(propIndexDeltas) != 0, firstKeys: t.props.indexType() == indexFirstKey}
	t.users = t.props.Number(propIndexUserKeys) != 0
	if !t.props.External() {
		return nil
	}
	inside, err := t.props.globalSeqno()
	if err != nil {
		return err
	}
	seqno := inside
	if outside := t.options.LargestSeqno; outside != nil {
		if inside != 0 && inside != *outside {
			return corruptf("the table says sequence number %d and its MANIFEST %d", inside, *outside)
		}
		seqno = *outside
	}
	if seqno > MaxSeqno {
		return corruptf("sequence number %d", seqno)
	}
	t.global = &seqno
	for i := range t.ranges {
		t.ranges[i].Seqno = seqno
	}
	return nil
}

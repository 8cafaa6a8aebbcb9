package rocksdb

import (
	"encoding/binary"
	"slices"
)

// The properties that are read or written, by their names in the file. Numbers are variable-length unless another size
// is given.
const (
	propComparator     = "rocksdb.comparator"
	propCompression    = "rocksdb.compression"
	propDataSize       = "rocksdb.data.size"
	propDataBlocks     = "rocksdb.num.data.blocks"
	propDeletedKeys    = "rocksdb.deleted.keys"
	propEntries        = "rocksdb.num.entries"
	propExternal       = "rocksdb.external_sst_file.version" // u32
	propGlobalSeqno    = "rocksdb.external_sst_file.global_seqno"
	propFamilyID       = "rocksdb.column.family.id"
	propFamilyName     = "rocksdb.column.family.name"
	propFilterPolicy   = "rocksdb.filter.policy"
	propFilterSize     = "rocksdb.filter.size"
	propFormatVersion  = "rocksdb.format.version" // 0 in every version of RocksDB: the one that counts is in the footer
	propFixedKey       = "rocksdb.fixed.key.length"
	propIndexDeltas    = "rocksdb.index.value.is.delta.encoded"
	propIndexSize      = "rocksdb.index.size"
	propIndexType      = "rocksdb.block.based.table.index.type" // u32
	propIndexUserKeys  = "rocksdb.index.key.is.user.key"
	propMergeOperands  = "rocksdb.merge.operands"
	propPrefixFilter   = "rocksdb.block.based.table.prefix.filtering"
	propPrefixName     = "rocksdb.prefix.extractor.name"
	propRangeDeletions = "rocksdb.num.range-deletions"
	propRawKeys        = "rocksdb.raw.key.size"
	propRawValues      = "rocksdb.raw.value.size"
	propWholeFilter    = "rocksdb.block.based.table.whole.key.filtering"
)

const (
	externalVersion = 2
	indexTwoLevel   = 2
	indexFirstKey   = 3
)

// Properties are what a table says of itself, by name, as bytes.
type Properties map[string][]byte

// Number returns a variable-length number, 0 when it is missing or is none.
func (p Properties) Number(name string) uint64 {
	v, n := binary.Uvarint(p[name])
	if n <= 0 {
		return 0
	}
	return v
}

// Entries is the number of entries, range deletions included.
func (p Properties) Entries() uint64 { return p.Number(propEntries) }

// External reports whether the table was made to be ingested: then its sequence number may be outside of it.
func (p Properties) External() bool {
	v := p[propExternal]
	return len(v) == 4 && le32(v) >= externalVersion
}

// globalSeqno is the number written into an ingested table, 0 when there is none.
func (p Properties) globalSeqno() (uint64, error) {
	v, ok := p[propGlobalSeqno]
	switch {
	case !ok:
		return 0, nil
	case len(v) != 8:
		return 0, corruptf("%s has %d bytes", propGlobalSeqno, len(v))
	}
	return binary.LittleEndian.Uint64(v), nil
}

func (p Properties) indexType() uint32 {
	if v := p[propIndexType]; len(v) == 4 {
		return le32(v)
	}
	return 0
}

func parseProperties(b []byte) (Properties, error) {
	parsed, err := parseBlock(b)
	if err != nil {
		return nil, err
	}
	p := Properties{}
	var it blockIterator
	it.reset(parsed, layout{})
	for it.step() {
		p[string(it.key)] = slices.Clone(it.value)
	}
	return p, it.err
}

// withoutSeqno returns the block with zeros for the global sequence number: RocksDB writes that into an ingested table
// and leaves the checksum as it was. Nil when the block holds no such property.
func withoutSeqno(raw []byte) []byte {
	parsed, err := parseBlock(raw[:len(raw)-blockTrailer])
	if err != nil {
		return nil
	}
	var it blockIterator
	it.reset(parsed, layout{})
	for it.step() {
		if string(it.key) == propGlobalSeqno && len(it.value) == 8 {
			b := slices.Clone(raw)
			clear(b[it.next-8 : it.next])
			return b
		}
	}
	return nil
}

// Rows is the number of entries that set a key; what deletes is not counted.
func (p Properties) Rows() int64 {
	return max(int64(p.Entries())-int64(p.Number(propDeletedKeys)), 0)
}

package rocksdb

import (
	"encoding/binary"
)

const (
	tableMagic = 0x88e241b785f4cff7
	footerSize = 53 // checksum, two handles padded to 40, version, magic
)

// handle says where a block lies in a file; the trailer is not counted in its size.
type handle struct{ offset, size uint64 }

func (h handle) append(b []byte) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, h.offset), h.size)
}

func (c *cursor) handle() handle { return handle{c.uvarint(), c.uvarint()} }

// within fails when the block and its trailer do not lie in the first limit bytes of the file.
func (h handle) within(limit int64) error {
	if end := uint64(limit) - blockTrailer; limit < blockTrailer || h.offset > end || h.size > end-h.offset {
		return corruptf("a block of %d bytes at %d in %d", h.size, h.offset, limit)
	}
	return nil
}

type footer struct {
	checksum         Checksum
	metaindex, index handle
	version          uint32
}

func (f footer) append(b []byte) []byte {
	start := len(b)
	b = f.index.append(f.metaindex.append(append(b, byte(f.checksum))))
	b = append(b, make([]byte, start+footerSize-12-len(b))...)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(b, f.version), tableMagic)
}

func parseFooter(b []byte) (footer, error) {
	if len(b) != footerSize {
		return footer{}, corruptf("a table of %d bytes", len(b))
	}
	if magic := binary.LittleEndian.Uint64(b[footerSize-8:]); magic != tableMagic {
		return footer{}, corruptf("not a table of RocksDB: it ends with %#x", magic)
	}
	f := footer{checksum: Checksum(b[0]), version: binary.LittleEndian.Uint32(b[footerSize-12:])}
	if f.version < 2 || f.version > 5 {
		return footer{}, unsupportedf("a table of format version %d", f.version)
	}
	if f.checksum > ChecksumXXH3 {
		return footer{}, unsupportedf("%v", f.checksum)
	}
	c := cursor{b: b[1 : footerSize-12]}
	f.metaindex, f.index = c.handle(), c.handle()
	return f, c.err
}

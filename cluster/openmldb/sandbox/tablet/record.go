package tablet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"shardsh/cluster/openmldb/wire"
)

// A record of a binlog or snapshot file, little endian:
//
//	length (4) · checksum of the length (4) · checksum of the payload (4) · payload: a serialized api.LogEntry
//
// Checksums are CRC-32C. The length has one of its own, so that a file that was cut off is told from one that was
// damaged: what a killed process leaves is a true beginning of what it meant to write.

const recordHead = 12

// maxRecord bounds a payload: it came in a frame.
const maxRecord = wire.MaxBody

var (
	// errTorn is a file that ends within a record.
	errTorn = errors.New("it ends within a record")
	// errDamaged is a file whose bytes are not those that were written.
	errDamaged = errors.New("it is damaged")
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendRecord appends the record of an entry. It answers false, and dst as it was, when the entry is too long.
func appendRecord(dst []byte, e *entry) ([]byte, bool) {
	start := len(dst)
	dst = append(dst, make([]byte, recordHead)...)
	dst = appendEntry(dst, e)
	payload := dst[start+recordHead:]
	if len(payload) > maxRecord {
		return dst[:start], false
	}
	head := dst[start : start+recordHead]
	binary.LittleEndian.PutUint32(head, uint32(len(payload)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(head[:4], castagnoli()))
	binary.LittleEndian.PutUint32(head[8:], crc32.Checksum(payload, castagnoli()))
	return dst, true
}

// records reads the records of a file in turn.
type records struct {
	r   *bufio.Reader
	at  int64 // where the next record begins
	buf []byte
}

func readRecords(r io.Reader, at int64) *records {
	return &records{r: bufio.NewReaderSize(r, 64<<10), at: at}
}

// next reads a payload, which is good until the call after. The end of the file is io.EOF between two records and
// errTorn within one.
func (r *records) next() ([]byte, error) {
	var head [recordHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, torn(err)
	}
	length := binary.LittleEndian.Uint32(head[:])
	if crc32.Checksum(head[:4], castagnoli()) != binary.LittleEndian.Uint32(head[4:]) || length > maxRecord {
		return nil, fmt.Errorf("%w: the record at %d has no head", errDamaged, r.at)
	}
	if err := r.read(int(length)); err != nil {
		return nil, torn(err)
	}
	if crc32.Checksum(r.buf, castagnoli()) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, fmt.Errorf("%w: the record at %d has another checksum", errDamaged, r.at)
	}
	r.at += recordHead + int64(length)
	return r.buf, nil
}

// read fills buf with n bytes, growing with what is really there.
func (r *records) read(n int) error {
	const step = 64 << 10
	r.buf = r.buf[:0]
	for len(r.buf) < n {
		from := len(r.buf)
		more := min(n-from, max(step, from))
		if cap(r.buf) < from+more {
			r.buf = append(r.buf, make([]byte, more)...)
		}
		r.buf = r.buf[:from+more]
		if _, err := io.ReadFull(r.r, r.buf[from:]); err != nil {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

func torn(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errTorn
	}
	return err
}

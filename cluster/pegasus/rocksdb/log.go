package rocksdb

import (
	"encoding/binary"
	"hash/crc32"
)

// The MANIFEST is a log: blocks of 32 KiB of pieces, each with a header of seven bytes (checksum u32, length u16, kind).
// A record is one piece, or a first, middle ones and a last. No piece crosses the end of a block, and what is too short
// there for a header is zeros.
const (
	logBlock  = 32 << 10
	logHeader = 7

	pieceZero   = 0 // space set aside and never written
	pieceFull   = 1
	pieceFirst  = 2
	pieceMiddle = 3
	pieceLast   = 4
)

// records calls f with each record of a log, which is valid during the call. A record that is not there whole is
// corruption: a checkpoint ends with a whole one.
func records(log []byte, f func(record []byte) error) error {
	var record []byte
	inside := false
	for at := 0; at < len(log); {
		left := logBlock - at%logBlock
		if left < logHeader {
			at += left
			continue
		}
		if left = min(left, len(log)-at); left < logHeader {
			return corruptf("the log ends within the header of a record at %d", at)
		}
		head := log[at : at+logHeader]
		size, kind := int(binary.LittleEndian.Uint16(head[4:])), head[6]
		if kind == pieceZero && size == 0 {
			at += left
			continue
		}
		if size > left-logHeader {
			return corruptf("the log ends within a record at %d", at)
		}
		body := log[at+logHeader : at+logHeader+size]
		if got := maskCRC(crc32.Checksum(log[at+6:at+logHeader+size], castagnoli)); got != le32(head) {
			return corruptf("the checksum of the record at %d is %08x instead of %08x", at, got, le32(head))
		}
		if kind > pieceLast || inside != (kind == pieceMiddle || kind == pieceLast) {
			return corruptf("a piece of kind %d in the log at %d", kind, at)
		}
		if kind == pieceFull || kind == pieceFirst {
			record = record[:0]
		}
		record = append(record, body...)
		inside = kind == pieceFirst || kind == pieceMiddle
		at += logHeader + size
		if inside {
			continue
		}
		if err := f(record); err != nil {
			return err
		}
	}
	if inside {
		return corruptf("the log ends within a record")
	}
	return nil
}

// appendRecord adds a record to a log that is written from its start.
func appendRecord(log, record []byte) []byte {
	for first := true; ; first = false {
		left := logBlock - len(log)%logBlock
		if left < logHeader {
			log = append(log, make([]byte, left)...)
			left = logBlock
		}
		n := min(len(record), left-logHeader)
		last := n == len(record)
		kind := byte(pieceMiddle)
		switch {
		case first && last:
			kind = pieceFull
		case first:
			kind = pieceFirst
		case last:
			kind = pieceLast
		}
		crc := crc32.Update(crc32.Checksum([]byte{kind}, castagnoli), castagnoli, record[:n])
		log = binary.LittleEndian.AppendUint32(log, maskCRC(crc))
		log = append(binary.LittleEndian.AppendUint16(log, uint16(n)), kind)
		log = append(log, record[:n]...)
		if last {
			return log
		}
		record = record[n:]
	}
}

package wire

import (
	"encoding/binary"
	"fmt"
)

// Pair is a row with its time, as Scan and Traverse answer them; Key is only in those of Traverse. Row aliases the
// bytes it came in.
type Pair struct {
	Key  string
	Time uint64 // milliseconds
	Row  []byte
}

// AppendScanPair appends a pair of Scan: length, time, row. The length counts the time too.
func AppendScanPair(dst []byte, time uint64, row []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(8+len(row)))
	dst = binary.LittleEndian.AppendUint64(dst, time)
	return append(dst, row...)
}

// ScanPairs reads the pairs of Scan.
func ScanPairs(b []byte) ([]Pair, error) {
	var all []Pair
	for len(b) > 0 {
		if len(b) < 12 {
			return nil, fmt.Errorf("a pair is cut off after %d bytes", len(b))
		}
		n := uint64(binary.LittleEndian.Uint32(b))
		if n < 8 || n > uint64(len(b)-4) {
			return nil, fmt.Errorf("a pair of %d bytes in %d", n, len(b))
		}
		all = append(all, Pair{Time: binary.LittleEndian.Uint64(b[4:]), Row: b[12 : 4+n]})
		b = b[4+n:]
	}
	return all, nil
}

// AppendTraversePair appends a pair of Traverse: total, key length, time, key, row. The total counts the time, the key
// and the row.
func AppendTraversePair(dst []byte, p Pair) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(8+len(p.Key)+len(p.Row)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(p.Key)))
	dst = binary.LittleEndian.AppendUint64(dst, p.Time)
	dst = append(dst, p.Key...)
	return append(dst, p.Row...)
}

// TraversePairs reads the pairs of Traverse.
func TraversePairs(b []byte) ([]Pair, error) {
	var all []Pair
	for len(b) > 0 {
		if len(b) < 16 {
			return nil, fmt.Errorf("a pair is cut off after %d bytes", len(b))
		}
		total, key := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
		if total > uint64(len(b)-8) || total < 8 || key > total-8 {
			return nil, fmt.Errorf("a pair of %d bytes with a key of %d in %d", total, key, len(b))
		}
		all = append(all, Pair{
			Key: string(b[16 : 16+key]), Time: binary.LittleEndian.Uint64(b[8:]), Row: b[16+key : 8+total],
		})
		b = b[8+total:]
	}
	return all, nil
}

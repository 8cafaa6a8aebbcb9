package wire

import "encoding/binary"

// Rows are what travels most, so they are written and read by hand; the table of fields stays for what does not look as
// servers and clients write it.

// rowFrame is what a row takes besides its key and value: two fields with their lengths, the expiry, and the end.
const rowFrame = 3 + 4 + 3 + 4 + 7 + 1

// roomForRows is what a list of rows takes.
func roomForRows(rows []KeyValue) int {
	n := 3 + 5
	for i := range rows {
		n += rowFrame + len(rows[i].Key) + len(rows[i].Value)
	}
	return n
}

func appendRow(b, key, value []byte, expire int32) []byte {
	b = append(b, byte(kindStruct), 0, 1)
	b = append(appendI32(b, int32(len(key))), key...)
	b = append(b, byte(kindStruct), 0, 2)
	b = append(appendI32(b, int32(len(value))), value...)
	if expire != 0 {
		b = appendI32(append(b, byte(kindI32), 0, 3), expire)
	}
	return append(b, byte(kindStop))
}

func writeRow(b []byte, m *KeyValue) []byte { return appendRow(b, m.Key, m.Value, m.ExpireTS) }

// readRow reads a row whose fields come in their order and each once, and leaves any other to the table.
func readRow(d *decoder, m *KeyValue) {
	if d.err != nil {
		return
	}
	b := d.buf[d.off:]
	key, n := blobField(b, 1)
	if n == 0 {
		rowFields.read(d, m)
		return
	}
	value, k := blobField(b[n:], 2)
	expire, end := int32(0), n+k
	if k > 0 && len(b) >= end+7 && b[end] == byte(kindI32) && b[end+1] == 0 && b[end+2] == 3 {
		expire = int32(binary.BigEndian.Uint32(b[end+3:]))
		end += 7
	}
	if k == 0 || len(b) <= end || b[end] != byte(kindStop) {
		rowFields.read(d, m)
		return
	}
	m.Key, m.Value, m.ExpireTS = key, value, expire
	d.off += end + 1
}

// blobField reads a field that is a blob and answers how many bytes it took, 0 when that is not what stands there.
func blobField(b []byte, id byte) (blob []byte, n int) {
	if len(b) < 7 || b[0] != byte(kindStruct) || b[1] != 0 || b[2] != id {
		return nil, 0
	}
	size := binary.BigEndian.Uint32(b[3:])
	if uint64(size) > uint64(len(b)-7) {
		return nil, 0
	}
	end := 7 + int(size)
	return b[7:end:end], end
}

// RowBuffer collects the rows of an answer as they are written, so that they need not be kept until then.
type RowBuffer struct {
	Bytes []byte // the memory it appends to; empty at first
	count int32
}

// Add copies a row into the buffer.
func (b *RowBuffer) Add(key, value []byte, expire int32) {
	b.Bytes = appendRow(b.Bytes, key, value, expire)
	b.count++
}

func (b *RowBuffer) write(out []byte) []byte {
	out = appendI32(append(out, byte(kindStruct)), b.count)
	return append(out, b.Bytes...)
}

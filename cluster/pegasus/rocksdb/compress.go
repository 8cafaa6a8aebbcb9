package rocksdb

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compression is how the blocks of a table are compressed; the numbers are those behind each block.
type Compression uint8

// The compressions that are read and written. LZ4HC reads like LZ4 and is not written.
const (
	Uncompressed Compression = 0
	Snappy       Compression = 1
	Zlib         Compression = 2
	LZ4          Compression = 4
	LZ4HC        Compression = 5
	Zstd         Compression = 7
)

// compressionNames are the names of the property rocksdb.compression.
var compressionNames = [...]string{
	Uncompressed: "NoCompression", Snappy: "Snappy", Zlib: "Zlib", 3: "BZip2", LZ4: "LZ4", LZ4HC: "LZ4HC", 6: "Xpress", Zstd: "ZSTD",
}

func (c Compression) String() string {
	if int(c) < len(compressionNames) {
		return compressionNames[c]
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

const (
	// maxBlock is the size beyond which no block is believed, in bytes: Pegasus takes values of a few MiB, and the index
	// of a table of 5 GB in blocks of 4 KiB stays below it.
	maxBlock = 128 << 20
	// blockTrailer is what follows each block: the byte of its compression and four of checksum.
	blockTrailer = 5
)

// codec compresses and decompresses blocks, one at a time. Its zero value is ready.
type codec struct {
	inflate  io.ReadCloser
	zstdIn   *zstd.Decoder
	zstdOut  *zstd.Encoder
	deflate  *flate.Writer
	lz4Out   lz4.Compressor
	deflated bytes.Buffer
}

// close gives back what the decoder of Zstd holds.
func (c *codec) close() {
	if c.zstdIn != nil {
		c.zstdIn.Close()
		c.zstdIn = nil
	}
}

// most is the longest output a block of n bytes can have, for the formats where that is less than maxBlock. Each copy of
// Snappy makes at most 64 bytes of 2, each byte of an LZ4 length 255, each two bits of Deflate 258.
func (c Compression) most(n uint64) uint64 {
	switch c {
	case Snappy:
		return 32*n + 64
	case LZ4, LZ4HC:
		return 255*n + 64
	case Zlib:
		return 1032*n + 258
	}
	return maxBlock
}

// decompress returns what a block holds, in dst when it fits. The result of Uncompressed is src itself.
func (c *codec) decompress(dst, src []byte, how Compression) ([]byte, error) {
	var size uint64
	switch how {
	case Uncompressed:
		return src, nil
	case Snappy:
		n, err := snappy.DecodedLen(src)
		if err != nil {
			return nil, corruptf("Snappy: %w", err)
		}
		size = uint64(n)
	case Zlib, LZ4, LZ4HC, Zstd:
		n, used := binary.Uvarint(src)
		if used <= 0 {
			return nil, corruptf("a %v block without its size", how)
		}
		size, src = n, src[used:]
	default:
		return nil, unsupportedf("%v", how)
	}
	// No block is empty: it has at least the number of its restarts. The decoder of LZ4 could not take one.
	if size == 0 || size > maxBlock || size > how.most(uint64(len(src))) {
		return nil, corruptf("a %v block of %d bytes claims to be %d", how, len(src), size)
	}
	out, err := c.expand(dst[:0], src, how, int(size))
	if err != nil {
		return nil, corruptf("%v: %w", how, err)
	}
	if len(out) != int(size) {
		return nil, corruptf("%v: %d bytes instead of %d", how, len(out), size)
	}
	return out, nil
}

func (c *codec) expand(dst, src []byte, how Compression, size int) ([]byte, error) {
	if how == Zstd {
		return c.expandZstd(dst, src, size)
	}
	if cap(dst) < size {
		dst = make([]byte, size)
	}
	dst = dst[:size]
	switch how {
	case Snappy:
		return snappy.Decode(dst, src)
	case Zlib:
		return c.expandZlib(dst, src)
	default:
		n, err := lz4.UncompressBlock(src, dst)
		return dst[:max(n, 0)], err
	}
}

func (c *codec) expandZlib(dst, src []byte) ([]byte, error) {
	in := bytes.NewReader(src)
	if c.inflate == nil {
		c.inflate = flate.NewReader(in)
	} else if err := c.inflate.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c.inflate, dst); err != nil {
		return nil, err
	}
	if n, err := c.inflate.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return nil, errors.New("more bytes than it claims")
	}
	return dst, nil
}

// expandZstd trusts no claimed size above 1 MiB: a few bytes of Zstd may rightly stand for very many, so the output then
// grows with what is really decoded.
func (c *codec) expandZstd(dst, src []byte, size int) ([]byte, error) {
	if c.zstdIn == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxBlock))
		if err != nil {
			return nil, err
		}
		c.zstdIn = d
	}
	if size > 1<<20 {
		return c.streamZstd(dst, src, size)
	}
	if cap(dst) < size {
		dst = make([]byte, 0, size)
	}
	var head zstd.Header
	if err := head.Decode(src); err != nil {
		return nil, err
	}
	if head.HasFCS && head.FrameContentSize != uint64(size) {
		return nil, fmt.Errorf("a frame of %d bytes instead of %d", head.FrameContentSize, size)
	}
	return c.zstdIn.DecodeAll(src, dst)
}

func (c *codec) streamZstd(dst, src []byte, size int) ([]byte, error) {
	if err := c.zstdIn.Reset(bytes.NewReader(src)); err != nil {
		return nil, err
	}
	out := bytes.NewBuffer(dst)
	_, err := io.Copy(out, io.LimitReader(c.zstdIn, int64(size)+1))
	return out.Bytes(), err
}

// compress appends the block as it is stored, and says how: what does not shrink by an eighth stays as it is, as in
// RocksDB. The same input gives the same output, whatever was compressed before.
func (c *codec) compress(dst, src []byte, how Compression) ([]byte, Compression, error) {
	start := len(dst)
	out, err := c.shrink(dst, src, how)
	if err != nil {
		return nil, 0, fmt.Errorf("%v: %w", how, err)
	}
	if how == Uncompressed || len(out)-start == 0 || len(out)-start >= len(src)-len(src)/8 {
		return append(out[:start], src...), Uncompressed, nil
	}
	return out, how, nil
}

func (c *codec) shrink(dst, src []byte, how Compression) ([]byte, error) {
	start := len(dst)
	switch how {
	case Uncompressed:
		return dst, nil
	case Snappy:
		most := snappy.MaxEncodedLen(len(src))
		if most < 0 {
			return dst, nil
		}
		dst = append(dst, make([]byte, most)...)
		return dst[:start+len(snappy.Encode(dst[start:], src))], nil
	case Zlib, LZ4, Zstd:
		dst = binary.AppendUvarint(dst, uint64(len(src)))
	default:
		return nil, ErrUnsupported
	}
	switch how {
	case LZ4:
		return c.shrinkLZ4(dst, src, start)
	case Zlib:
		return c.shrinkZlib(dst, src)
	}
	if c.zstdOut == nil {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
		if err != nil {
			return nil, err
		}
		c.zstdOut = e
	}
	return c.zstdOut.EncodeAll(src, dst), nil
}

func (c *codec) shrinkLZ4(dst, src []byte, start int) ([]byte, error) {
	head := len(dst)
	dst = append(dst, make([]byte, lz4.CompressBlockBound(len(src)))...)
	n, err := c.lz4Out.CompressBlock(src, dst[head:])
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return dst[:start], nil
	}
	return dst[:head+n], nil
}

func (c *codec) shrinkZlib(dst, src []byte) ([]byte, error) {
	c.deflated.Reset()
	if c.deflate == nil {
		w, err := flate.NewWriter(&c.deflated, flate.DefaultCompression)
		if err != nil {
			return nil, err
		}
		c.deflate = w
	} else {
		c.deflate.Reset(&c.deflated)
	}
	if _, err := c.deflate.Write(src); err != nil {
		return nil, err
	}
	if err := c.deflate.Close(); err != nil {
		return nil, err
	}
	return append(dst, c.deflated.Bytes()...), nil
}

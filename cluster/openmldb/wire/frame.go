// Package wire is what OpenMLDB puts into bytes: the frames of brpc's baidu_std protocol, rows, the pairs of scans, and
// the hash that places a key. The messages themselves are in package pb. Whatever comes from the network is bounded
// before it is believed.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/brpc"
)

// Magic begins every frame.
const Magic = "PRPC"

// HeadSize is the length of what stands before the meta: magic, body size, meta size, the sizes big endian.
const HeadSize = 12

// MaxBody bounds a frame's body, as brpc's max_body_size does by default.
const MaxBody = 64 << 20

// ErrFrame is what a stream that is no baidu_std ends in.
var ErrFrame = errors.New("not a baidu_std frame")

// Frame is one request or answer. Payload and Attachment alias the bytes it came in.
type Frame struct {
	Meta       *brpc.RpcMeta
	Payload    []byte
	Attachment []byte
}

// AppendFrame appends a frame. The meta's attachment size is set; body may be nil for none.
func AppendFrame(dst []byte, meta *brpc.RpcMeta, body proto.Message, attachment []byte) ([]byte, error) {
	if len(attachment) > 0 {
		meta.AttachmentSize = proto.Int32(int32(len(attachment)))
	}
	start := len(dst)
	dst = append(dst, Magic...)
	dst = append(dst, make([]byte, HeadSize-len(Magic))...)
	var err error
	options := proto.MarshalOptions{}
	if dst, err = options.MarshalAppend(dst, meta); err != nil {
		return dst[:start], err
	}
	metaSize := len(dst) - start - HeadSize
	if body != nil {
		if dst, err = options.MarshalAppend(dst, body); err != nil {
			return dst[:start], err
		}
	}
	dst = append(dst, attachment...)
	bodySize := len(dst) - start - HeadSize
	if bodySize > MaxBody {
		return dst[:start], fmt.Errorf("a frame of %d bytes is longer than %d", bodySize, MaxBody)
	}
	binary.BigEndian.PutUint32(dst[start+4:], uint32(bodySize))
	binary.BigEndian.PutUint32(dst[start+8:], uint32(metaSize))
	return dst, nil
}

// ReadFrame reads a frame. A stream that ends between frames is io.EOF.
func ReadFrame(r io.Reader) (*Frame, error) {
	var head [HeadSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends in its head", ErrFrame)
		}
		return nil, err
	}
	bodySize, metaSize := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
	switch {
	case string(head[:4]) != Magic:
		return nil, fmt.Errorf("%w: it begins with %q", ErrFrame, head[:4])
	case bodySize > MaxBody:
		return nil, fmt.Errorf("%w: a body of %d bytes", ErrFrame, bodySize)
	case metaSize > bodySize:
		return nil, fmt.Errorf("%w: a meta of %d bytes in a body of %d", ErrFrame, metaSize, bodySize)
	}
	body, err := readBounded(r, int(bodySize))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return parseBody(body, int(metaSize))
}

// readBounded reads n bytes, growing with what really comes: a head may promise 64 MiB and bring nothing.
func readBounded(r io.Reader, n int) ([]byte, error) {
	const step = 1 << 20
	body := make([]byte, 0, min(n, step))
	for len(body) < n {
		from := len(body)
		body = append(body, make([]byte, min(n-from, max(step, from)))...)
		if _, err := io.ReadFull(r, body[from:]); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
	}
	return body, nil
}

func parseBody(body []byte, metaSize int) (*Frame, error) {
	f := &Frame{Meta: &brpc.RpcMeta{}}
	if err := proto.Unmarshal(body[:metaSize], f.Meta); err != nil {
		return nil, fmt.Errorf("%w: its meta: %w", ErrFrame, err)
	}
	rest := body[metaSize:]
	attached := int(f.Meta.GetAttachmentSize())
	if attached < 0 || attached > len(rest) {
		return nil, fmt.Errorf("%w: an attachment of %d bytes in %d", ErrFrame, attached, len(rest))
	}
	if f.Meta.GetCompressType() != 0 {
		return nil, fmt.Errorf("%w: it is compressed (type %d), which no OpenMLDB does", ErrFrame, f.Meta.GetCompressType())
	}
	f.Payload, f.Attachment = rest[:len(rest)-attached:len(rest)-attached], rest[len(rest)-attached:]
	return f, nil
}

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Errors of frames. A server closes the connection on any of them, without an answer. They come wrapped with what was
// found: test with errors.Is.
var (
	ErrMagic       = errors.New("not a request")
	ErrLength      = errors.New("impossible length")
	ErrVersion     = errors.New("unknown header version")
	ErrMessageType = errors.New("unexpected message type")
)

const (
	magic       = "THFT"
	headerV0    = 48
	headerV1    = 16
	maxMeta     = 64 << 10 // a version 1 meta struct takes under 64 bytes
	firstChunk  = 64 << 10 // read before an announced length is believed
	strictMark  = 0x80010000
	messageCall = 1
	messageBack = 2
	messageOne  = 4
)

// Header is what a request says about its target. Servers route by GPID, not by what the arguments say.
type Header struct {
	Version uint32 // 0, or 1 as the Java client writes it
	GPID    GPID   // 0.0 for metas and for calls to a node as such
	// TimeoutMillis is how long the client waits; servers drop a queued request after it.
	TimeoutMillis int32
	ThreadHash    int32
	PartitionHash uint64
	Backup        bool // a read that a secondary may answer; version 1 only
}

// Request is a decoded request whose arguments are still encoded (RPC.DecodeArgs).
type Request struct {
	Header
	Name   string
	Seq    int32
	OneWay bool // marked as such by the client: no answer is expected
	Args   []byte
	RDSN   *RDSN // of a request in that framing, else nil
}

// metaV1 is the struct behind a version 1 header.
type metaV1 struct {
	app, partition, timeout *int32
	hash                    *int64
	backup                  *bool
}

var metaV1Type = structOf("request_meta",
	ptr(1, "app_id", i32Type, func(m *metaV1) **int32 { return &m.app }),
	ptr(2, "partition_index", i32Type, func(m *metaV1) **int32 { return &m.partition }),
	ptr(3, "client_timeout", i32Type, func(m *metaV1) **int32 { return &m.timeout }),
	ptr(4, "client_partition_hash", i64Type, func(m *metaV1) **int64 { return &m.hash }),
	ptr(5, "is_backup_request", boolType, func(m *metaV1) **bool { return &m.backup }),
)

// appendHeader writes a header whose body length is set afterwards by sealRequest.
func appendHeader(b []byte, h Header) []byte {
	if h.Version == 1 {
		b = append(append(b, magic...), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)
		start := len(b)
		hash := int64(h.PartitionHash)
		b = metaV1Type.write(b, &metaV1{&h.GPID.App, &h.GPID.Partition, &h.TimeoutMillis, &hash, &h.Backup})
		binary.BigEndian.PutUint32(b[start-8:], uint32(len(b)-start))
		return b
	}
	b = append(append(b, magic...), 0, 0, 0, 0, 0, 0, 0, headerV0)
	b = append(b, make([]byte, 12)...)
	b = appendI32(appendI32(b, h.GPID.App), h.GPID.Partition)
	b = appendI32(appendI32(b, h.TimeoutMillis), h.ThreadHash)
	return binary.BigEndian.AppendUint64(b, h.PartitionHash)
}

// sealRequest sets the body length of the request that starts at start and whose body starts at body.
func sealRequest(b []byte, version uint32, start, body int) {
	at := start + 16
	if version == 1 {
		at = start + 12
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-body))
}

// ReadRequest reads one request of any framing (THFT of either version, or RDSN). io.EOF alone means that the peer closed between requests. Memory grows with the
// bytes that really come, never with what a length announces; the result owns its bytes.
func ReadRequest(r io.Reader) (*Request, error) {
	var head [headerV0]byte
	if err := readHead(r, head[:4]); err != nil {
		return nil, err
	}
	switch string(head[:4]) {
	case magic:
	case magicRDSN:
		return readRDSN(r)
	default:
		return nil, fmt.Errorf("%w: it starts with %q", ErrMagic, head[:4])
	}
	if err := readRest(r, head[4:8]); err != nil {
		return nil, err
	}
	var body []byte
	var h Header
	var err error
	switch version := binary.BigEndian.Uint32(head[4:]); version {
	case 0:
		body, err = readV0(r, &head, &h)
	case 1:
		body, err = readV1(r, &head, &h)
	default:
		return nil, fmt.Errorf("%w: %d", ErrVersion, version)
	}
	if err != nil {
		return nil, err
	}
	q := &Request{Header: h}
	d := newDecoder(body)
	kind := d.message(&q.Name, &q.Seq)
	if d.err != nil {
		return nil, fmt.Errorf("message begin: %w", d.err)
	}
	if kind != messageCall && kind != messageOne {
		return nil, fmt.Errorf("%w: %d in a request", ErrMessageType, kind)
	}
	q.OneWay, q.Args = kind == messageOne, d.buf[d.off:]
	return q, nil
}

func readV0(r io.Reader, head *[headerV0]byte, h *Header) ([]byte, error) {
	if err := readRest(r, head[8:12]); err != nil {
		return nil, err
	}
	if n := binary.BigEndian.Uint32(head[8:]); n != headerV0 {
		return nil, fmt.Errorf("%w: a header of %d bytes", ErrLength, n)
	}
	if err := readRest(r, head[12:]); err != nil {
		return nil, err
	}
	d := newDecoder(head[24:])
	h.GPID = GPID{App: d.i32(), Partition: d.i32()}
	h.TimeoutMillis, h.ThreadHash, h.PartitionHash = d.i32(), d.i32(), uint64(d.i64())
	return readBody(r, binary.BigEndian.Uint32(head[16:]), MaxFrame)
}

func readV1(r io.Reader, head *[headerV0]byte, h *Header) ([]byte, error) {
	if err := readRest(r, head[8:headerV1]); err != nil {
		return nil, err
	}
	encoded, err := readBody(r, binary.BigEndian.Uint32(head[8:]), maxMeta)
	if err != nil {
		return nil, err
	}
	var app, partition, timeout int32
	var hash int64
	meta := metaV1{app: &app, partition: &partition, timeout: &timeout, hash: &hash, backup: new(bool)}
	if err := metaV1Type.Decode(encoded, &meta); err != nil {
		return nil, err
	}
	*h = Header{
		Version: 1, GPID: GPID{*meta.app, *meta.partition}, TimeoutMillis: *meta.timeout,
		PartitionHash: uint64(*meta.hash), Backup: *meta.backup,
	}
	h.ThreadHash = h.GPID.ThreadHash()
	return readBody(r, binary.BigEndian.Uint32(head[12:]), MaxFrame)
}

// Reply is a decoded response whose result is still encoded (RPC.DecodeResult).
type Reply struct {
	Code string // "ERR_OK", or why the server rejected the request; then there is no result
	Name string // the request's name with _ACK behind it
	Seq  int32
	Body []byte
}

// OK reports whether the request was not rejected as a whole.
func (r *Reply) OK() bool { return r.Code == OK }

// ReadReply reads one response. io.EOF alone means that the peer closed between responses; any other error means that
// the stream is lost. Memory grows with the bytes that really come. The Body owns its bytes: blobs decoded from it
// keep it alive.
func ReadReply(r io.Reader) (Reply, error) {
	var head [4]byte
	if err := readHead(r, head[:]); err != nil {
		return Reply{}, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 4 || n > MaxFrame {
		return Reply{}, fmt.Errorf("%w: a response of %d bytes", ErrLength, n)
	}
	body, err := readBody(r, n-4, MaxFrame)
	if err != nil {
		return Reply{}, err
	}
	d := newDecoder(body)
	reply := Reply{Code: d.text()}
	kind := d.message(&reply.Name, &reply.Seq)
	if d.err != nil {
		return Reply{}, fmt.Errorf("response begin: %w", d.err)
	}
	if kind != messageBack {
		return Reply{}, fmt.Errorf("%w: %d in a response", ErrMessageType, kind)
	}
	reply.Body = d.buf[d.off:]
	return reply, nil
}

// AppendRejection writes a response that rejects a request as a whole. code must be one of ErrorNames: clients lose
// the stream on a name they do not know.
func AppendRejection(b []byte, name string, seq int32, code string) []byte {
	b, start := beginReply(b, name, seq, code)
	return sealReply(b, start)
}

func beginReply(b []byte, name string, seq int32, code string) (out []byte, start int) {
	start = len(b)
	b = appendText(append(b, 0, 0, 0, 0), code)
	b = binary.BigEndian.AppendUint32(b, strictMark|messageBack)
	b = appendI32(b, int32(len(name)+len(ackSuffix)))
	b = append(append(b, name...), ackSuffix...)
	return appendI32(b, seq), start
}

func sealReply(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

const ackSuffix = "_ACK"

// message reads a message begin and answers its type.
func (d *decoder) message(name *string, seq *int32) byte {
	mark := uint32(d.i32())
	if d.err == nil && mark&0xffffff00 != strictMark {
		d.failf(ErrEncoding, "message version 0x%08x", mark)
	}
	*name, *seq = d.text(), d.i32()
	return byte(mark)
}

// readHead fills b; io.EOF stays itself only when not a byte came.
func readHead(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	return err
}

func readRest(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrTruncated, io.ErrUnexpectedEOF)
	}
	return err
}

// readBody reads n bytes. It never allocates over four times what has come, beyond a first small chunk.
func readBody(r io.Reader, n, most uint32) ([]byte, error) {
	if n > most {
		return nil, fmt.Errorf("%w: a body of %d bytes", ErrLength, n)
	}
	b := make([]byte, min(n, firstChunk))
	for got := 0; ; {
		if err := readRest(r, b[got:]); err != nil {
			return nil, err
		}
		if got = len(b); uint32(got) == n {
			return b, nil
		}
		grown := make([]byte, min(n, uint32(got)*4))
		copy(grown, b)
		b = grown
	}
}

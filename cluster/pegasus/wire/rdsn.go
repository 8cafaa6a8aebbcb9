package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// The framing of Pegasus's C++ clients, and of its servers among themselves: a C struct of 192 bytes, little-endian, and
// a body that is one thrift struct with the arguments, or the result, as its only field.
//
//	  0 "RDSN"          4 version 0       8 length 192      12 CRC of the header   16 length of the body
//	 20 CRC of the body 24 id u64        32 trace id u64    40 name of the call [48]
//	 88 code of the call {u32, u32}      96 app_id, partition   104 context u64   112 sender's address u64
//	120 timeout ms     124 thread hash  128 partition hash u64  136 error name [48]  184 code of the error {u32, u32}
//
// The CRCs are CRC-32C, and 0 means that there is none. Codes are numbers of one process: names are what counts.

const (
	magicRDSN  = "RDSN"
	headerRDSN = 192
	nameRDSN   = 48

	atHeaderCRC  = 12
	atBodyLength = 16
	atBodyCRC    = 20
	atName       = 40
	atCode       = 88
	atGPID       = 96
	atContext    = 104
	atFrom       = 112
	atTimeout    = 120
	atErrorName  = 136
	atErrorCode  = 184
)

// Bits of the context.
const (
	bitRequest          = 1 << 0
	bitForwarded        = 1 << 1
	shiftFormat         = 6 // 4 bits: how the body is written
	formatThriftBinary  = 1
	bitForwardSupported = 1 << 10
	bitBackup           = 1 << 11
)

// RDSN is what a request in that framing says beyond its Header.
type RDSN struct {
	ID uint64 // what the answer is matched by
	// From is the sender's own port when it is a server; clients that listen on none have a port below 1024.
	From Address
	// ForwardSupported says that a meta server which does not lead may pass the request on; Forwarded that one did.
	ForwardSupported, Forwarded bool
	// To is the address that answers give as theirs; whoever serves sets it.
	To Address

	raw [headerRDSN]byte
}

// ErrChecksum ends a stream whose CRC is not that of its bytes.
var ErrChecksum = fmt.Errorf("%w: the checksum is wrong", ErrEncoding)

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// readRDSN reads a request behind its magic.
func readRDSN(r io.Reader) (*Request, error) {
	x := &RDSN{}
	body, err := readFrameRDSN(r, &x.raw)
	if err != nil {
		return nil, err
	}
	head := x.raw[:]
	context := binary.LittleEndian.Uint64(head[atContext:])
	switch {
	case context&bitRequest == 0:
		return nil, fmt.Errorf("%w: an answer", ErrMessageType)
	case context>>shiftFormat&15 != formatThriftBinary:
		return nil, fmt.Errorf("%w: a body in format %d", ErrVersion, context>>shiftFormat&15)
	}
	name, _, ended := bytes.Cut(head[atName:atName+nameRDSN], []byte{0})
	if !ended || len(name) == 0 {
		return nil, fmt.Errorf("%w: the call has no name", ErrEncoding)
	}
	x.ID = binary.LittleEndian.Uint64(head[24:])
	x.From = Address(binary.LittleEndian.Uint64(head[atFrom:]))
	x.Forwarded, x.ForwardSupported = context&bitForwarded != 0, context&bitForwardSupported != 0
	i32 := func(at int) int32 { return int32(binary.LittleEndian.Uint32(head[at:])) }
	return &Request{
		Header: Header{
			GPID: GPID{i32(atGPID), i32(atGPID + 4)}, TimeoutMillis: i32(atTimeout), ThreadHash: i32(atTimeout + 4),
			PartitionHash: binary.LittleEndian.Uint64(head[atTimeout+8:]), Backup: context&bitBackup != 0,
		},
		Name: string(name), Args: body, RDSN: x,
	}, nil
}

// readFrameRDSN reads the rest of a header, and the body, and checks both.
func readFrameRDSN(r io.Reader, head *[headerRDSN]byte) ([]byte, error) {
	copy(head[:], magicRDSN)
	if err := readRest(r, head[len(magicRDSN):]); err != nil {
		return nil, err
	}
	if n := binary.LittleEndian.Uint32(head[8:]); n != headerRDSN {
		return nil, fmt.Errorf("%w: a header of %d bytes", ErrLength, n)
	}
	if v := binary.LittleEndian.Uint32(head[4:]); v != 0 {
		return nil, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	if sum := binary.LittleEndian.Uint32(head[atHeaderCRC:]); sum != 0 {
		clean := *head
		clear(clean[atHeaderCRC : atHeaderCRC+4])
		if checksum(clean[:]) != sum {
			return nil, ErrChecksum
		}
	}
	body, err := readBody(r, binary.LittleEndian.Uint32(head[atBodyLength:]), MaxFrame)
	if err != nil {
		return nil, err
	}
	if sum := binary.LittleEndian.Uint32(head[atBodyCRC:]); sum != 0 && checksum(body) != sum {
		return nil, ErrChecksum
	}
	return body, nil
}

// PassOn writes the request as a meta server passes it on to the leader: with the mark that it did.
func (q *Request) PassOn(b []byte) []byte {
	start := len(b)
	b = append(append(b, q.RDSN.raw[:]...), q.Args...)
	head := b[start : start+headerRDSN]
	context := binary.LittleEndian.Uint64(head[atContext:])
	binary.LittleEndian.PutUint64(head[atContext:], context|bitForwarded)
	clear(head[atHeaderCRC : atHeaderCRC+4])
	return b
}

// ReadAnswerRDSN reads one answer as it is, to be passed on: its bytes, and the id it is matched by.
func ReadAnswerRDSN(r io.Reader) (frame []byte, id uint64, err error) {
	var head [headerRDSN]byte
	if err := readHead(r, head[:4]); err != nil {
		return nil, 0, err
	}
	if string(head[:4]) != magicRDSN {
		return nil, 0, fmt.Errorf("%w: it starts with %q", ErrMagic, head[:4])
	}
	body, err := readFrameRDSN(r, &head)
	if err != nil {
		return nil, 0, err
	}
	if binary.LittleEndian.Uint64(head[atContext:])&bitRequest != 0 {
		return nil, 0, fmt.Errorf("%w: a request", ErrMessageType)
	}
	return append(head[:], body...), binary.LittleEndian.Uint64(head[24:]), nil
}

// beginRDSN writes the header of an answer, whose body follows.
func (q *Request) beginRDSN(b []byte, code string) (out []byte, start int) {
	start = len(b)
	b = append(b, q.RDSN.raw[:]...)
	head := b[start:]
	clear(head[atHeaderCRC:24]) // the checksums and the body's length
	clear(head[atName:atGPID])  // the name and the code of the call
	copy(head[atName:atName+nameRDSN-1], q.Name+ackSuffix)
	context := binary.LittleEndian.Uint64(head[atContext:])
	binary.LittleEndian.PutUint64(head[atContext:], context&^bitRequest)
	binary.LittleEndian.PutUint64(head[atFrom:], uint64(q.RDSN.To))
	clear(head[atErrorName:])
	copy(head[atErrorName:atErrorCode-1], code)
	return b, start
}

func sealRDSN(b []byte, start int) []byte {
	binary.LittleEndian.PutUint32(b[start+atBodyLength:], uint32(len(b)-start-headerRDSN))
	return b
}

// AppendAnswer writes a whole response to a request, in the framing that the request came in.
func (r *RPC[Q, A]) AppendAnswer(b []byte, q *Request, result *A) []byte {
	if q.RDSN == nil {
		return r.AppendReply(b, q.Seq, result)
	}
	b, start := q.beginRDSN(b, OK)
	b = append(b, byte(r.result.kind), 0, 0)
	return sealRDSN(append(r.result.write(b, result), byte(kindStop)), start)
}

// AppendRefusal writes a response that rejects a request as a whole, in the framing it came in. code must be one of
// HeaderErrorNames.
func AppendRefusal(b []byte, q *Request, code string) []byte {
	if q.RDSN == nil {
		return AppendRejection(b, q.Name, q.Seq, code)
	}
	b, start := q.beginRDSN(b, code)
	return sealRDSN(b, start)
}

// AppendElsewhere tells a client in this framing, which listens nowhere, who leads.
func AppendElsewhere(b []byte, q *Request, leader Address) []byte {
	b, start := q.beginRDSN(b, CodeForward)
	b = append(b, byte(kindStruct), 0, 0)
	return sealRDSN(append(addressType.write(b, &leader), byte(kindStop)), start)
}

package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// RPC is one remote call: its name and how its arguments and result are written.
type RPC[Q, A any] struct {
	Name string
	// Change marks a call that changes something: it must never be sent twice.
	Change bool
	// OneWay calls are never answered.
	OneWay bool

	args   Type[Q]
	result Type[A]
}

// headRoom is about what a frame has around its arguments or result.
const headRoom = 128

// AppendRequest writes a whole request frame.
func (r *RPC[Q, A]) AppendRequest(b []byte, h Header, seq int32, args *Q) []byte {
	b = slices.Grow(b, headRoom+r.args.roomFor(args))
	start := len(b)
	b = appendHeader(b, h)
	body := len(b)
	b = binary.BigEndian.AppendUint32(b, strictMark|messageCall)
	b = appendI32(appendText(b, r.Name), seq)
	b = r.AppendArgs(b, args)
	sealRequest(b, h.Version, start, body)
	return b
}

// AppendArgs writes what DecodeArgs reads: a struct whose one field is the arguments.
func (r *RPC[Q, A]) AppendArgs(b []byte, args *Q) []byte {
	b = append(b, byte(r.args.kind), 0, 1)
	return append(r.args.write(b, args), byte(kindStop))
}

// DecodeArgs reads Request.Args. As Pegasus servers do, it does not look at the number and type of the one argument:
// clients disagree about them. Blobs alias the bytes.
func (r *RPC[Q, A]) DecodeArgs(encoded []byte, args *Q) error {
	d := newDecoder(encoded)
	if d.byte() == byte(kindStop) {
		d.failf(ErrEncoding, "no arguments")
	}
	d.i16()
	r.args.read(&d, args)
	if c := d.byte(); c != byte(kindStop) {
		d.failf(ErrEncoding, "more than one argument")
	}
	d.end()
	return r.wrap("arguments", d.err)
}

// AppendReply writes a whole response frame.
func (r *RPC[Q, A]) AppendReply(b []byte, seq int32, result *A) []byte {
	b = slices.Grow(b, headRoom+r.result.roomFor(result))
	b, start := beginReply(b, r.Name, seq, OK)
	b = append(b, byte(r.result.kind), 0, 0)
	b = append(r.result.write(b, result), byte(kindStop))
	return sealReply(b, start)
}

// DecodeResult reads Reply.Body of a reply that is OK. Blobs alias the bytes.
func (r *RPC[Q, A]) DecodeResult(body []byte, result *A) error {
	d := newDecoder(body)
	k, id := kind(d.byte()), d.i16()
	if d.err == nil && (k != r.result.kind || id != 0) {
		d.failf(ErrEncoding, "the result is field %d of type 0x%02x", id, byte(k))
	}
	r.result.read(&d, result)
	if c := d.byte(); c != byte(kindStop) {
		d.failf(ErrEncoding, "more than one result")
	}
	d.end()
	return r.wrap("result", d.err)
}

func (r *RPC[Q, A]) wrap(part string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s of %s: %w", part, r.Name, err)
}

// recodeArgs and recodeResult decode and encode again, for tests over all calls.
func (r *RPC[Q, A]) recodeArgs(encoded []byte) ([]byte, error) {
	var v Q
	if err := r.args.Decode(encoded, &v); err != nil {
		return nil, err
	}
	return r.args.write(nil, &v), nil
}

func (r *RPC[Q, A]) recodeResult(encoded []byte) ([]byte, error) {
	var v A
	if err := r.result.Decode(encoded, &v); err != nil {
		return nil, err
	}
	return r.result.write(nil, &v), nil
}

func (r *RPC[Q, A]) name() string { return r.Name }

// call is an RPC without its types.
type call interface {
	name() string
	recodeArgs(encoded []byte) ([]byte, error)
	recodeResult(encoded []byte) ([]byte, error)
}

// calls lists every RPC.
func calls() []call {
	return slices.Concat(dataCalls(), metaCalls(), nodeCalls(), placementCalls(), tableCalls(), splitCalls(), diskCalls(), opsCalls(), dupCalls(), backupCalls(), bulkCalls())
}

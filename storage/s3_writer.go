package storage

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"shardsh/commands/spec"
)

// How files are cut into parts. A service takes 10,000 of them, each but the last of 5 MiB at least.
const (
	partSize   = 16 << 20
	maxParts   = 10_000
	growEvery  = 1000 // parts, after which they double where the size is not known
	partsAhead = 4    // parts that all writers of a service send while they go on
)

// s3Writer collects a part, sends it, and goes on meanwhile where there is room for that. A file of one part is sent in
// one piece when it is complete. Every part goes with its MD5, which the service compares before it takes it.
type s3Writer struct {
	ctx     context.Context
	cancel  context.CancelFunc
	service *s3
	name    string
	size    int64 // -1: not known
	part    int   // bytes of a part

	buf     *[]byte
	whole   hash.Hash // of all parts, nil while there is one
	sum     string    // known after Commit
	parts   []minio.CompletePart
	sums    []byte // the MD5s of the parts, one after the other
	upload  string // the id of the upload in parts
	ended   bool
	checked bool

	wg    sync.WaitGroup
	mu    sync.Mutex
	first error // of sending a part
	odd   bool  // an ETag is not the MD5 of its part
}

func (s *s3) Create(ctx context.Context, name string, size int64) (Writer, error) {
	p, err := fileName(name)
	if err != nil {
		return nil, err
	}
	w := &s3Writer{service: s, name: p, size: size, part: partSize}
	for size > int64(w.part)*maxParts {
		w.part *= 2
	}
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.newBuffer()
	return w, nil
}

// newBuffer takes a buffer that is as large as what is still to come, at most a part.
func (w *s3Writer) newBuffer() {
	switch {
	case w.part != partSize || w.size >= 0 && w.size < partSize:
		b := make([]byte, 0, min(int64(w.part), max(w.size, 0)))
		w.buf = &b
	default:
		w.buf = w.service.buffers.Get().(*[]byte)
	}
}

func (w *s3Writer) release(buf *[]byte) {
	if cap(*buf) == partSize {
		*buf = (*buf)[:0]
		w.service.buffers.Put(buf)
	}
}

func (w *s3Writer) Write(p []byte) (int, error) {
	if w.ended {
		return 0, w.service.fail("write "+w.name, fs.ErrClosed)
	}
	n := 0
	for len(p) > 0 {
		if len(*w.buf) == w.part { // only now is it known not to be the last
			if err := w.sendPart(); err != nil {
				return n, w.service.fail("write "+w.name, err)
			}
			w.newBuffer()
		}
		some := min(len(p), w.part-len(*w.buf))
		*w.buf = append(*w.buf, p[:some]...)
		p = p[some:]
		n += some
	}
	return n, nil
}

// sendPart sends what is collected as the next part, in the background when there is room.
func (w *s3Writer) sendPart() error {
	if err := w.begin(); err != nil {
		return err
	}
	buf := w.buf
	w.buf = nil
	w.whole.Write(*buf)
	w.parts = append(w.parts, minio.CompletePart{PartNumber: len(w.parts) + 1})
	w.sums = append(w.sums, make([]byte, md5.Size)...)
	number := len(w.parts)
	if w.size < 0 && number%growEvery == 0 {
		w.part *= 2
	}
	select {
	case w.service.ahead <- struct{}{}:
		w.wg.Go(func() {
			defer func() { <-w.service.ahead }()
			w.send(number, buf)
		})
	default:
		w.send(number, buf)
	}
	return w.failed()
}

func (w *s3Writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

// begin starts an upload in parts, and clears away those that killed programs left of the same file.
func (w *s3Writer) begin() error {
	if w.upload != "" {
		return nil
	}
	s := w.service
	w.whole = md5.New()
	w.abortOthers()
	return s.try(w.ctx, s.config.timeout(), func(ctx context.Context) (err error) {
		w.upload, err = s.core.NewMultipartUpload(ctx, s.bucket, s.key(w.name), minio.PutObjectOptions{ContentType: contentType})
		return err
	})
}

const contentType = "application/octet-stream"

// abortOthers needs the right to list uploads, and is no failure without it.
func (w *s3Writer) abortOthers() {
	s := w.service
	ctx, cancel := context.WithTimeout(w.ctx, s.config.timeout())
	defer cancel()
	key := s.key(w.name)
	found, err := s.core.ListMultipartUploads(ctx, s.bucket, key, "", "", "", 100)
	if err != nil {
		return
	}
	for _, u := range found.Uploads {
		if u.Key == key {
			_ = s.core.AbortMultipartUpload(ctx, s.bucket, key, u.UploadID)
		}
	}
}

// send sends one part and notes its ETag.
func (w *s3Writer) send(number int, buf *[]byte) {
	s := w.service
	sum := md5.Sum(*buf)
	var got minio.ObjectPart
	err := s.try(w.ctx, 0, func(ctx context.Context) (err error) {
		got, err = s.core.PutObjectPart(ctx, s.bucket, s.key(w.name), w.upload, number, bytes.NewReader(*buf), int64(len(*buf)),
			minio.PutObjectPartOptions{Md5Base64: base64.StdEncoding.EncodeToString(sum[:]), DisableContentSha256: true})
		return err
	})
	w.release(buf)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if w.first == nil {
			w.first = err
			w.cancel() // the others are of no use any more
		}
		return
	}
	w.parts[number-1].ETag = got.ETag
	copy(w.sums[(number-1)*md5.Size:], sum[:])
	w.odd = w.odd || got.ETag != hex.EncodeToString(sum[:])
}

// MD5 implements summed.
func (w *s3Writer) MD5() string { return w.sum }

// Checked implements checked: the service has answered the MD5 of what it got.
func (w *s3Writer) Checked() bool { return w.checked }

func (w *s3Writer) Commit() error {
	if w.ended {
		return w.service.fail("write "+w.name, fs.ErrClosed)
	}
	err := w.ctx.Err()
	if err == nil && w.upload == "" {
		err = w.putWhole()
	} else if err == nil {
		err = w.complete()
	}
	if err != nil {
		return w.service.fail("write "+w.name, err)
	}
	w.end()
	return nil
}

// putWhole sends a file of one part.
func (w *s3Writer) putWhole() error {
	s := w.service
	sum := md5.Sum(*w.buf)
	w.sum = hex.EncodeToString(sum[:])
	var info minio.UploadInfo
	err := s.try(w.ctx, 0, func(ctx context.Context) (err error) {
		info, err = s.core.PutObject(ctx, s.bucket, s.key(w.name), bytes.NewReader(*w.buf), int64(len(*w.buf)),
			base64.StdEncoding.EncodeToString(sum[:]), "", minio.PutObjectOptions{ContentType: contentType, DisableContentSha256: true})
		return err
	})
	if err != nil {
		return w.settle(err, int64(len(*w.buf)), w.sum)
	}
	w.checked = info.ETag == w.sum
	return nil
}

// complete sends the last part and puts the file together.
func (w *s3Writer) complete() error {
	s := w.service
	err := w.sendPart()
	w.wg.Wait()
	if err == nil {
		err = w.failed()
	}
	if err != nil {
		return err
	}
	w.sum = hex.EncodeToString(w.whole.Sum(nil))
	all := md5.Sum(w.sums)
	etag := fmt.Sprintf("%s-%d", hex.EncodeToString(all[:]), len(w.parts))
	var info minio.UploadInfo
	err = s.try(w.ctx, 0, func(ctx context.Context) (err error) {
		info, err = s.core.CompleteMultipartUpload(ctx, s.bucket, s.key(w.name), w.upload, w.parts, minio.PutObjectOptions{})
		return err
	})
	if err != nil {
		return w.settle(err, -1, etag)
	}
	w.checked = !w.odd && info.ETag == etag
	return nil
}

// settle looks whether the file is there although the last call failed. A second completion of an upload that was
// completed finds it gone (NoSuchUpload).
func (w *s3Writer) settle(err error, size int64, etag string) error {
	s := w.service
	if r := s3Reason(err); r != Broken && r != NoAnswer && r != Busy {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), s.config.timeout())
	defer cancel()
	info, serr := s.core.StatObject(ctx, s.bucket, s.key(w.name), minio.StatObjectOptions{})
	if serr == nil && info.ETag == etag && (size < 0 || info.Size == size) {
		w.checked = true
		return nil
	}
	if w.ctx.Err() != nil || !lost(err) {
		return err
	}
	return spec.Errorf(spec.UnknownOutcome, "%w", &reasoned{reasonOf(err), short(err)}).WithHint("look with: fs stat %s:/%s", s.Name(), w.name)
}

// end releases what the writer holds.
func (w *s3Writer) end() {
	w.ended = true
	w.cancel()
	w.wg.Wait()
	if w.buf != nil {
		w.release(w.buf)
		w.buf = nil
	}
}

func (w *s3Writer) Abort() error {
	if w.ended {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), w.service.config.timeout())
	defer cancel()
	w.end()
	if w.upload == "" {
		return nil
	}
	return w.abortUpload(ctx)
}

// abortUpload makes the service forget the parts. One that is still arriving may outlive the first try.
func (w *s3Writer) abortUpload(ctx context.Context) error {
	s := w.service
	for wait := firstWait; ; wait *= 2 {
		err := s.core.AbortMultipartUpload(ctx, s.bucket, s.key(w.name), w.upload)
		if err == nil || minio.ToErrorResponse(err).Code == "NoSuchUpload" {
			return nil
		}
		if r := s3Reason(err); ctx.Err() != nil || r != Busy && r != Broken {
			return s.fail("abort writing "+w.name, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return s.fail("abort writing "+w.name, err)
		}
	}
}

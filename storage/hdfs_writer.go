package storage

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io/fs"
	"path"
	"time"

	client "github.com/colinmarc/hdfs/v2"

	"shardsh/commands/spec"
)

// hdfsWriter writes under a temporary name, which it renames when the checksums that the datanodes keep are those of what
// it wrote. A datanode that fails meanwhile fails the file: it is written again as a whole.
type hdfsWriter struct {
	ctx     context.Context
	service *hdfsService
	name    string
	client  *hdfsClient // nil when it has ended
	file    *client.FileWriter
	sum     *blockSum
	size    int64
	made    []string // absolute paths of directories that were made for it, the deepest last
	checked bool
	err     error // the first: the file is lost
}

func (h *hdfsService) Create(ctx context.Context, name string, _ int64) (Writer, error) {
	p, err := fileName(name)
	if err != nil {
		return nil, err
	}
	w := &hdfsWriter{ctx: ctx, service: h, name: p}
	e, err := h.stat(ctx, p)
	switch {
	case err == nil && e.Dir:
		err = &reasoned{NotAFile, errors.New("there is a directory of that name")}
	case err == nil || h.reason(err) == NoFile:
		err = w.begin()
	}
	if err != nil {
		return nil, h.fail("write "+p, err)
	}
	return w, nil
}

func (w *hdfsWriter) begin() error {
	c, err := w.service.pool.get(w.ctx)
	if err != nil {
		return err
	}
	if err = c.explain(w.create(c)); err != nil {
		w.service.pool.put(c, err)
		w.removeDirs()
		return err
	}
	w.client = c
	return nil
}

// create makes the temporary file, in place of one that a killed program left, and the directories above it.
func (w *hdfsWriter) create(c *hdfsClient) error {
	d, err := c.ServerDefaults()
	if err != nil {
		return err
	}
	at := w.service.at(temporary(w.name))
	for range 3 {
		w.file, err = c.CreateFile(at, d.Replication, d.BlockSize, 0o644)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = w.makeDirs(c, path.Dir(at))
		case errors.Is(err, fs.ErrExist):
			err = c.Remove(at)
		case err == nil:
			w.sum = newBlockSum(d.BlockSize)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return &reasoned{Taken, errors.New("somebody else is writing it")}
}

// makeDirs makes a directory and those above it, and remembers which were not there.
func (w *hdfsWriter) makeDirs(c *hdfsClient, dir string) error {
	var missing []string
	for d := dir; d != "/"; d = path.Dir(d) {
		_, err := c.Stat(d)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		missing = append(missing, d)
	}
	if err := c.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := len(missing) - 1; i >= 0; i-- {
		w.made = append(w.made, missing[i])
	}
	return nil
}

func (w *hdfsWriter) Write(p []byte) (int, error) {
	if w.client == nil {
		return 0, w.service.fail("write "+w.name, fs.ErrClosed)
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.file.Write(p)
	w.sum.Write(p[:n])
	w.size += int64(n)
	if err != nil {
		return n, w.lose(err)
	}
	return n, nil
}

// lose notes that the file is lost. What the stream to a datanode says has no kinds: it is a connection that broke.
func (w *hdfsWriter) lose(err error) error {
	err = w.client.explain(err)
	if w.service.reason(err) == Other && w.ctx.Err() == nil && !isException(err) {
		err = &reasoned{Broken, fmt.Errorf("a datanode gave up the file: %w", short(err))}
	}
	w.err = w.service.fail("write "+w.name, err)
	return w.err
}

// Checked implements checked.
func (w *hdfsWriter) Checked() bool { return w.checked }

func (w *hdfsWriter) Commit() error {
	if w.client == nil {
		return w.service.fail("write "+w.name, fs.ErrClosed)
	}
	if w.err != nil {
		return w.err
	}
	if err := w.close(); err != nil {
		return w.lose(err)
	}
	if err := w.verify(); err != nil {
		return w.lose(err)
	}
	if err := w.rename(); err != nil {
		return w.service.fail("write "+w.name, err)
	}
	w.made = nil
	w.service.pool.put(w.client, nil)
	w.client = nil
	return nil
}

// close asks until enough datanodes have told the namenode that they have the last block.
func (w *hdfsWriter) close() error {
	until := time.Now().Add(w.service.config.stall())
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := w.file.Close()
		if err == nil || !client.IsErrReplicating(err) {
			return err
		}
		if time.Now().After(until) {
			return &reasoned{Busy, errors.New("too few datanodes have confirmed the last block")}
		}
		select {
		case <-time.After(wait):
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	}
}

// verify compares the checksums that the datanodes keep with those of what was written.
func (w *hdfsWriter) verify() error {
	at := w.service.at(temporary(w.name))
	r, err := w.client.Open(at)
	if err != nil {
		return err
	}
	defer r.Close()
	if size := r.Stat().Size(); size != w.size {
		return corrupt("%d bytes were written, and %d are there", w.size, size)
	}
	have, err := r.Checksum()
	if err != nil {
		return err
	}
	if want := w.sum.Sum(); !bytes.Equal(have, want) {
		return corrupt("the datanodes keep the checksum %x of what has %x", have, want)
	}
	w.checked = true
	return nil
}

// rename puts the file in place. When no answer comes it looks whether it is there.
func (w *hdfsWriter) rename() error {
	h := w.service
	err := w.client.explain(w.client.Rename(h.at(temporary(w.name)), h.at(w.name)))
	if err == nil || !lost(err) {
		return err
	}
	fresh, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), h.config.timeout())
	defer cancel()
	if _, terr := h.statAt(fresh, temporary(w.name)); h.reason(terr) == NoFile {
		if e, serr := h.stat(fresh, w.name); serr == nil && e.Size == w.size {
			w.service.pool.put(w.client, err)
			w.client, err = h.pool.get(fresh)
			return err
		}
	}
	return spec.Errorf(spec.UnknownOutcome, "%w", &reasoned{h.reason(err), short(err)}).WithHint("look with: fs stat %s:/%s", h.Name(), w.name)
}

// statAt is stat for temporary names, too.
func (h *hdfsService) statAt(ctx context.Context, name string) (e Entry, err error) {
	err = h.do(ctx, func(c *client.Client) error {
		info, err := c.Stat(h.at(name))
		if err == nil {
			e = entry(name, info)
		}
		return err
	})
	return e, err
}

func (w *hdfsWriter) Abort() error {
	if w.client == nil {
		return nil
	}
	w.client.stop()
	w.client.end() // it holds the lease and half a block
	w.client = nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), w.service.config.timeout())
	defer cancel()
	h := w.service
	err := h.do(ctx, func(c *client.Client) error {
		err := c.Remove(h.at(temporary(w.name)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	w.removeDirs()
	if err != nil {
		return h.fail("abort writing "+w.name, err)
	}
	return nil
}

// removeDirs removes the directories that were made, unless they serve others by now.
func (w *hdfsWriter) removeDirs() {
	if len(w.made) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), w.service.config.timeout())
	defer cancel()
	for i := len(w.made) - 1; i >= 0; i-- {
		if w.service.do(ctx, func(c *client.Client) error { return c.Remove(w.made[i]) }) != nil {
			return
		}
	}
}

// blockSum makes the checksum that HDFS tells of a file: the MD5 of the MD5s of each block's CRC-32Cs, one of 512 bytes.
type blockSum struct {
	blockSize int64
	table     *crc32.Table
	chunk     uint32 // the CRC of what there is of the chunk
	inChunk   int
	inBlock   int64
	block     hash.Hash
	blocks    []byte // MD5s
}

// chunkSize is how many bytes the client gives one CRC.
const chunkSize = 512

func newBlockSum(blockSize int64) *blockSum {
	return &blockSum{blockSize: blockSize, table: crc32.MakeTable(crc32.Castagnoli), block: md5.New()}
}

func (s *blockSum) Write(p []byte) {
	for len(p) > 0 {
		n := int(min(int64(min(len(p), chunkSize-s.inChunk)), s.blockSize-s.inBlock))
		s.chunk = crc32.Update(s.chunk, s.table, p[:n])
		s.inChunk += n
		s.inBlock += int64(n)
		p = p[n:]
		if s.inChunk == chunkSize {
			s.endChunk()
		}
		if s.inBlock == s.blockSize {
			s.endBlock()
		}
	}
}

func (s *blockSum) endChunk() {
	if s.inChunk > 0 {
		var crc [4]byte
		binary.BigEndian.PutUint32(crc[:], s.chunk)
		s.block.Write(crc[:])
		s.chunk, s.inChunk = 0, 0
	}
}

func (s *blockSum) endBlock() {
	s.endChunk()
	if s.inBlock > 0 {
		s.blocks = s.block.Sum(s.blocks)
		s.block.Reset()
		s.inBlock = 0
	}
}

// Sum ends the last block. The MD5s are padded with zeros to a power of two of at least 32 bytes, which is what Hadoop's
// growing buffer holds.
func (s *blockSum) Sum() []byte {
	s.endBlock()
	padded := 32
	for padded < len(s.blocks) {
		padded *= 2
	}
	sum := md5.Sum(append(s.blocks, make([]byte, padded-len(s.blocks))...))
	return sum[:]
}

package tablet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/sandbox/port"
)

// How files are sent (tablet.flags as shipped: stream_block_size, stream_bandwidth_limit, stream_close_wait_time_ms,
// send_file_max_try, retry_send_file_wait_time_ms).
const (
	sendBlock     = 1 << 20
	sendBandwidth = 20 << 20 // bytes a second
	sendClose     = time.Second
	sendTries     = 3
	sendRetry     = 3 * time.Second
)

// sendSnapshot sends a partition's description and snapshot to another tablet, which has not loaded it.
func (t *Tablet) sendSnapshot(_ context.Context, _ *port.Call, q *api.SendSnapshotRequest, a *api.GeneralResponse) error {
	t.beside(q.GetTaskInfo(), api.TaskType_kSendSnapshot, func() (func() bool, status) {
		p := t.part(q.GetTid(), q.GetPid())
		if p == nil {
			return nil, noTable
		}
		p.mu.RLock()
		defer p.mu.RUnlock()
		switch s := p.leads(); {
		case !s.good():
			return nil, s
		case p.state != api.TableState_kSnapshotPaused:
			return nil, notPaused
		}
		s := &sender{t: t, p: p, endpoint: q.GetEndpoint(), tid: q.GetTid()}
		if q.GetRemoteTid() != 0 {
			s.tid = q.GetRemoteTid()
		}
		if !t.files.sends(s.key()) {
			return nil, status{codeSnapshotSending, "snapshot is sending"}
		}
		return func() bool {
			defer t.files.sent(s.key())
			err := s.send()
			if err != nil {
				t.c.Log("tablet %s sends %s to %s: %v", t.c.Endpoint, p.id, s.endpoint, err)
			}
			return err == nil
		}, ok
	}).general(a)
	return nil
}

// sender sends the files of one partition.
type sender struct {
	t        *Tablet
	p        *partition
	endpoint string
	tid      uint32 // there
}

func (s *sender) key() string { return s.endpoint + " " + s.p.id.String() }

// send sends the manifest last: what arrived without it is no snapshot. A partition without a snapshot has its
// description sent only.
func (s *sender) send() error {
	if !s.t.pass() {
		return errEnded
	}
	if err := s.file("", metaFile, filepath.Join(s.p.dir, metaFile)); err != nil {
		return err
	}
	m, found, err := readManifest(s.p.dir)
	if err != nil || !found {
		return err
	}
	at := filepath.Join(s.p.dir, snapshotDir)
	if s.p.mode == common.StorageMode_kMemory {
		err = s.file("", m.GetName(), filepath.Join(at, m.GetName()))
	} else {
		err = s.directory(m.GetName(), filepath.Join(at, m.GetName()))
	}
	if err != nil {
		return err
	}
	return s.file("", manifestFile, filepath.Join(at, manifestFile))
}

func (s *sender) directory(name, path string) error {
	files, err := os.ReadDir(path)
	for _, f := range files {
		err = errors.Join(err, s.file(name, f.Name(), filepath.Join(path, f.Name())))
	}
	return err
}

// file sends a file, again when it does not arrive whole.
func (s *sender) file(dir, name, path string) (err error) {
	for try := range sendTries {
		if try > 0 && !s.t.sleep(s.t.ctx, time.Duration(try)*sendRetry) {
			break
		}
		if err = s.blocks(dir, name, path); err == nil {
			return nil
		}
	}
	return fmt.Errorf("send %s: %w", name, err)
}

// blocks sends a file once: an empty block 0 that announces it, then its bytes, then a look at how much arrived.
func (s *sender) blocks(dir, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := s.block(dir, name, 0, nil, false); err != nil {
		return err
	}
	buf := make([]byte, sendBlock)
	for id, left := uint64(1), info.Size(); left > 0; id++ {
		n, err := io.ReadFull(f, buf[:min(left, sendBlock)])
		if err != nil {
			return err
		}
		left -= int64(n)
		if err := s.block(dir, name, id, buf[:n], left == 0); err != nil {
			return err
		}
		if !s.t.sleep(s.t.ctx, time.Duration(n)*time.Second/sendBandwidth) {
			return errEnded
		}
	}
	if !s.t.sleep(s.t.ctx, sendClose) {
		return errEnded
	}
	q := &api.CheckFileRequest{
		Tid: &s.tid, Pid: &s.p.id.pid, File: &name, Size: proto.Uint64(uint64(info.Size())), StorageMode: &s.p.mode,
	}
	if dir != "" {
		q.DirName = &dir
	}
	var a api.GeneralResponse
	return s.ask("CheckFile", q, nil, &a)
}

func (s *sender) block(dir, name string, id uint64, b []byte, last bool) error {
	q := &api.SendDataRequest{
		Tid: &s.tid, Pid: &s.p.id.pid, FileName: &name, BlockId: &id, BlockSize: proto.Uint32(uint32(len(b))),
		StorageMode: &s.p.mode,
	}
	if dir != "" {
		q.DirName = &dir
	}
	if last {
		q.Eof = proto.Bool(true)
	}
	var a api.GeneralResponse
	return s.ask("SendData", q, b, &a)
}

func (s *sender) ask(method string, q proto.Message, attachment []byte, a *api.GeneralResponse) error {
	if _, err := s.t.callAttached(s.t.ctx, s.endpoint, method, q, attachment, a); err != nil {
		return err
	}
	if a.GetCode() != codeOK {
		return &refusal{a.GetCode(), a.GetMsg()}
	}
	return nil
}

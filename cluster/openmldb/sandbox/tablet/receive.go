package tablet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/sandbox/port"
)

// receivers are the files that are arriving, and what is being sent.
type receivers struct {
	mu      sync.Mutex
	all     map[string]*receiver
	sending map[string]bool
}

// maxReceivers bounds the files that are open at a time.
const maxReceivers = 256

// receiver is a file of which blocks arrive, in order.
type receiver struct {
	mu    sync.Mutex
	path  string // what it becomes when it is whole
	f     *os.File
	block uint64 // the last one that arrived
}

// sends notes that something is being sent; false when it is already.
func (r *receivers) sends(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sending[key] {
		return false
	}
	if r.sending == nil {
		r.sending = map[string]bool{}
	}
	r.sending[key] = true
	return true
}

func (r *receivers) sent(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sending, key)
}

func (r *receivers) find(key string) *receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[key]
}

// begin opens a file anew.
func (r *receivers) begin(key, path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.all[key]; old != nil {
		old.close()
		delete(r.all, key)
	}
	if len(r.all) >= maxReceivers {
		return errors.New("too many files are arriving")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if r.all == nil {
		r.all = map[string]*receiver{}
	}
	r.all[key] = &receiver{path: path, f: f}
	return nil
}

func (r *receivers) end(key string, this *receiver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all[key] == this {
		delete(r.all, key)
	}
}

// close ends what has not arrived.
func (r *receivers) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, file := range r.all {
		file.close()
	}
	r.all = nil
}

func (r *receiver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f.Close()
}

// sendData takes a block of a file of a partition that is not loaded.
func (t *Tablet) sendData(_ context.Context, call *port.Call, q *api.SendDataRequest, a *api.GeneralResponse) error {
	t.takeBlock(q, call.Attachment).general(a)
	return nil
}

func (t *Tablet) takeBlock(q *api.SendDataRequest, b []byte) status {
	id, mode := partID{q.GetTid(), q.GetPid()}, modeOf(q.StorageMode)
	if _, known := t.dir(id, mode); !known {
		return noRoot
	}
	key := fmt.Sprintf("%s %d %s/%s", id, mode, q.GetDirName(), q.GetFileName())
	if q.GetBlockId() == 0 {
		if t.part(id.tid, id.pid) != nil && q.GetDirName() != indexDir {
			return tableExists
		}
		path, valid := t.filePath(id, mode, q.GetDirName(), q.GetFileName())
		if !valid {
			return status{codeReceiverFailed, "file receiver init failed"}
		}
		if err := t.files.begin(key, path); err != nil {
			t.c.Log("tablet %s receives %s: %v", t.c.Endpoint, path, err)
			return status{codeReceiverFailed, "file receiver init failed"}
		}
		return ok
	}
	r := t.files.find(key)
	if r == nil {
		return status{codeNoReceiver, "cannot find receiver"}
	}
	s, whole := r.take(q, b)
	if whole {
		t.files.end(key, r)
	}
	return s
}

// take writes a block; whole says that the file is complete, or of no use.
func (r *receiver) take(q *api.SendDataRequest, b []byte) (s status, whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case q.GetBlockId() == r.block:
		return ok, false
	case q.GetBlockId() != r.block+1:
		return status{codeBlockMismatch, "block_id mismatch"}, false
	case len(b) != int(q.GetBlockSize()):
		return status{codeReceiveFailed, "receive data error"}, false
	}
	if _, err := r.f.Write(b); err != nil {
		return status{codeWriteFailed, "write data failed"}, false
	}
	r.block = q.GetBlockId()
	if !q.GetEof() {
		return ok, false
	}
	err := r.f.Close()
	if _, e := os.Lstat(r.path); e == nil {
		err = errors.Join(err, os.Rename(r.path, unused(r.path+".old")))
	}
	if err = errors.Join(err, os.Rename(r.path+".tmp", r.path)); err != nil {
		return status{codeWriteFailed, "write data failed"}, true
	}
	return ok, true
}

// filePath is where a file that is sent belongs; false for names that are no files' names.
func (t *Tablet) filePath(id partID, mode common.StorageMode, dir, name string) (string, bool) {
	base, _ := t.dir(id, mode)
	switch {
	case !plainName(name) || dir != "" && !plainName(dir):
		return "", false
	case dir == indexDir:
		return filepath.Join(base, dir, name), true
	case dir != "":
		return filepath.Join(base, snapshotDir, dir, name), true
	case name == metaFile:
		return filepath.Join(base, name), true
	}
	return filepath.Join(base, snapshotDir, name), true
}

// checkFile says whether a file has arrived whole.
func (t *Tablet) checkFile(_ context.Context, _ *port.Call, q *api.CheckFileRequest, a *api.GeneralResponse) error {
	id, mode := partID{q.GetTid(), q.GetPid()}, modeOf(q.StorageMode)
	if _, known := t.dir(id, mode); !known {
		noRoot.general(a)
		return nil
	}
	path, valid := t.filePath(id, mode, q.GetDirName(), q.GetFile())
	info, err := os.Stat(path)
	switch {
	case !valid || err != nil:
		status{codeError, "get size failed"}.general(a)
	case uint64(info.Size()) != q.GetSize():
		status{codeError, "check size failed"}.general(a)
	default:
		ok.general(a)
	}
	return nil
}

// deleteBinlog moves a partition's binlog to the recycle bin.
func (t *Tablet) deleteBinlog(_ context.Context, _ *port.Call, q *api.GeneralRequest, a *api.GeneralResponse) error {
	id, mode := partID{uint32(q.GetTid()), uint32(q.GetPid())}, modeOf(q.StorageMode)
	dir, known := t.dir(id, mode)
	if !known {
		noRoot.general(a)
		return nil
	}
	if err := t.recycle(filepath.Join(dir, binlogDir), id, mode, "binlog_"); err != nil {
		t.c.Log("tablet %s: binlog of %s: %v", t.c.Endpoint, id, err)
		status{codeError, "fail to move binlog"}.general(a)
		return nil
	}
	ok.general(a)
	return nil
}

// getTermPair tells how far a partition is: from memory, or from the snapshot on the disk when it is not loaded.
func (t *Tablet) getTermPair(_ context.Context, _ *port.Call, q *api.GetTermPairRequest, a *api.GetTermPairResponse) error {
	if p := t.part(q.GetTid(), q.GetPid()); p != nil {
		p.mu.RLock()
		defer p.mu.RUnlock()
		a.HasTable, a.IsLeader = proto.Bool(true), proto.Bool(p.leader)
		a.Term, a.Offset = proto.Uint64(p.term), proto.Uint64(p.offset)
		ok.into(&a.Code, &a.Msg)
		return nil
	}
	a.HasTable = proto.Bool(false)
	mode := modeOf(q.StorageMode)
	dir, known := t.dir(partID{q.GetTid(), q.GetPid()}, mode)
	if !known {
		noRoot.into(&a.Code, &a.Msg)
		return nil
	}
	s, err := openSnapshot(dir, mode)
	if err != nil { // the store takes a manifest that it cannot read for none
		t.c.Log("tablet %s: snapshot in %s: %v", t.c.Endpoint, dir, err)
		s = snapshot{}
	}
	a.Term, a.Offset = &s.term, &s.offset
	status{codeOK, noTable.text}.into(&a.Code, &a.Msg)
	return nil
}

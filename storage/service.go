// Package storage reads and writes block services: the places where stores keep their backups and take their bulk loads
// from. Three kinds are known (services.go): a directory of this machine, an HDFS, a bucket of an S3.
//
// A Service is small and the same for all of them; what is built on it (Walk, ReadFile, Copy, Tree, Check) knows none.
// Two promises hold for every service, and storagetest holds each of them to it:
//
//   - A file is there whole or not at all. What Create writes can be seen by nobody until Commit has succeeded, and is gone
//     after Abort.
//   - Every failure is a *spec.Error that names what was attempted and where, with a Reason (errors.go) that says which of
//     the few things it was that go wrong with storage, and a hint about what to do next.
package storage

import (
	"context"
	"io"
	"iter"
	"path"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// Service is a block service: files under slash-separated paths relative to its root. Its methods may be called from any
// goroutine. Nothing is dialled before the first of them.
type Service interface {
	Name() string // the NAME of [block_service.NAME]
	Type() string // LocalType, HDFSType or S3Type

	// List yields what a directory holds, one level of it, in the order of names where that of a directory counts with a
	// slash at its end: so Walk yields whole paths in the order of their bytes. "" is the root. A directory that is not
	// there is NotFound; the root of a service is always there. The sequence ends after the first error.
	List(ctx context.Context, dir string) iter.Seq2[Entry, error]
	// Stat describes a file or directory.
	Stat(ctx context.Context, path string) (Entry, error)
	// Open reads length bytes of a file from offset on, to its end when length is -1. Where the file is shorter there is
	// less to read. A connection that breaks meanwhile is taken up again where it broke.
	Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error)
	// Create writes a file, in place of the one that has the path, and makes the directories above it. size is how long
	// it will be, -1 when that is not known. The context is that of all of the Writer's methods but Abort.
	Create(ctx context.Context, path string, size int64) (Writer, error)
	// Remove removes a file, or an empty directory where there are such. What is not there is NotFound.
	Remove(ctx context.Context, path string) error
	Close() error
}

// Roomy is a Service that can tell how much more it takes: local_service and hdfs_service. An S3 has no such call, so
// s3_service is none; RoomOf asks any service. Who wraps a Service, and hands it on as one, hands this on too.
type Roomy interface {
	Service
	// Room tells how much room there is for files below a directory, which need not be there yet: then it is that of the
	// nearest one above it that is. It only asks, and answers or fails within Config.Timeout where nobody answers. What
	// cannot be found out besides the figures is no error (Room.Unsure).
	Room(ctx context.Context, dir string) (Room, error)
}

// Room is how much more of files a place takes. It is what was free when it was asked: others write there too.
type Room struct {
	// Free and Total are bytes of content, as files are long: what is left, and what there is in all. Where each byte is
	// stored several times, what the disks or the quota have is divided by that. Neither is below 0.
	Free, Total int64
	// Copies is how often each byte is stored: dfs.replication of an HDFS, else 1.
	Copies int
	// Bound names what bounds Free when it is not the disks ("the quota of /user/pegasus"), else "".
	Bound string
	// Unsure says what might leave less than Free and could not be found out, "" when nothing.
	Unsure string
}

// Writer is a file that is being written. One goroutine uses it, and ends it with Commit or Abort; either releases all
// that it holds, and Abort after Commit does nothing.
type Writer interface {
	io.Writer
	// Commit puts the file in place: it is durable when it returns. Its error may be an UnknownOutcome, when no answer
	// came to the last call and the file could not be found to be there.
	Commit() error
	// Abort leaves nothing behind. It works after the context of Create has ended, too.
	Abort() error
}

// Entry is a file or directory.
type Entry struct {
	Name     string // the last part of Path
	Path     string // relative to the root of the service
	Dir      bool
	Size     int64     // bytes; 0 for a directory
	Modified time.Time // the zero time where it is not kept, as for the directories of an S3
	MD5      string    // of the content, in hex; "" when the service does not tell it
}

// summed is a Writer that knows the MD5 of what was written to it, in hex, once it is committed.
type summed interface{ MD5() string }

// checked is a Writer whose Commit has compared what the service stored with what was written: by a checksum that was made
// over there.
type checked interface{ Checked() bool }

// clean spells a path as services take it: without a slash at either end, "" for the root. One that leads out of the root
// is refused.
func clean(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", spec.Errorf(spec.Usage, "the path %q holds a zero byte", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", spec.Errorf(spec.Usage, "the path %q leads upwards", name).WithHint("paths start at the root of the service")
		}
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// fileName is clean for what can be a file only.
func fileName(name string) (string, error) {
	p, err := clean(name)
	switch {
	case err != nil:
		return "", err
	case p == "" || strings.HasSuffix(name, "/"):
		return "", spec.Errorf(spec.Usage, "%q names no file", name)
	case isTemporary(path.Base(p)):
		return "", spec.Errorf(spec.Usage, "%q is a name for files that are being written", name)
	}
	return p, nil
}

// temporarySuffix ends the names under which files are written where a service can rename. They begin with a dot, are
// made of the name that the file will have, and are never listed: what a killed program left is overwritten by the one
// that takes up its work.
const temporarySuffix = ".shardsh-tmp"

func temporary(name string) string {
	dir, base := path.Split(name)
	return dir + "." + base + temporarySuffix
}

func isTemporary(base string) bool {
	return strings.HasPrefix(base, ".") && strings.HasSuffix(base, temporarySuffix)
}

// orderKey is what entries are ordered by.
func orderKey(e Entry) string {
	if e.Dir {
		return e.Name + "/"
	}
	return e.Name
}

// join is path.Join for paths of a service.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// once is the sequence of one error.
func once(err error) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) { yield(Entry{}, err) }
}

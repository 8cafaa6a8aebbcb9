// Package coldbackup reads what Pegasus leaves on a block service when it backs a table up, and writes what a bulk load
// takes. It asks no server.
//
//	<path>/<cluster>/<backup_id>/                        since 2.2; <path> may be empty, <cluster> is cold_backup_root
//	<cluster>/<policy>/<backup_id>/                      before, and by policies
//	    backup_info                                      written last
//	    <app_name>_<app_id>/meta/app_metadata
//	    <app_name>_<app_id>/<partition>/current_checkpoint      the name of the folder that counts
//	    <app_name>_<app_id>/<partition>/chkpt_<host>_<port>/    backup_metadata and the files it lists
//
// What is found there is hostile until proven: files are read up to a limit, names that would lead elsewhere are refused,
// and what is wrong with a backup is a Problem that names the file, never a guess.
package coldbackup

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Store is what is asked of a block service; paths are slash-separated and relative to its root.
type Store interface {
	// List yields what a directory holds, by name. A directory that is not there is an error of kind spec.NotFound, or
	// empty.
	List(ctx context.Context, dir string) iter.Seq2[Entry, error]
	// Open reads length bytes from offset on, to the end when length is -1. What is not there is spec.NotFound, and what
	// the service itself knows to be broken is ErrDamaged.
	Open(ctx context.Context, path string, offset, length int64) (io.ReadCloser, error)
}

// ErrDamaged says that a service does not stand by a file: its size is not the one that was written.
var ErrDamaged = errors.New("damaged")

// Entry is a file or directory.
type Entry struct {
	Name string
	Dir  bool
	Size int64  // bytes
	MD5  string // hexadecimal; "" when the service does not tell it
}

// Problem is what is wrong with a file or folder.
type Problem struct{ Path, Why string }

func (p Problem) String() string { return p.Path + ": " + p.Why }

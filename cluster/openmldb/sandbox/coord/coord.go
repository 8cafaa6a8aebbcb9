// Package coord is what nameservers and tablets of a sandbox have in place of ZooKeeper, or on top of a real one: a tree of
// small nodes, sessions that die, and watches. The paths and contents are those of the store (its <root> included), so
// that whoever reads them, through a real ZooKeeper, sees what a real cluster would show.
package coord

import (
	"context"
	"errors"
)

// Why an operation failed. Every other error means that nobody knows whether it was done.
var (
	ErrNoNode   = errors.New("there is no such node")
	ErrExists   = errors.New("the node exists")
	ErrVersion  = errors.New("the node has changed")
	ErrNotEmpty = errors.New("the node has children")
	ErrExpired  = errors.New("the session has expired") // also after Close
)

// Mode of a new node.
type Mode int

// The modes.
const (
	Persistent          Mode = iota
	Ephemeral                // gone with the session that made it
	EphemeralSequential      // the same, with ten digits appended that grow
)

// AnyVersion sets or deletes whatever version a node has.
const AnyVersion int32 = -1

// Session is one process's connection. Methods may be called from any goroutine.
type Session interface {
	// Create makes a node and answers its path, which for a sequential one differs from the one asked for. Missing
	// parents are made, persistent and empty.
	Create(path string, data []byte, mode Mode) (string, error)
	// Get answers the data and its version, which grows by one with every Set.
	Get(path string) (data []byte, version int32, err error)
	Set(path string, data []byte, version int32) error
	Delete(path string, version int32) error
	// Children answers the names of the direct children, sorted.
	Children(path string) ([]string, error)
	// Watch sends to the channel it answers when the node's data or the list of its children may have changed, until
	// the context ends. Signals are merged; the first one comes at once. A node that does not exist may be watched.
	Watch(ctx context.Context, path string) <-chan struct{}
	// Expired is closed when the session is over; its ephemeral nodes are gone or about to be.
	Expired() <-chan struct{}
	// Close ends the session, and its ephemeral nodes at once.
	Close() error
	// Abandon ends the session as the death of its process would: its ephemeral nodes stay until the session timeout.
	Abandon()
}

// Tree opens sessions.
type Tree interface {
	Open(ctx context.Context) (Session, error)
	// Root is the path that everything of the cluster is below.
	Root() string
}

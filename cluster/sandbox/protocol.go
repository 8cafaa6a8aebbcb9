package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// The control protocol: on a unix socket that only its owner may use, a line of JSON asks and a line of JSON answers,
// one after the other. A connection may ask as often as it likes.

// maxLine bounds one line either way: a request of a stranger cannot make a sandbox allocate more.
const maxLine = 1 << 20

// The operations.
const (
	opPing     = "ping"
	opOpen     = "open"  // name: a cluster; started when it was not
	opList     = "list"  // the nodes of all open clusters
	opKill     = "kill"  // name: a node
	opStart    = "start" // name: a node
	opShutdown = "shutdown"
	opProvide  = "providers" // the directories of the block services

	opStop      = "stop"      // name: a node
	opPause     = "pause"     // name: a node
	opSlow      = "slow"      // name: a node, duration
	opFill      = "fill"      // name: a node, count: percent
	opLose      = "lose"      // name: a node
	opPartition = "partition" // name, other: two nodes
	opHeal      = "heal"      // cluster
	opThrottle  = "throttle"  // cluster, count: writes per second
	opPoints    = "points"    // cluster
	opBreak     = "break"     // cluster, name: a point, count: calls
)

type request struct {
	Op       string        `json:"op"`
	Name     string        `json:"name,omitempty"`
	Other    string        `json:"other,omitempty"`
	Cluster  string        `json:"cluster,omitempty"`
	Count    int           `json:"count,omitempty"`
	Duration time.Duration `json:"duration,omitempty"` // nanoseconds
}

type answer struct {
	Address string       `json:"address,omitempty"` // open
	Nodes   []NodeStatus `json:"nodes,omitempty"`   // list; what is done to a node: the node meant
	Points  []Point      `json:"points,omitempty"`  // points

	Providers map[string]string `json:"providers,omitempty"` // providers: directories by name

	PID   int        `json:"pid,omitempty"` // ping
	Error *wireError `json:"error,omitempty"`
}

// wireError is a spec.Error on the socket.
type wireError struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

var errLineTooLong = errors.New("line too long")

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	return &wireError{Kind: spec.KindOf(err).String(), Message: err.Error(), Hint: spec.HintOf(err)}
}

func (w *wireError) err() error {
	if w == nil {
		return nil
	}
	kind := spec.Failed
	for k := spec.Failed; k <= spec.Interrupted; k++ {
		if k.String() == w.Kind {
			kind = k
		}
	}
	return &spec.Error{Kind: kind, Err: errors.New(w.Message), Hint: w.Hint}
}

// readLine reads one bounded JSON line into value.
func readLine(r *bufio.Reader, value any) error {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return errLineTooLong
		}
		line = append(line, part...)
		if err == nil {
			return json.Unmarshal(line, value)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func writeLine(w io.Writer, value any) error {
	line, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// MatchNode finds the node a person means: its endpoint, its host, or the end of either from a dot or colon on.
func MatchNode(nodes []NodeStatus, name string) (NodeStatus, error) {
	var found []NodeStatus
	var all []string
	for _, n := range nodes {
		if n.Endpoint == name {
			return n, nil
		}
		host, _, _ := strings.Cut(n.Endpoint, ":")
		if endsIn(n.Endpoint, name) || endsIn(host, name) {
			found = append(found, n)
		}
		all = append(all, n.Endpoint)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if len(all) == 0 {
			return NodeStatus{}, spec.Errorf(spec.NotFound, "no sandbox cluster runs yet, so that there is no node %q", name).
				WithHint("a cluster starts when it is first asked something: doctor")
		}
		return NodeStatus{}, spec.Errorf(spec.NotFound, "no sandbox node is called %q", name).
			WithHint("nodes: %s", strings.Join(all, ", "))
	}
	all = all[:0]
	for _, n := range found {
		all = append(all, n.Endpoint)
	}
	return NodeStatus{}, spec.Errorf(spec.Usage, "%q may be any of %s", name, strings.Join(all, ", ")).
		WithHint("write more of the address")
}

// endsIn reports whether end is the whole of s, or a part of it that starts at a dot or colon.
func endsIn(s, end string) bool {
	if end == "" || !strings.HasSuffix(s, end) {
		return false
	}
	at := len(s) - len(end)
	return at == 0 || strings.ContainsRune(".:", rune(end[0])) || strings.ContainsRune(".:", rune(s[at-1]))
}

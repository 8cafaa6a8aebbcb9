package pegasus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// LeastAvailable is the percentage of a disk that must be free for the store to write to it, unless the servers'
// configuration says otherwise (disk_min_available_space_ratio).
const LeastAvailable = 10

// Disk is one data directory of a replica server.
type Disk struct {
	Tag, Dir            string
	Capacity, Available int64         // bytes, of the file system it is on
	Replicas            []DiskReplica // by table and partition; learners and inactive ones are not among them
}

// AvailableRatio is the percentage that is free, rounded down; 100 for a disk that tells no capacity.
func (d Disk) AvailableRatio() int64 {
	if d.Capacity <= 0 {
		return 100
	}
	return int64(float64(d.Available) * 100 / float64(d.Capacity))
}

// DiskReplica is a replica on a disk.
type DiskReplica struct {
	AppID     int32
	Partition int
	Primary   bool // else a secondary
}

// nodeCall asks one replica server, whatever the meta servers say.
func nodeCall[Q, A any](ctx context.Context, d *Driver, op, endpoint string, rpc *wire.RPC[Q, A], pid wire.GPID, q *Q, code func(*A) string) (*A, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	a := new(A)
	if err := call(ctx, d, endpoint, rpc, pid, 0, q, a, code); err != nil {
		return nil, failure(op, rpc.Change, err)
	}
	return a, nil
}

// Disks asks a replica server for its disks and for the replicas on them, of one table unless it is "". A server that
// holds none of the table is NotFound.
func (d *Driver) Disks(ctx context.Context, endpoint, table string) ([]Disk, error) {
	op := "ask a node for its disks"
	endpoint, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	q := wire.QueryDiskRequest{AppName: table}
	if address, err := wire.ParseAddress(endpoint); err == nil {
		q.Node = address
	}
	a, err := nodeCall(ctx, d, op, endpoint, &wire.QueryDisk, wire.GPID{}, &q, func(a *wire.QueryDiskResponse) string { return a.Err })
	switch {
	case err != nil:
		return nil, err
	case a.Err == wire.CodeObjectNotFound:
		return nil, &spec.Error{Kind: spec.NotFound, Op: op, Endpoint: endpoint, Code: a.Err, Err: fmt.Errorf("it holds no replica of %s", table)}
	case a.Err != wire.OK:
		return nil, codeError(op, endpoint, a.Err, "", false)
	}
	disks := make([]Disk, len(a.Disks))
	for i := range a.Disks {
		from := &a.Disks[i]
		disks[i] = Disk{Tag: from.Tag, Dir: from.Dir, Capacity: mebibytes(from.CapacityMB), Available: mebibytes(from.AvailableMB)}
		for primary, held := range map[bool]map[int32][]wire.GPID{true: from.Primaries, false: from.Secondaries} {
			for _, pids := range held {
				for _, pid := range pids {
					disks[i].Replicas = append(disks[i].Replicas, DiskReplica{pid.App, int(pid.Partition), primary})
				}
			}
		}
		d.tags.add(from.Tag)
		slices.SortFunc(disks[i].Replicas, func(x, y DiskReplica) int {
			return cmp.Or(cmp.Compare(x.AppID, y.AppID), cmp.Compare(x.Partition, y.Partition))
		})
	}
	return disks, nil
}

// diskTags are the tags of disks that answers named.
type diskTags struct {
	mu   sync.Mutex
	tags []string
}

// maxDiskTags bounds them: servers have a dozen disks, with the same tags everywhere.
const maxDiskTags = 64

func (t *diskTags) add(tag string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tags) < maxDiskTags && !slices.Contains(t.tags, tag) {
		t.tags = append(t.tags, tag)
	}
}

// DiskTags are the tags of disks that servers named while this driver was open, in order; nothing is asked.
func (d *Driver) DiskTags() []string {
	d.tags.mu.Lock()
	defer d.tags.mu.Unlock()
	return slices.Sorted(slices.Values(d.tags.tags))
}

// mebibytes bounds what a server says to what can be counted in bytes.
func mebibytes(n int64) int64 { return min(max(n, 0), math.MaxInt64>>20) << 20 }

// MigrateDisk has a replica server move a secondary replica from one of its disks to another. It answers once that is
// begun. At its end the replica leaves its group for a moment and learns what it missed.
func (d *Driver) MigrateDisk(ctx context.Context, endpoint string, app int32, partition int, from, to string) error {
	op := fmt.Sprintf("move %d.%d from %s to %s", app, partition, from, to)
	endpoint, err := parseEndpoint(endpoint)
	if err != nil {
		return err
	}
	pid := wire.GPID{App: app, Partition: int32(partition)}
	q := wire.DiskMigrateRequest{PID: pid, Origin: from, Target: to}
	a, err := nodeCall(ctx, d, op, endpoint, &wire.DiskMigrate, pid, &q, func(a *wire.DiskMigrateResponse) string { return a.Err })
	if err != nil || a.Err == wire.OK {
		return err
	}
	e := codeError(op, endpoint, a.Err, textOf(a.Hint), true)
	switch a.Err {
	case wire.CodeBusy:
		e.Err, e.Hint = errors.New(cmp.Or(textOf(a.Hint), "it is being moved already")), "query_disk -d shows when it is there"
	case wire.CodeInvalidState:
		e.Kind, e.Hint = spec.Refused, "only a secondary can be moved; changeleader makes one of a primary"
	case wire.CodeObjectNotFound:
		e.Kind, e.Hint = spec.NotFound, "query_disk -d shows the disks and what is on them"
	}
	return e
}

func textOf(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// Hotkey is what a detection of hot keys says.
type Hotkey struct {
	// State is "STOPPED", "COARSE_DETECTING", "FINE_DETECTING" or "FINISHED", "" when the server did not say.
	State string
	// Found says that Key is the hot hash key.
	Found bool
	Key   []byte
	Hint  string // the server's own words
}

// What is done with a detection.
const (
	HotkeyStart = "start"
	HotkeyStop  = "stop"
	HotkeyQuery = "query"
)

var hotkeyActions = map[string]wire.HotkeyAction{
	HotkeyStart: wire.HotkeyStart, HotkeyStop: wire.HotkeyStop, HotkeyQuery: wire.HotkeyQuery,
}

// hotStates finds a detection's state in a server's words.
var hotStates = regexp.MustCompile(`STOPPED|COARSE_DETECTING|FINE_DETECTING|FINISHED`)

// DetectHotkey starts or stops a detection on the server of a replica, or asks what it found. kind is "read" or "write".
// That nothing is found yet is no error; starting what runs is Unavailable.
func (d *Driver) DetectHotkey(ctx context.Context, endpoint string, app int32, partition int, kind, action string) (Hotkey, error) {
	op := fmt.Sprintf("%s the detection of %s hot keys in %d.%d", action, kind, app, partition)
	endpoint, err := parseEndpoint(endpoint)
	if err != nil {
		return Hotkey{}, err
	}
	what, known := hotkeyActions[action]
	of, ok := wire.ParseHotkeyType(kind)
	if !known || !ok {
		return Hotkey{}, spec.Errorf(spec.Usage, "%s of %s hot keys: there is no such thing", action, kind)
	}
	pid := wire.GPID{App: app, Partition: int32(partition)}
	rpc := wire.DetectHotkey
	rpc.Change = action != HotkeyQuery
	q := wire.DetectHotkeyRequest{Type: of, Action: what, PID: pid}
	a, err := nodeCall(ctx, d, op, endpoint, &rpc, pid, &q, func(a *wire.DetectHotkeyResponse) string { return a.Err })
	if err != nil {
		return Hotkey{}, err
	}
	h := Hotkey{Hint: textOf(a.Hint), State: hotStates.FindString(textOf(a.Hint))}
	switch {
	case a.Err == wire.OK && action == HotkeyQuery:
		h.State, h.Found, h.Key = "FINISHED", true, unescapeKey(textOf(a.Result))
		return h, nil
	case a.Err == wire.OK, a.Err == wire.CodeBusy && action == HotkeyQuery:
		return h, nil
	}
	e := codeError(op, endpoint, a.Err, h.Hint, rpc.Change)
	switch a.Err {
	case wire.CodeBusy:
		e.Err, e.Hint = errors.New(cmp.Or(h.Hint, "it is running already")), "-c query shows what it found, -c stop ends it"
	case wire.CodeInvalidState:
		e.Hint = "requests go to the primary, which is asked when -d is left out"
	case wire.CodeObjectNotFound:
		e.Kind, e.Hint = spec.NotFound, "app TABLE -d shows who holds the partition"
	}
	return h, e
}

// unescapeKey reads C's escapes as servers write them. Text that is none of it stands as it is.
func unescapeKey(text string) []byte {
	var key []byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' {
			key = append(key, c)
			continue
		}
		if i++; i == len(text) {
			return []byte(text)
		}
		switch c = text[i]; c {
		case 'n':
			key = append(key, '\n')
		case 'r':
			key = append(key, '\r')
		case 't':
			key = append(key, '\t')
		case '"', '\'', '\\':
			key = append(key, c)
		case 'x', 'X':
			if i+2 >= len(text) {
				return []byte(text)
			}
			n, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
			if err != nil {
				return []byte(text)
			}
			key = append(key, byte(n))
			i += 2
		default:
			return []byte(text)
		}
	}
	return key
}

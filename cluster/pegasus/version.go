package pegasus

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Version is the release of one server.
type Version struct {
	Text         string // "2.6.0-SNAPSHOT"; "" when the server does not tell
	Major, Minor int
}

// HasMetrics says whether the server tells what it counts at /metrics, which is in place of perf counters from 2.6 on.
func (v Version) HasMetrics() bool { return v.Major > 2 || v.Major == 2 && v.Minor >= 6 }

// versions remembers the release of each server that was asked.
type versions struct {
	mu    sync.Mutex
	slots map[string]*versionSlot
}

// versionSlot is one server's. Whoever has the turn may ask the server.
type versionSlot struct {
	turn  chan struct{}
	mu    sync.Mutex
	known *Version
}

func (v *versions) slot(endpoint string) *versionSlot {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.slots[endpoint]
	if s == nil {
		if len(v.slots) >= maxNames {
			clear(v.slots)
		}
		s = &versionSlot{turn: make(chan struct{}, 1)}
		v.slots[endpoint] = s
	}
	return s
}

func (s *versionSlot) get() *Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

func (s *versionSlot) set(v *Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = v
}

// ServerVersion is the release of a server. It is asked once; a server that turns out to be another release is asked
// again.
func (d *Driver) ServerVersion(ctx context.Context, endpoint string) (Version, error) {
	endpoint, err := parseEndpoint(endpoint)
	if err != nil {
		return Version{}, err
	}
	slot := d.versions.slot(endpoint)
	if v := slot.get(); v != nil {
		return *v, nil
	}
	select {
	case slot.turn <- struct{}{}:
		defer func() { <-slot.turn }()
	case <-ctx.Done():
		return Version{}, failure("ask for the release", false, ctx.Err())
	}
	if v := slot.get(); v != nil { // somebody else asked meanwhile
		return *v, nil
	}
	v, err := d.askVersion(ctx, endpoint)
	if err == nil {
		slot.set(&v)
	}
	return v, err
}

// forgetVersion has the server asked again.
func (d *Driver) forgetVersion(endpoint string) { d.versions.slot(endpoint).set(nil) }

// askVersion reads the server's own words and, where they say nothing, looks whether it has perf counters.
func (d *Driver) askVersion(ctx context.Context, endpoint string) (Version, error) {
	text, err := d.RemoteCommand(ctx, endpoint, "server-info")
	if err != nil {
		return Version{}, err
	}
	if v, ok := parseServerInfo(text); ok {
		return v, nil
	}
	// No counter has such a name, so that none that begins anew when it is read is read.
	text, err = d.RemoteCommand(ctx, endpoint, "perf-counters-by-prefix", "shardsh looks whether there are any")
	switch {
	case err != nil:
		return Version{}, err
	case CommandRefused(text):
		return Version{Major: 2, Minor: 6}, nil
	}
	return Version{Major: 2, Minor: 5}, nil
}

// serverSentence is the answer up to 2.5.
var serverSentence = regexp.MustCompile(`^Pegasus Server ([^ ]{1,64}) `)

var releaseNumber = regexp.MustCompile(`^(\d{1,4})\.(\d{1,4})(?:[.-]|$)`)

// parseServerInfo reads both forms of the answer: a sentence up to 2.5, JSON after it.
func parseServerInfo(text string) (Version, bool) {
	var info struct {
		Version string `json:"version"`
	}
	if m := serverSentence.FindStringSubmatch(strings.TrimSpace(text)); m != nil {
		info.Version = m[1]
	} else if json.Unmarshal([]byte(text), &info) != nil {
		return Version{}, false
	}
	m := releaseNumber.FindStringSubmatch(info.Version)
	if m == nil {
		return Version{}, false
	}
	major, errMajor := strconv.Atoi(m[1])
	minor, errMinor := strconv.Atoi(m[2])
	return Version{Text: info.Version, Major: major, Minor: minor}, errMajor == nil && errMinor == nil
}

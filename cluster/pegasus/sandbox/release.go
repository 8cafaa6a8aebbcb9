package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// release is the Pegasus release that a cluster speaks like.
type release int

const (
	release25 release = iota // 2.5.0, the newest that is released: what the sandbox is when nobody asks for another
	release26                // 2.6.0, not released yet
)

var releaseNames = [...]string{"2.5", "2.6"}

// notAStore stands where Pegasus says from which commit it was built.
const notAStore = "shardsh sandbox, not a store"

// version is what servers answer for one.
func (r release) version() string {
	if r == release26 {
		return "2.6.0-SNAPSHOT"
	}
	return "2.5.0"
}

// parseRelease reads the release of a configuration; "" is the default.
func parseRelease(text string) (release, error) {
	if text == "" {
		return release25, nil
	}
	for i, name := range releaseNames {
		if text == name {
			return release(i), nil
		}
	}
	return 0, spec.Errorf(spec.Usage, "the sandbox is no Pegasus %s", fmt.Sprintf("%q", text)).
		WithHint("releases: %s", strings.Join(releaseNames[:], ", "))
}

// serverInfo is the answer to the remote command server-info: a sentence up to 2.5, JSON after it.
func (r release) serverInfo(started time.Time) string {
	if r == release25 {
		return fmt.Sprintf("Pegasus Server %s (%s) Release, Started at %s", r.version(), notAStore, started.Format(time.DateTime))
	}
	text, err := json.Marshal(map[string]string{
		"version": r.version(), "build_type": "Release", "git_SHA": notAStore, "start_time": started.Format(time.DateTime),
	})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// told is what a remote command that reads or sets something answers after 2.5: JSON whose error is "ok" or says what
// was wrong, with a key for a value.
func told(wrong, key string, value any) string {
	answer := map[string]any{"error": "ok"}
	if wrong != "" {
		answer["error"] = wrong
	}
	if key != "" {
		answer[key] = value
	}
	return indented(answer, "  ")
}

// indented is JSON as servers write it for people, without a line's end.
func indented(value any, indent string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(value); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// later26 are the envs that tables may have from 2.6 on.
var later26 = []string{"duplication.master_app_name", "duplication.follower_app_status"}

// checkEnv says what is wrong with an env.
func (r release) checkEnv(key, value string) error {
	if r < release26 && slices.Contains(later26, key) {
		return fmt.Errorf("%q is not an env that tables have", key)
	}
	return checkEnv(key, value)
}

// hostPort names a node by its host, which is all that releases after 2.5 go by; nil before.
func (m *metaServer) hostPort(id nodeID) *wire.HostPort {
	if m.net.release() < release26 {
		return nil
	}
	return hostPortOf(m.net.address(id))
}

// hostPortOf names a server by its host: the sandbox's have no other names than their addresses.
func hostPortOf(endpoint string) *wire.HostPort {
	at, err := netip.ParseAddrPort(endpoint)
	if err != nil {
		return nil
	}
	return &wire.HostPort{Host: at.Addr().String(), Port: at.Port(), Type: 1}
}

// hostPorts is nil before 2.6.
func (m *metaServer) hostPorts(ids []nodeID) []wire.HostPort {
	if m.net.release() < release26 {
		return nil
	}
	all := make([]wire.HostPort, 0, len(ids))
	for _, id := range ids {
		if hp := m.hostPort(id); hp != nil {
			all = append(all, *hp)
		}
	}
	return all
}

// info is the table as the release tells of it.
func (r release) info(a *app) wire.AppInfo {
	info := a.info()
	if r >= release26 {
		info.AtomicIdempotent = &a.AtomicIdempotent
	}
	return info
}

// What the names of listed tables may be matched for, after 2.5.
const (
	matchAll = iota + 1
	matchExact
	matchAnywhere
	matchPrefix
	matchPostfix
)

// listed says whether a table's name is asked for; what is wrong with the question is answered as a hint.
func (r release) listed(q *wire.ListAppsRequest, name string) (yes bool, hint string) {
	if r < release26 || q.Pattern == nil || q.MatchType == nil {
		return true, ""
	}
	switch *q.MatchType {
	case matchAll:
		return true, ""
	case matchExact:
		return name == *q.Pattern, ""
	case matchAnywhere:
		return strings.Contains(name, *q.Pattern), ""
	case matchPrefix:
		return strings.HasPrefix(name, *q.Pattern), ""
	case matchPostfix:
		return strings.HasSuffix(name, *q.Pattern), ""
	}
	return false, fmt.Sprintf("match_type is not supported: val=%d", *q.MatchType)
}

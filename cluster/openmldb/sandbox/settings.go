package sandbox

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"shardsh/commands/spec"
)

// defaultRoot is where a cluster stands in its coordination tree (zk_root_path).
const defaultRoot = "/openmldb"

// release2018 has the names and operations of the documents' session.
const release2018 = "2018"

// releases are what the sandbox speaks like; the first one is the default.
var releases = []string{"0.9", release2018}

// settings are what sandbox.Config.Settings may hold:
//
//	zk      host:port,…/root of a real ZooKeeper, in place of the tree in this process; the second cluster stands
//	        under root2
//	strict  true: credentials are checked (skip_grant_tables=false)
type settings struct {
	zk     []string // nil for none
	root   string
	old    bool
	strict bool
}

// readSettings reads them; compat is one of releases, or "" for the first.
func readSettings(given map[string]string, compat string) (settings, error) {
	s := settings{root: defaultRoot, old: compat == release2018}
	for key, value := range given {
		switch key {
		case "zk":
			if err := s.readZK(value); err != nil {
				return s, err
			}
		case "strict":
			strict, err := strconv.ParseBool(value)
			if err != nil {
				return s, spec.Errorf(spec.Usage, "openmldb.strict is true or false, not %q", value)
			}
			s.strict = strict
		default:
			return s, spec.Errorf(spec.Usage, "the sandbox of openmldb has no setting %q", key).
				WithHint("settings: zk, strict")
		}
	}
	return s, nil
}

func (s *settings) readZK(text string) error {
	servers, root, _ := strings.Cut(strings.TrimPrefix(text, "zk://"), "/")
	for server := range strings.SplitSeq(servers, ",") {
		host, port, err := net.SplitHostPort(server)
		ip := net.ParseIP(host)
		if err != nil || port == "" || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return spec.Errorf(spec.Usage, "%q is no ZooKeeper on this machine", server).WithHint("write 127.0.0.1:2181/root")
		}
		s.zk = append(s.zk, server)
	}
	if root = strings.Trim(root, "/"); root != "" {
		s.root = "/" + root
	}
	if slices.Contains(strings.Split(root, "/"), "") && root != "" {
		return spec.Errorf(spec.Usage, "%q is no path in ZooKeeper", root)
	}
	return nil
}

package openmldb

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"shardsh/commands/spec"
)

// Schemes of addresses.
const (
	schemeZK = "zk://"
	schemeNS = "ns://"
)

// place is an address, read.
type place struct {
	servers []string // of ZooKeeper, or nameservers
	root    string   // in ZooKeeper, "" for a list of nameservers
}

const addressHint = "write zk://host:port[,host:port]/root, the root being the servers' zk_root_path, or ns://host:port[,host:port] of the nameservers"

// parseAddress reads `zk://h1:p1,h2:p2/root` and `ns://h1:p1,h2:p2`; repetitions are dropped.
func parseAddress(address string) (place, error) {
	var p place
	bad := func(format string, args ...any) (place, error) {
		return place{}, spec.Errorf(spec.Usage, "%q is no address of OpenMLDB: "+format, append([]any{address}, args...)...).WithHint(addressHint)
	}
	list, ok := strings.CutPrefix(address, schemeNS)
	if !ok {
		if list, ok = strings.CutPrefix(address, schemeZK); !ok {
			return bad("it begins with neither %s nor %s", schemeZK, schemeNS)
		}
		servers, root, found := strings.Cut(list, "/")
		if root = strings.TrimRight(root, "/"); !found || root == "" {
			return bad("the root is missing")
		}
		for part := range strings.SplitSeq(root, "/") {
			if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, notInPath) {
				return bad("%q is no path in ZooKeeper", "/"+root)
			}
		}
		list, p.root = servers, "/"+root
	}
	for part := range strings.SplitSeq(list, ",") {
		endpoint := strings.TrimSpace(part)
		if why := notEndpoint(endpoint); why != "" {
			return bad("%q: %s", endpoint, why)
		}
		if !slices.Contains(p.servers, endpoint) {
			p.servers = append(p.servers, endpoint)
		}
	}
	return p, nil
}

func notInPath(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }

// notEndpoint says why a text is no host:port, "" when it is one.
func notEndpoint(text string) string {
	host, port, err := net.SplitHostPort(text)
	switch {
	case err != nil:
		return "it is not host:port"
	case host == "":
		return "the host is missing"
	case strings.ContainsFunc(host, notInHost):
		return "the host has a character that no host name has"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "the port is not a number from 1 to 65535"
	}
	return ""
}

func notInHost(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-._:%", r)
}

// maxName bounds the names of servers that a cluster tells.
const maxName = 255

// notServer says why a text is no name that a server may have: its host:port, or a name that stands for one.
func notServer(text string) string {
	switch {
	case text == "":
		return "it is empty"
	case len(text) > maxName:
		return "it is longer than 255 bytes"
	case strings.ContainsFunc(text, notInHost):
		return "it has a character that no server's name has"
	}
	return ""
}

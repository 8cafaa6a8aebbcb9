package cluster

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"shardsh/commands/spec"
)

// FindEndpoint answers which of some endpoints is meant by what a person typed: the one called so, the only one of that
// host, or the only one whose host or whole ends so, when it begins with a dot or a colon (".32", ".32:34801"). A bare
// "32" is none: it is rather a slip. Short for several it is Usage, for none NotFound; both name candidates.
func FindEndpoint(typed string, among []string) (string, error) {
	if slices.Contains(among, typed) {
		return typed, nil
	}
	end := strings.HasPrefix(typed, ".") || strings.HasPrefix(typed, ":")
	var meant []string
	for _, e := range among {
		host, _, _ := net.SplitHostPort(e)
		if host != "" && host == typed || end && (strings.HasSuffix(e, typed) || strings.HasSuffix(host, typed)) {
			meant = append(meant, e)
		}
	}
	switch len(meant) {
	case 1:
		return meant[0], nil
	case 0:
		return "", spec.Errorf(spec.NotFound, "no node is called %q", typed).WithHint("the nodes are %s", some(among))
	}
	return "", spec.Errorf(spec.Usage, "%q may be any of %s", typed, some(meant)).WithHint("write more of the address")
}

// FindNode finds a node as FindEndpoint does, by its endpoint or the address behind it, and answers its endpoint.
func FindNode(typed string, nodes []Node) (string, error) {
	var among []string
	behind := map[string]string{}
	for _, n := range nodes {
		among = append(among, n.Endpoint)
		if n.RealEndpoint != "" && n.RealEndpoint != n.Endpoint {
			among = append(among, n.RealEndpoint)
			behind[n.RealEndpoint] = n.Endpoint
		}
	}
	found, err := FindEndpoint(typed, among)
	return cmp.Or(behind[found], found), err
}

// some lists a few of many.
func some(endpoints []string) string {
	const few = 10
	text := strings.Join(endpoints[:min(len(endpoints), few)], ", ")
	if more := len(endpoints) - few; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

package cluster

import (
	"strings"

	"shardsh/commands/spec"
)

// Match finds the node that a person means: by its endpoint, its real one, or the end of either from a dot on, with the
// port or without (`.31`, `.31:8541`). It answers the endpoint. One that is none is NotFound, one that may be several
// Usage.
func Match(nodes []Node, name string) (string, error) {
	var found, all []string
	for _, n := range nodes {
		if n.Endpoint == name || n.RealEndpoint == name && name != "" {
			return n.Endpoint, nil
		}
		if matches(n.Endpoint, name) || matches(n.RealEndpoint, name) {
			found = append(found, n.Endpoint)
		}
		all = append(all, n.Endpoint)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", spec.Errorf(spec.NotFound, "no storage node is called %q", name).WithHint("nodes: %s", strings.Join(all, ", "))
	}
	return "", spec.Errorf(spec.Usage, "%q may be any of %s", name, strings.Join(found, ", ")).WithHint("write more of the address")
}

func matches(endpoint, name string) bool {
	host, _, _ := strings.Cut(endpoint, ":")
	return strings.HasPrefix(name, ".") && len(name) > 1 && (strings.HasSuffix(endpoint, name) || strings.HasSuffix(host, name))
}

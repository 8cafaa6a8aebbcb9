package sandbox

import (
	"slices"
	"strings"

	"shardsh/cluster/pegasus/wire"
)

// blackListCommand is the remote command by which operators keep secondaries off nodes that they drain.
func (m *metaServer) blackListCommand() command {
	return command{
		"meta.lb.assign_secondary_black_list", "[ip:port,ip:port,...|clear]",
		"nodes on which no secondaries are placed; in the memory of this server only", m.setBlackList,
	}
}

// setBlackList answers in the words of 2.5.
func (m *metaServer) setBlackList(args []string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(args) == 0:
		var list []string
		for id := range m.black {
			list = append(list, m.net.address(id))
		}
		slices.Sort(list)
		return "get ok: " + strings.Join(list, ",")
	case len(args) > 1:
		return "invalid arguments"
	case args[0] == "clear":
		m.black = nil
		return "clear ok"
	}
	black := map[nodeID]bool{}
	for endpoint := range strings.SplitSeq(args[0], ",") {
		address, err := wire.ParseAddress(endpoint)
		if err != nil {
			return "invalid arguments"
		}
		for _, id := range m.nodes {
			if m.net.address(id) == address.String() {
				black[id] = true
			}
		}
	}
	m.black = black
	return "set ok"
}

package sandbox

import (
	"fmt"
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

// setBlackList answers in the words of its release.
func (m *metaServer) setBlackList(args []string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	say := func(old, wrong string) string {
		if m.net.release() < release26 {
			return old
		}
		return told(wrong, "", nil)
	}
	switch {
	case len(args) == 0:
		var list []string
		for id := range m.black {
			list = append(list, m.net.address(id))
		}
		slices.Sort(list)
		if m.net.release() >= release26 {
			return told("", "assign_secondary_black_list", strings.Join(list, ","))
		}
		return "get ok: " + strings.Join(list, ",")
	case len(args) > 1:
		return say("invalid arguments", "invalid argument, 0 or 1 argument is acceptable")
	case args[0] == "clear":
		m.black = nil
		return say("clear ok", "")
	}
	black := map[nodeID]bool{}
	for endpoint := range strings.SplitSeq(args[0], ",") {
		address, err := wire.ParseAddress(endpoint)
		if err != nil {
			return say("invalid arguments", fmt.Sprintf("invalid argument, bad host:port '%s'", endpoint))
		}
		for _, id := range m.nodes {
			if m.net.address(id) == address.String() {
				black[id] = true
			}
		}
	}
	m.black = black
	return say("set ok", "")
}

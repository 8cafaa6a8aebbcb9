package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// command is one remote command.
type command struct {
	name, args, help string
	run              func(args []string) string
}

// commonCommands are those that servers of both roles have.
func commonCommands(started time.Time, r release) []command {
	return []command{
		{"server-info", "", "what this server is and since when it runs", func([]string) string {
			return r.serverInfo(started)
		}},
		{"flush-log", "", "have everything logged so far written; the sandbox keeps nothing back", func([]string) string {
			return "Flush done."
		}},
		{"config-dump", "", "the configuration that differs from Pegasus's", func([]string) string {
			return fmt.Sprintf("[sandbox]\ntimers_divided_by = %d\ngrace_milliseconds = %d\nlease_milliseconds = %d\nzookeeper_session_milliseconds = %d\n",
				timers, graceTime.Milliseconds(), leaseTime.Milliseconds(), sessionTime.Milliseconds())
		}},
	}
}

// runCommand runs a remote command as a server does: whatever goes wrong is said in the text.
func runCommand(commands []command, q *wire.Command) string {
	find := func(name string) *command {
		if i := slices.IndexFunc(commands, func(c command) bool { return c.name == name }); i >= 0 {
			return &commands[i]
		}
		return nil
	}
	if q.Name == "help" {
		if len(q.Args) > 0 {
			if c := find(q.Args[0]); c != nil {
				return fmt.Sprintf("%s - %s\n%s\n", c.name, c.help, strings.TrimSpace(c.name+" "+c.args))
			}
			return fmt.Sprintf("cannot find command '%s'", q.Args[0])
		}
		var all strings.Builder
		all.WriteString("help - the commands of this server\n")
		for _, c := range commands {
			fmt.Fprintf(&all, "%s - %s\n", c.name, c.help)
		}
		return all.String()
	}
	if c := find(q.Name); c != nil {
		return c.run(q.Args)
	}
	return fmt.Sprintf("unknown command '%s'", q.Name)
}

func (s *replicaServer) callCommand(_ *inbound, q *wire.Command, out *string) string {
	r := s.net.release()
	*out = runCommand(slices.Concat(commonCommands(s.started, r), r.counterCommands(s.counters), s.settingCommands()), q)
	return ""
}

func (m *metaServer) callCommand(_ *inbound, q *wire.Command, out *string) string {
	r := m.net.release()
	own := append(m.settingCommands(), m.blackListCommand())
	*out = runCommand(slices.Concat(commonCommands(m.started, r), r.counterCommands(m.counters), own), q)
	return ""
}

// negotiate answers that nobody needs to authenticate here.
func negotiate(_ *inbound, _ *wire.Negotiation, out *wire.Negotiation) string {
	out.Status = wire.AuthDisable
	return ""
}

package pegasus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sync/errgroup"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ServerInfo asks servers who they are.
func ServerInfo(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "server_info",
		Aliases: []string{"server-info"},
		Systems: systems,
		Topic:   "cluster",
		Summary: "ask every server for its version and start time",
		Long: "Sends the remote command server-info to the meta servers and replica servers, a few at a time. " +
			"A replica server that the meta server counts as dead is listed and not asked. " +
			"When a server that was asked does not answer, its row says why and the exit code is 3, or 1 when none answered.",
		Flags: []spec.Flag{
			{
				Name: "type", Short: "t", Kind: spec.ArgEnum, Default: "all",
				Values: []string{"all", driver.RoleMeta, driver.RoleReplica}, Help: "only servers of this role",
			},
			{Name: "list", Short: "l", Kind: spec.ArgText, Help: "ask these instead, host:port joined by commas; no meta server is needed"},
		},
		Examples: []spec.Example{
			{Line: "server_info", Says: "which versions run where"},
			{Line: "server_info -t meta-server", Says: "the meta servers only"},
		},
		SeeAlso: []string{"nodes", "cluster_info"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return askServers(ctx, env, call, "server-info")
		},
	}
}

// askServers sends a remote command that reads to the servers that -t and -l choose.
func askServers(ctx context.Context, env commands.Env, call *spec.Call, command string) (*spec.Table, error) {
	c, servers, err := chosenServers(ctx, env, call, call.String("type"))
	if err != nil {
		return nil, err
	}
	answers := askAll(ctx, c, servers, command)
	return answersTable(servers, answers), ctx.Err()
}

// askEach asks each live server, a few at a time.
func askEach(servers []driver.Server, ask func(endpoint string) (string, error)) []answer {
	answers := make([]answer, len(servers))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, s := range servers {
		if !s.Alive {
			answers[i].text = "not alive, not asked"
			continue
		}
		group.Go(func() error {
			text, err := ask(s.Endpoint)
			answers[i] = answer{asked: true, text: strings.TrimSpace(text), err: err}
			return nil
		})
	}
	_ = group.Wait() // the errors are in the answers
	return answers
}

// chosenServers are those of -l, or all of a role.
func chosenServers(ctx context.Context, env commands.Env, call *spec.Call, role string) (admin, []driver.Server, error) {
	listed, err := endpoints(call.String("list"))
	if err != nil {
		return nil, nil, err
	}
	if len(listed) > 0 && call.Has("type") {
		return nil, nil, spec.Errorf(spec.Usage, "-t and -l exclude each other")
	}
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, nil, err
	}
	if len(listed) > 0 {
		return c, listed, nil
	}
	servers, err := serversOf(ctx, c, role)
	return c, servers, err
}

// endpoints reads host:port,host:port.
func endpoints(list string) ([]driver.Server, error) {
	if list == "" {
		return nil, nil
	}
	var servers []driver.Server
	for endpoint := range strings.SplitSeq(list, ",") {
		endpoint = strings.TrimSpace(endpoint)
		if host, port, err := net.SplitHostPort(endpoint); err != nil || host == "" || port == "" {
			return nil, spec.Errorf(spec.Usage, "%s is not host:port", quote(endpoint))
		}
		servers = append(servers, driver.Server{Endpoint: endpoint, Alive: true})
	}
	return servers, nil
}

func serversOf(ctx context.Context, c admin, role string) ([]driver.Server, error) {
	all, err := c.Servers(ctx)
	if err != nil {
		return nil, err
	}
	var servers []driver.Server
	for _, s := range all {
		if role == "all" || s.Role == role {
			servers = append(servers, s)
		}
	}
	return servers, nil
}

// answer is what one server said, or why it did not.
type answer struct {
	asked bool
	text  string
	err   error
}

func askAll(ctx context.Context, c admin, servers []driver.Server, command string, args ...string) []answer {
	return askEach(servers, func(endpoint string) (string, error) { return c.RemoteCommand(ctx, endpoint, command, args...) })
}

func answersTable(servers []driver.Server, answers []answer) *spec.Table {
	return &spec.Table{
		Columns: []spec.Column{{Name: "address"}, {Name: "role"}, {Name: "acked", Kind: spec.Bool}, {Name: "message"}},
		Rows: func(yield func(spec.Row, error) bool) {
			for i, a := range answers {
				message := oneLine(a.text)
				if a.err != nil {
					message = a.err.Error()
				}
				if !yield(spec.Row{servers[i].Endpoint, commands.Word(servers[i].Role), a.asked && a.err == nil, message}, nil) {
					return
				}
			}
			if err := answersError(answers); err != nil {
				yield(nil, err)
			}
		},
	}
}

// oneLine is JSON that stands in several lines, as servers after 2.5 answer, in one.
func oneLine(text string) string {
	var b bytes.Buffer
	if !strings.HasPrefix(text, "{") || json.Compact(&b, []byte(text)) != nil {
		return text
	}
	return b.String()
}

func answersError(answers []answer) error {
	var asked, failed int
	var first error
	for _, a := range answers {
		if a.asked {
			asked++
		}
		if a.err != nil {
			failed++
			if first == nil {
				first = a.err
			}
		}
	}
	switch {
	case failed == 0:
		return nil
	case failed == asked:
		return first
	}
	return &spec.Error{Kind: spec.PartlyDone, Op: fmt.Sprintf("asked %d servers, %d did not answer", asked, failed), Err: first}
}

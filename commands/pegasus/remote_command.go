package pegasus

import (
	"context"
	"fmt"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// serverFlags choose servers.
func serverFlags() []spec.Flag {
	return []spec.Flag{
		{
			Name: "type", Short: "t", Kind: spec.ArgEnum, Default: "all",
			Values: []string{"all", driver.RoleMeta, driver.RoleReplica}, Help: "only servers of this role",
		},
		{Name: "list", Short: "l", Kind: spec.ArgText, Help: "these servers instead, host:port joined by commas"},
	}
}

// remoteCommands are what completion offers: those that servers from 2.4 to 2.6 have.
var remoteCommands = []string{
	"help", "server-info", "flush-log", "reset-log-start-level", "config-dump", "task-code", "system.queue",
	"meta.live_percentage", "meta.lb.assign_delay_ms", "meta.lb.assign_secondary_black_list",
	"meta.lb.add_secondary_max_count_for_one_node", "meta.lb.only_primary_balancer", "meta.lb.only_move_primary",
	"meta.lb.balancer_in_turn", "meta.lb.ignored_app_list", "meta.lb.get_balance_operation_count", "meta.dump",
	"replica.kill_partition", "replica.deny-client", "replica.verbose-client-log", "replica.verbose-commit-log",
	"replica.trigger-checkpoint", "replica.query-compact", "replica.query-app-envs", "replica.query-progress",
	"replica.enable-plog-gc", "replica.disable-plog-gc", "replica.query-plog-gc-enabled-status",
	"replica.release-tcmalloc-memory", "replica.get-tcmalloc-status", "replica.max-concurrent-bulk-load-downloading-count",
	"nfs.max_send_rate_megabytes_per_disk", "nfs.max_copy_rate_megabytes_per_disk",
}

// RemoteCommand runs a command of the servers themselves.
func RemoteCommand(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "remote_command",
		Aliases: []string{"remote-command"},
		Systems: systems,
		Topic:   "cluster",
		Summary: "run a remote command on every server, or on some",
		Long: "Sends a command to the servers, a few at a time, and lists their answers. remote_command help lists the commands of " +
			"each. Without -t and -l, a command that begins with meta. goes to the meta servers, one that begins with replica. or " +
			"nfs. to the replica servers, and any other to all. Settings are read without an argument, set with one, and DEFAULT " +
			"brings back what the configuration says; they last until the server restarts. What there is depends on the release: " +
			"perf-counters and server-stat end with 2.5 (use metrics and server_stat), and later servers answer settings in JSON. " +
			"Commands that only read run at once, in a read-only shell too; those that may cost availability, and unknown ones, " +
			"are confirmed. An answer that is an error makes the exit code 1, " +
			"or 3 when other servers did what they were told.",
		Flags:      serverFlags(),
		FlagsFirst: true,
		Args: []spec.Arg{
			{
				Name: "command", Offers: remoteCommands,
				Help: "the server's own name for it: meta.live_percentage, nfs.max_send_rate_megabytes_per_disk, …",
			},
			{Name: "argument", Optional: true, Repeated: true, Help: "what the command takes; remote_command help COMMAND says"},
		},
		Examples: []spec.Example{
			{Line: "remote_command -t replica-server nfs.max_send_rate_megabytes_per_disk 50", Says: "slow copying down"},
			{Line: "remote_command meta.live_percentage", Says: "read a setting of the meta servers"},
		},
		SeeAlso: []string{"server_info", "server_stat", "flush_log"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return remotePlan(ctx, env, call, call.Arg(0), call.Rest(1))
		},
		Reads: func(call *spec.Call) bool { return driver.CommandReads(call.Arg(0), call.Rest(1)) },
	}
}

// FlushLog has servers write out their logs.
func FlushLog(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "flush_log",
		Aliases:  []string{"flush-log"},
		Systems:  systems,
		Topic:    "cluster",
		Summary:  "have every server write out what it logged",
		Long:     "Sends the remote command flush-log, after which the log files are complete up to this moment.",
		Flags:    serverFlags(),
		Examples: []spec.Example{{Line: "flush_log -t meta-server", Says: "before reading the meta servers' logs"}},
		SeeAlso:  []string{"remote_command"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return remotePlan(ctx, env, call, "flush-log", nil)
		},
	}
}

// ServerStat asks servers for their most important numbers.
func ServerStat(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "server_stat",
		Aliases: []string{"server-stat"},
		Systems: systems,
		Topic:   "cluster",
		Summary: "ask every server for its most important numbers",
		Long: "Sends the remote command server-stat to the servers, a few at a time: rates, replicas, memory. Servers after 2.5 have " +
			"no such command: their memory and replicas are read from /metrics.",
		Flags:    serverFlags(),
		Examples: []spec.Example{{Line: "server_stat -t replica-server", Says: "how busy the replica servers are"}},
		SeeAlso:  []string{"server_info", "remote_command", "nodes"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return serverStat(ctx, env, call)
		},
	}
}

func serverStat(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	_, servers, err := chosenServers(ctx, env, call, call.String("type"))
	if err != nil {
		return nil, err
	}
	c, err := openCounting(ctx, env, call)
	if err != nil {
		return nil, err
	}
	answers := askEach(servers, func(endpoint string) (string, error) { return c.ServerStat(ctx, endpoint) })
	return answersTable(servers, answers), ctx.Err()
}

func remotePlan(ctx context.Context, env commands.Env, call *spec.Call, command string, args []string) (*spec.Plan, error) {
	role := call.String("type")
	if !call.Has("type") {
		if only := driver.CommandRole(command); only != "" {
			role = only
		}
	}
	c, servers, err := chosenServers(ctx, env, call, role)
	if err != nil {
		return nil, err
	}
	class := spec.Risky
	switch {
	case driver.CommandReads(command, args):
		class = spec.Read
	case driver.CommandMild(command):
		class = spec.Alter
	}
	line := strings.TrimSpace(command + " " + strings.Join(quoteAll(args), " "))
	var objects []string
	for _, s := range servers {
		if s.Alive {
			objects = append(objects, s.Endpoint)
		}
	}
	if len(objects) == 0 {
		return nil, spec.Errorf(spec.Unavailable, "%s: no server is alive that could be told", line)
	}
	var answers []answer
	plan := &spec.Plan{
		Title: fmt.Sprintf("run %s on %s", line, commands.Plural(len(objects), "server")),
		Steps: []spec.Step{{
			Text: "run " + line, Objects: objects, Class: class,
			Apply: func(ctx context.Context, _ spec.Report) error {
				answers = askAll(ctx, c, servers, command, args...)
				for i, a := range answers {
					if a.asked && a.err == nil && driver.CommandRefused(a.text) {
						answers[i].err = &spec.Error{Kind: spec.Failed, Op: "run " + command, Endpoint: servers[i].Endpoint, Err: fmt.Errorf("%s", oneLine(a.text))}
					}
				}
				if err := answersError(answers); spec.KindOf(err) != spec.PartlyDone {
					return err
				}
				return nil // the table ends with it, after what the others said
			},
		}},
		Answers: func() *spec.Table { return answersTable(servers, answers) },
	}
	return plan, nil
}

func quoteAll(words []string) []string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; w == "" || strings.ContainsFunc(w, unprintableInLine) {
			quoted[i] = quote(w)
		}
	}
	return quoted
}

// unprintableInLine is what makes a word be quoted in a sentence.
func unprintableInLine(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`"'\$;|>#{}`, r)
}

package shell

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"shardsh/cluster"
	"shardsh/commands/spec"
	"shardsh/shell/line"
)

// Words that move the session where a store has databases, and tablets with words of their own.

var withTablets = []string{"openmldb"}

func useDatabaseWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "use", Systems: withTablets, Topic: "cluster", Needs: []string{"databases"},
		Summary: "choose the database that words take their tables from",
		Long: "Checks that the database exists and makes it the current one. Without a name the tables that are in no database " +
			"are meant again. db/table names a table of any database, whichever is in use.",
		Args: []spec.Arg{{Name: "database", Kind: spec.ArgDatabase, Optional: true, Help: "its name"}},
		Examples: []spec.Example{
			{Line: "use demo_db", Says: "tables are those of demo_db from now on"},
			{Line: "use", Says: "tables are those of no database again"},
		},
		SeeAlso: []string{"showdb", "showtable", "cluster"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			if err := s.useDatabase(ctx, call); err != nil {
				return nil, err
			}
			return s.whereRecord(), nil
		},
	}
}

func (s *Shell) useDatabase(ctx context.Context, call *spec.Call) error {
	name := call.Arg(0)
	if name != "" {
		d, err := s.Open(ctx, call.Cluster)
		if err != nil {
			return err
		}
		known, err := d.(cluster.Databases).Databases(ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(known, name) {
			missing := &spec.Error{Kind: spec.NotFound, Op: "use", Err: fmt.Errorf("cluster %s has no database %q", call.Cluster, name)}
			if near := spec.Suggest(name, known); len(near) > 0 {
				return missing.WithHint("did you mean %s?", near[0])
			}
			return missing.WithHint("showdb lists the databases")
		}
	}
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	s.session.table = name
	return nil
}

// aimWord aims lines at a node.
const aimWord = "on"

// aimed tells a line that is aimed at a node, `on NODE LINE…`, from its rest.
func (s *Shell) aimed(words []string) (node string, rest []string, ok bool) {
	if len(words) < 3 || words[0] != aimWord || !slices.Contains(withTablets, s.session.system()) || flagName(words[2]) != "" {
		return "", nil, false
	}
	return words[1], words[2:], true
}

func onWord(s *Shell) spec.Command {
	return spec.Command{
		Name: aimWord, Systems: withTablets, Topic: "cluster", FlagsFirst: true,
		Summary: "aim lines at one tablet, as the tablet's own client does; without a name, leave it",
		Long: "Words of tablets (loadtable, gettablestatus, changerole …) go to the tablet that was entered, which the prompt shows " +
			"until on leaves it. With a line behind the name only that line is aimed. Every other word goes to the nameserver as " +
			"before.",
		Args: []spec.Arg{
			{Name: "endpoint", Kind: spec.ArgEndpoint, Optional: true, Help: "host:port of the tablet, or the end of it from a dot on"},
			{Name: "line", Kind: spec.ArgLine, Optional: true, Repeated: true, Help: "a command with its own arguments, for this one time"},
		},
		Examples: []spec.Example{
			{Line: "on .31:8541", Says: "words of tablets go to that one from now on"},
			{Line: "on .31:8541 gettablestatus", Says: "only this line goes there"},
			{Line: "on", Says: "leave it"},
		},
		SeeAlso: []string{"gettablestatus", "loadtable", "showtablet"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			node := call.Arg(0)
			if node != "" {
				var err error
				if node, err = s.tablet(ctx, call, node); err != nil {
					return nil, err
				}
			}
			s.session.mu.Lock()
			defer s.session.mu.Unlock()
			s.session.node = node
			return nil, nil
		},
	}
}

// tablet finds the storage node that a person means.
func (s *Shell) tablet(ctx context.Context, call *spec.Call, name string) (string, error) {
	d, err := s.Open(ctx, call.Cluster)
	if err != nil {
		return "", err
	}
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return "", err
	}
	return cluster.FindNode(name, nodes)
}

func openmldbWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "openmldb", Tool: true, Topic: "cluster", Offline: true,
		Summary: "open an OpenMLDB as its own client is started",
		Long: "Takes the line that starts OpenMLDB's client: with --zk_cluster and --zk_root_path, or the --endpoint of a nameserver, " +
			"the cluster is opened; with --role=client and the --endpoint of a tablet, the tablet of the current cluster is " +
			"entered. --cmd runs one line there.",
		Flags: []spec.Flag{
			{Name: "zk_cluster", Kind: spec.ArgText, Help: "ZooKeeper servers, host:port joined by commas"},
			{Name: "zk_root_path", Kind: spec.ArgText, Default: "/openmldb", Help: "the cluster's root in ZooKeeper"},
			{Name: "role", Kind: spec.ArgEnum, Values: []string{"ns_client", "client", "sql_client"}, Default: "ns_client", Help: "which client it would be"},
			{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "a nameserver, or with --role=client a tablet"},
			{Name: "database", Kind: spec.ArgText, Help: "the database in use"},
			{Name: "cmd", Kind: spec.ArgText, Help: "one line to be run"},
			{Name: "interactive", Kind: spec.ArgText, Help: "taken and without meaning here"},
		},
		Examples: []spec.Example{
			{Line: "openmldb --zk_cluster=127.0.0.1:2181 --zk_root_path=/openmldb --role=ns_client", Says: "aim at the cluster registered there"},
			{Line: "openmldb --endpoint=127.0.0.1:6527 --role=ns_client", Says: "aim at the cluster of a nameserver"},
		},
		SeeAlso: []string{"cluster", aimWord},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return s.openAsClient(ctx, call)
		},
	}
}

// openAsClient does what starting the store's own client with these flags means.
func (s *Shell) openAsClient(ctx context.Context, call *spec.Call) (*spec.Table, error) {
	zk, endpoint, role := call.String("zk_cluster"), call.String("endpoint"), call.String("role")
	var words []string
	switch {
	case role == "sql_client":
		return nil, spec.Errorf(spec.Unable, "openmldb: SQL is not spoken here").WithHint("--role=ns_client opens the cluster's console")
	case role == "client" && endpoint == "":
		return nil, spec.Errorf(spec.Usage, "openmldb: --role=client wants the --endpoint of a tablet")
	case role == "client":
		words = []string{aimWord, endpoint}
	case zk != "":
		words = []string{"cluster", "zk://" + zk + "/" + strings.TrimPrefix(call.String("zk_root_path"), "/")}
	case endpoint != "":
		words = []string{"cluster", "ns://" + endpoint}
	default:
		return nil, spec.Errorf(spec.Usage, "openmldb: neither --zk_cluster nor --endpoint is given")
	}
	lines := []string{line.QuoteAll(words)}
	if db := call.String("database"); db != "" {
		lines = append(lines, line.QuoteAll([]string{"use", db}))
	}
	if cmd := call.String("cmd"); cmd != "" {
		lines = append(lines, cmd)
	}
	return nil, s.script(ctx, strings.NewReader(strings.Join(lines, "\n")), "")
}

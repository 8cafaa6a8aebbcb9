package shell

import (
	"context"
	"maps"
	"slices"
	"strings"

	"shardsh/commands/spec"
	"shardsh/shell/config"
	"shardsh/shell/line"
)

func clustersWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "clusters", Topic: "cluster", Offline: true,
		Summary: "list the clusters one can open",
		Long:    "Lists the clusters of config.ini and the sandbox's, without asking any of them.",
		SeeAlso: []string{"cluster", "config show"},
		Examples: []spec.Example{
			{Line: "clusters", Says: "every cluster this shell knows by name"},
		},
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			current, _ := s.session.where()
			var rows []spec.Row
			for _, c := range s.conf.Clusters() {
				kind, address := "configured", any(c.Address)
				if c.Sandbox {
					kind = "sandbox"
				}
				if c.Address == "" { // nobody knows it before it runs
					address = nil
				}
				rows = append(rows, spec.Row{c.Name, c.System, kind, address, c.Name == current})
			}
			cols := spec.Columns("name", "system", "kind", "address", "current")
			cols[4].Kind = spec.Bool
			return &spec.Table{Columns: cols, Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

func clusterWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "cluster", Aliases: []string{"cc"}, Topic: "cluster", Offline: true,
		Summary: "open a cluster by name or address, or show the current one",
		Long: "Makes a cluster the one that words are aimed at. The name comes from config.ini or the sandbox; an address is " +
			"opened without any configuration. Nothing is dialled until a word needs the cluster.",
		Args: []spec.Arg{{Name: "cluster", Kind: spec.ArgCluster, Optional: true, Help: "a name, or host:port,host:port"}},
		Examples: []spec.Example{
			{Line: "cluster onebox2", Says: "aim at the second sandbox cluster"},
			{Line: "cluster 127.0.0.1:34601", Says: "aim at a Pegasus by the address of its meta server"},
		},
		SeeAlso: []string{"clusters", "use"},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			if name := call.Arg(0); name != "" {
				if err := s.choose(name); err != nil {
					return nil, err
				}
				s.live.refresh()
			}
			return s.whereRecord(), nil
		},
	}
}

func useWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "use", Topic: "cluster",
		Summary: "choose the table that data words work on, or show it",
		Long:    "Checks that the table exists and makes it the current one. In stores with databases it is written db/table.",
		Args:    []spec.Arg{{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "[db/]table"}},
		Examples: []spec.Example{
			{Line: "use TableA", Says: "data words work on TableA from now on"},
			{Line: "use", Says: "which cluster and table are in use"},
		},
		SeeAlso: []string{"cluster", "ls"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			if call.Arg(0) == "" {
				return s.whereRecord(), nil
			}
			if err := s.useTable(ctx, call); err != nil {
				return nil, err
			}
			return s.whereRecord(), nil
		},
	}
}

func (s *Shell) useTable(ctx context.Context, call *spec.Call) error {
	d, err := s.Open(ctx, call.Cluster)
	if err != nil {
		return err
	}
	tables, err := d.Tables(ctx)
	if err != nil {
		return err
	}
	name := call.Arg(0)
	var known []string
	for _, t := range tables {
		full := t.FullName()
		if full == name {
			s.session.mu.Lock()
			defer s.session.mu.Unlock()
			s.session.table = full
			return nil
		}
		known = append(known, full)
	}
	missing := &spec.Error{Kind: spec.NotFound, Op: "use", Err: spec.Errorf(spec.NotFound, "cluster %s has no table %q", call.Cluster, name)}
	if near := spec.Suggest(name, known); len(near) > 0 {
		return missing.WithHint("did you mean %s?", near[0])
	}
	return missing.WithHint("ls lists the tables")
}

func letWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "let", Topic: "shell", Offline: true, FlagsFirst: true,
		Summary: "define a variable, or list them",
		Long: "A variable is used as $name, ${name} or {{name}}, outside quotes and inside double quotes. Its value is never split again. " +
			"One whose name sounds like a secret, as in db_password, is kept out of history, audit and messages.",
		Args: []spec.Arg{
			{Name: "name", Optional: true, Names: true, Help: "letters, digits and _"},
			{Name: "value", Kind: spec.ArgBytes, Optional: true, Help: "any text; without one the variable is forgotten"},
		},
		Examples: []spec.Example{
			{Line: "let t TableA", Says: "$t is TableA from now on"},
			{Line: "use $t", Setup: []string{"let t TableA"}, Says: "the same as use TableA"},
		},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			vars := s.session.vars
			switch name := call.Arg(0); {
			case len(call.Args) == 0:
				var rows []spec.Row
				for _, k := range slices.Sorted(maps.Keys(vars)) {
					value := vars[k]
					if spec.SecretName(k) {
						value = spec.Hidden
					}
					rows = append(rows, spec.Row{k, value})
				}
				return &spec.Table{Columns: []spec.Column{{Name: "name"}, {Name: "value", Kind: spec.Bytes}}, Rows: spec.RowsOf(rows...)}, nil
			case !line.IsName(name):
				return nil, spec.Errorf(spec.Usage, "%q cannot be the name of a variable", name).WithHint("letters, digits and _, not a digit first")
			case len(call.Args) == 1:
				delete(vars, name)
			default:
				vars[name] = call.Arg(1)
			}
			return nil, nil
		},
	}
}

func optionWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "option", Topic: "shell", Offline: true,
		Summary: "change a setting of the shell, or list them",
		Long:    "Settings hold until the shell ends; config.ini keeps them. Each is shown with where its value comes from.",
		Args: []spec.Arg{
			{Name: "name", Kind: spec.ArgEnum, Values: sessionOptions, Optional: true, Help: "the setting"},
			{Name: "value", Optional: true, Help: "its new value"},
		},
		Examples: []spec.Example{
			{Line: "option", Says: "every setting and where it comes from"},
			{Line: "option output json", Says: "results as JSON from now on"},
			{Line: "option trace on", Says: "show every call on the wire"},
		},
		SeeAlso: []string{"config show", "help formats"},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			if len(call.Args) == 2 {
				return nil, s.setOption(call.Arg(0), call.Arg(1))
			}
			var rows []spec.Row
			for _, k := range config.Keys() {
				if slices.Contains(sessionOptions, k.Name) && (call.Arg(0) == "" || call.Arg(0) == k.Name) {
					v := s.option(k.Name)
					rows = append(rows, spec.Row{k.Name, v.Value, v.Source, k.Help})
				}
			}
			return &spec.Table{Columns: spec.Columns("name", "value", "source", "help"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

func onOffWord(s *Shell, name, help string) spec.Command {
	return spec.Command{
		Name: name, Topic: "shell", Offline: true,
		Summary:  help,
		Long:     "The same as option " + name + " on|off. Without a value it is switched over.",
		Args:     []spec.Arg{{Name: "on|off", Optional: true, Help: "its new value; without one it is switched over"}},
		Examples: []spec.Example{{Line: name + " on", Says: help}},
		SeeAlso:  []string{"option"},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			value := call.Arg(0)
			if value == "" {
				value = map[bool]string{true: "off", false: "on"}[s.option(name).Bool()]
			}
			return nil, s.setOption(name, value)
		},
	}
}

func configShowWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "config show", Topic: "shell", Offline: true,
		Summary:  "list the configuration with the source of each value",
		Long:     "Secrets are shown as ***. The search order is --config, $SHARDSH_CONFIG, ./config.ini, the user's and the machine's file.",
		Examples: []spec.Example{{Line: "config show", Says: "every value, and where it comes from"}},
		SeeAlso:  []string{"option", "clusters"},
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			var rows []spec.Row
			for _, e := range s.conf.All() {
				rows = append(rows, spec.Row{e.Section, e.Key, e.Value, e.Source})
			}
			return &spec.Table{Columns: spec.Columns("section", "key", "value", "source"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

func historyWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "history", Topic: "shell", Offline: true,
		Summary:  "list the lines typed before, those with a text in them if one is given",
		Args:     []spec.Arg{{Name: "text", Optional: true, Help: "keep lines that contain it"}},
		Flags:    []spec.Flag{{Name: "last", Short: "n", Kind: spec.ArgInt, Default: "50", Help: "at most this many, the newest"}},
		Examples: []spec.Example{{Line: "history showtable", Says: "the last lines with showtable in them"}},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			all, err := s.history.load()
			if err != nil {
				return nil, err
			}
			var rows []spec.Row
			for _, e := range all {
				if strings.Contains(e.Line, call.Arg(0)) {
					rows = append(rows, spec.Row{e.Time, e.Cluster, e.Code, e.Line})
				}
			}
			rows = rows[max(0, len(rows)-int(max(call.Int("last"), 0))):]
			cols := []spec.Column{{Name: "time", Kind: spec.Time}, {Name: "cluster"}, {Name: "code", Kind: spec.Int}, {Name: "line"}}
			return &spec.Table{Columns: cols, Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

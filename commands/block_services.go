package commands

import (
	"context"

	"shardsh/commands/spec"
)

// BlockServices lists the block services.
func BlockServices(env Env) spec.Command {
	return spec.Command{
		Name: "block_services", Topic: "storage", Offline: true,
		Summary: "list the block services: where backups go, and bulk loads come from",
		Long: "Lists the [block_service] sections of config.ini and those that the sandbox has, without asking any of them. A local_service is a directory " +
			"of this machine; that of a server's configuration is one of the server's own disks.",
		Examples: []spec.Example{{Line: "block_services", Says: "every block service this shell knows by name"}},
		SeeAlso:  []string{"fs check", "fs ls", "config show"},
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			var rows []spec.Row
			for _, b := range env.Blocks() {
				kind := "configured"
				if b.Sandbox {
					kind = "sandbox"
				}
				rows = append(rows, spec.Row{b.Name, b.Type, kind, Word(b.Where)})
			}
			return &spec.Table{Columns: spec.Columns("name", "type", "kind", "args"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

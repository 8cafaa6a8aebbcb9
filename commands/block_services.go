package commands

import (
	"context"

	"golang.org/x/sync/errgroup"

	"shardsh/commands/spec"
)

// BlockServices lists the block services.
func BlockServices(env Env) spec.Command {
	return spec.Command{
		Name: "block_services", Topic: "storage", Offline: true,
		Summary: "list the block services: where backups go, and bulk loads come from",
		Long: "Lists the [block_service] sections of config.ini and those that the sandbox has, without asking any of them. A local_service is a directory " +
			"of this machine; that of a server's configuration is one of the server's own disks. " +
			"With --free all of them are asked at once how much room they have: bytes of files that can still be written, and in all. That of an HDFS is divided by " +
			"how often it stores each byte, and bounded by the quotas of its root; an S3 cannot tell. What is not known is left empty, with the reason beside it.",
		Flags: []spec.Flag{{Name: "free", Kind: spec.ArgBool, Help: "ask each how much room it has"}},
		Examples: []spec.Example{
			{Line: "block_services", Says: "every block service this shell knows by name"},
			{Line: "block_services --free", Says: "and how much each can still take"},
		},
		SeeAlso: []string{"fs check", "fs ls", "config show"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			columns := spec.Columns("name", "type", "kind", "args")
			blocks := env.Blocks()
			rows := make([]spec.Row, len(blocks))
			for i, b := range blocks {
				kind := "configured"
				if b.Sandbox {
					kind = "sandbox"
				}
				rows[i] = spec.Row{b.Name, b.Type, kind, Word(b.Where)}
			}
			if call.Bool("free") {
				columns = append(columns, spec.Column{Name: "free", Kind: spec.Size}, spec.Column{Name: "capacity", Kind: spec.Size}, spec.Column{Name: "remark"})
				var asking errgroup.Group
				asking.SetLimit(MostParallel)
				for i, b := range blocks {
					asking.Go(func() error {
						rows[i] = append(rows[i], roomCells(ctx, env, b.Name)...)
						return nil
					})
				}
				if err := asking.Wait(); err != nil || ctx.Err() != nil {
					return nil, ctx.Err()
				}
			}
			return &spec.Table{Columns: columns, Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

// roomCells ask a service: free, capacity, remark.
func roomCells(ctx context.Context, env Env, name string) []any {
	s, err := env.Block(ctx, name)
	if err != nil {
		return []any{nil, nil, err.Error()}
	}
	r, err := askRoom(ctx, s, "")
	if err != nil {
		return []any{nil, nil, reasonText(err)}
	}
	return []any{r.Free, r.Total, Word(roomRemark(r))}
}

package commands

import (
	"context"
	"iter"
	"time"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// ShowTable lists replicas.
func ShowTable(env Env) spec.Command {
	return spec.Command{
		Name:    "showtable",
		Topic:   "partitions",
		Summary: "list every replica of one table, or of all tables",
		Long: "Shows where each copy of each partition is, which one leads, and whether its node is up. " +
			"A partition that lost its leader has a row without an endpoint. " +
			"A dash stands where the store does not tell. Without a table it lists all of them, the one in use or not.",
		Args: []spec.Arg{{Name: "table", Kind: spec.ArgTable, Optional: true, Help: "only this table"}},
		Examples: []spec.Example{
			{Line: "showtable TableA", Says: "the replicas of one table"},
			{Line: "showtable --filter 'not is_alive'", Says: "the copies on nodes that are down"},
		},
		SeeAlso: []string{"showtablet", "app", "ls"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return showTable(ctx, env, call)
		},
	}
}

func showTable(ctx context.Context, env Env, call *spec.Call) (*spec.Table, error) {
	d, err := Driver[cluster.Driver](ctx, env, call)
	if err != nil {
		return nil, err
	}
	return &spec.Table{
		Columns: []spec.Column{
			{Name: "name"},
			{Name: "tid", Kind: spec.Int},
			{Name: "pid", Kind: spec.Int},
			{Name: "endpoint"},
			{Name: "role"},
			{Name: "ttl", Kind: spec.Duration},
			{Name: "is_alive", Kind: spec.Bool},
			{Name: "compress_type"},
			{Name: "offset", Kind: spec.Int},
			{Name: "record_cnt", Kind: spec.Int},
			{Name: "memused", Kind: spec.Size},
			{Name: "ballot", Kind: spec.Int},
		},
		Rows: replicaRows(d.Replicas(ctx, call.Arg(0))),
	}, nil
}

func replicaRows(replicas iter.Seq2[cluster.Replica, error]) iter.Seq2[spec.Row, error] {
	return func(yield func(spec.Row, error) bool) {
		for r, err := range replicas {
			if err != nil {
				yield(nil, err)
				return
			}
			row := spec.Row{
				r.Table, r.TableID, r.Partition, Word(r.Endpoint), Word(string(r.Role)), cell(r.TTL), r.Alive,
				cell(r.Compression), cell(r.Offset), cell(r.Records), cell(r.Memory), cell(r.Ballot),
			}
			if !yield(row, nil) {
				return
			}
		}
	}
}

// cell is what a pointer points at, or nil: a nil pointer in an interface would not be one.
func cell[T string | int64 | time.Duration](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

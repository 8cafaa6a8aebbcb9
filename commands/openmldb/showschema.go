package openmldb

import (
	"context"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ShowSchema lists a table's columns and indexes.
func ShowSchema(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "showschema",
		Systems:  systems,
		Topic:    "tables",
		Summary:  "list the columns and indexes of a table",
		Args:     []spec.Arg{{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"}},
		Examples: []spec.Example{{Line: "showschema flow", Says: "its columns, then its indexes"}},
		SeeAlso:  []string{"info", "addtablefield", "addindex", "setttl"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			_, t, err := openTable(ctx, env, call, call.Arg(0))
			if err != nil {
				return nil, err
			}
			return schemaTable(t), nil
		},
	}
}

func schemaTable(t *driver.Table) *spec.Table {
	var columns, indexes []spec.Row
	for i, c := range t.Columns {
		columns = append(columns, spec.Row{i, c.Name, c.Type, !c.NotNull, commands.Word(c.Default)})
	}
	for _, x := range t.Indexes {
		indexes = append(indexes, spec.Row{x.Place, x.Name, x.Columns, commands.Word(x.TimeColumn), ttlText(x.TTL), x.TTL.Type})
	}
	return &spec.Table{
		Section: "columns",
		Columns: []spec.Column{
			{Name: "number", Kind: spec.Int}, {Name: "field"}, {Name: "type"}, {Name: "null", Kind: spec.Bool}, {Name: "default"},
		},
		Rows: spec.RowsOf(columns...),
		More: []*spec.Table{{
			Section: "indexes",
			Columns: []spec.Column{
				{Name: "number", Kind: spec.Int}, {Name: "name"}, {Name: "keys", Kind: spec.List}, {Name: "ts"}, {Name: "ttl"}, {Name: "ttl_type"},
			},
			Rows: spec.RowsOf(indexes...),
		}},
	}
}

// Info describes a table in a few words.
func Info(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "info",
		Systems:  systems,
		Topic:    "tables",
		Summary:  "describe a table: its shape, how many rows it has and what they take",
		Long:     "Rows and sizes are those of the leaders, as the nameserver last heard of them.",
		Args:     []spec.Arg{{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"}},
		Examples: []spec.Example{{Line: "info flow", Says: "one table in a few words"}},
		SeeAlso:  []string{"showschema", "showtable"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			_, t, err := openTable(ctx, env, call, call.Arg(0))
			if err != nil {
				return nil, err
			}
			var records, memory, disk int64
			for _, p := range t.Parts {
				if r, leads := p.Leader(); leads {
					records, memory, disk = records+value(r.Records), memory+value(r.Memory), disk+value(r.Disk)
				}
			}
			return spec.Record([]spec.Column{
				{Name: "name"},
				{Name: "db"},
				{Name: "tid", Kind: spec.Int},
				{Name: "replica_num", Kind: spec.Int},
				{Name: "partition_num", Kind: spec.Int},
				{Name: "compress_type"},
				{Name: "storage_mode"},
				{Name: "record_cnt", Kind: spec.Int},
				{Name: "memused", Kind: spec.Size},
				{Name: "diskused", Kind: spec.Size},
				{Name: "partition_key", Kind: spec.List},
			}, t.Name, commands.Word(t.DB), t.ID, t.Replicas, t.Partitions, t.Compress, t.Storage, records, memory, disk, t.PartitionKey), nil
		},
	}
}

func value(p *uint64) int64 {
	if p == nil {
		return 0
	}
	return int64(*p)
}

package pegasus

import (
	"context"
	"fmt"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// keyArgs name a row.
var keyArgs = []spec.Arg{
	{Name: "hash_key", Kind: spec.ArgBytes, Help: "chooses the partition; not empty"},
	{Name: "sort_key", Kind: spec.ArgBytes, Help: "orders the rows of one hash key; may be empty: \"\""},
}

// key names a row of a table.
type key struct{ table, hash, sort string }

func (k key) row() string    { return quote(k.hash) + " : " + quote(k.sort) }
func (k key) String() string { return k.row() + " in " + k.table }

// openKey reads the first two arguments as a row of the table in use.
func openKey(ctx context.Context, env commands.Env, call *spec.Call) (client, key, error) {
	k := key{hash: call.Arg(0), sort: call.Arg(1)}
	if err := checkHashKey(k.hash); err != nil {
		return nil, k, err
	}
	c, table, err := openTable(ctx, env, call, "")
	k.table = table
	return c, k, err
}

// keyColumns are those of every answer about one row: what was asked for stands between the key and the server.
func keyColumns(asked spec.Column) []spec.Column {
	return []spec.Column{
		{Name: "hash_key", Kind: spec.Bytes},
		{Name: "sort_key", Kind: spec.Bytes},
		asked,
		{Name: "app_id", Kind: spec.Int},
		{Name: "partition_index", Kind: spec.Int},
		{Name: "server"},
	}
}

func keyRecord(k key, asked spec.Column, cell any, ack driver.Ack) *spec.Table {
	return spec.Record(keyColumns(asked), k.hash, k.sort, cell, ack.AppID, ack.Partition, commands.Word(ack.Server))
}

func noRow(op string, k key, ack driver.Ack) error {
	return &spec.Error{
		Kind: spec.NotFound, Op: op + " " + k.String(), Endpoint: ack.Server,
		Err: fmt.Errorf("no such row in partition %d", ack.Partition),
	}
}

// writePlan is a plan of one row's write.
func writePlan(verb string, k key, apply func(ctx context.Context) (driver.Ack, error)) *spec.Plan {
	text := verb + " " + k.String()
	return &spec.Plan{
		Title: text,
		Steps: []spec.Step{{
			Text:    text,
			Objects: []string{k.row()},
			Class:   spec.Alter,
			Rows:    true,
			Apply: func(ctx context.Context, report spec.Report) error {
				ack, err := apply(ctx)
				if err == nil {
					report.Detail("partition %d decree %d server %s", ack.Partition, ack.Decree, ack.Server)
				}
				return err
			},
		}},
	}
}

// withDecree is keyRecord for a write: its decree stands on the right.
func withDecree(t *spec.Table, ack driver.Ack) *spec.Table {
	var cells spec.Row
	for row := range t.Rows {
		cells = row
	}
	return spec.Record(append(t.Columns, spec.Column{Name: "decree", Kind: spec.Int}), append(cells, ack.Decree)...)
}

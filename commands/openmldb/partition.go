package openmldb

import (
	"context"
	"fmt"
	"io"
	"os"
	"reflect"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// GetTablePartition writes out what the nameserver has of a partition.
func GetTablePartition(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "gettablepartition",
		Systems: systems,
		Topic:   "partitions",
		Summary: "write out what the nameserver has of a partition, to be edited and set again",
		Long:    "The answer is a text that settablepartition takes: > FILE keeps it.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"},
			{Name: "pid", Kind: spec.ArgInt, Help: "the partition"},
		},
		Examples: []spec.Example{{Line: "gettablepartition flow 0 > flow_0.txt", Says: "keep it in a file"}},
		SeeAlso:  []string{"settablepartition", "showtable"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, t, err := openTable(ctx, env, call, call.Arg(0))
			if err != nil {
				return nil, err
			}
			pid, err := partitionOf(t, call.Arg(1))
			if err != nil {
				return nil, err
			}
			p, err := c.Partition(ctx, t.TableName, pid)
			if err != nil {
				return nil, err
			}
			text, err := driver.FormatPartition(p)
			return &spec.Table{Text: text}, err
		},
	}
}

// partitionOf reads the number of one of a table's partitions.
func partitionOf(t *driver.Table, text string) (uint32, error) {
	all, err := parsePIDs(text, t.Partitions)
	if err != nil {
		return 0, err
	}
	if len(all) != 1 {
		return 0, spec.Errorf(spec.Usage, "%q is more than one partition", text)
	}
	return all[0], nil
}

// SetTablePartition replaces what the nameserver has of a partition.
func SetTablePartition(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "settablepartition",
		Systems: systems,
		Topic:   "partitions",
		Summary: "replace what the nameserver has of a partition by a text",
		Long: "Takes what gettablepartition wrote. It changes where clients are sent, and moves nothing on the tablets: the last " +
			"resort when the nameserver's view is wrong. One replica must lead and be alive.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"},
			{Name: "file", Kind: spec.ArgFile, Help: "what gettablepartition wrote"},
		},
		SeeAlso: []string{"gettablepartition", "updatetablealive"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return setPartition(ctx, env, line)
		},
	}
}

func setPartition(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	want, err := readPartition(line.Arg(1))
	if err != nil {
		return nil, err
	}
	c, t, err := openTable(ctx, env, line, line.Arg(0))
	if err != nil {
		return nil, err
	}
	name := t.TableName
	if int(want.ID) >= len(t.Parts) {
		return nil, spec.Errorf(spec.Usage, "%s: table %s has no partition %d", line.Arg(1), name, want.ID)
	}
	if err := refusedByAutoFailover(ctx, c, line, "settablepartition"); err != nil {
		return nil, err
	}
	object := at(name, want.ID)
	p := oneStep("set table partition ok", spec.Step{
		Text: "replace what the nameserver has of " + object, Objects: []string{object}, Class: spec.Destroy,
		Check: func(ctx context.Context) (spec.State, error) {
			now, err := c.Partition(ctx, name, want.ID)
			if err == nil && samePartition(now, want) {
				return done("it is so"), nil
			}
			return todo, err
		},
		Apply: call(func(ctx context.Context) error { return c.SetPartition(ctx, name, want) }),
	})
	p.Name = object
	for _, r := range t.Parts[want.ID].Replicas {
		p.Notes = append(p.Notes, fmt.Sprintf("now: %s is %s, alive %t", r.Endpoint, role(r.Leader), r.Alive))
	}
	for _, r := range want.Replicas {
		p.Notes = append(p.Notes, fmt.Sprintf("then: %s is %s, alive %t", r.Endpoint, role(r.Leader), r.Alive))
	}
	return p, nil
}

func readPartition(path string) (driver.Partition, error) {
	f, err := os.Open(path)
	if err != nil {
		return driver.Partition{}, spec.Errorf(spec.Usage, "read the partition: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, driver.MaxText+1))
	if err != nil {
		return driver.Partition{}, spec.Errorf(spec.Usage, "read the partition: %w", err)
	}
	p, err := driver.ParsePartition(string(text))
	if err != nil {
		return p, spec.Errorf(spec.Usage, "%s: %w", path, err).WithHint("gettablepartition TABLE PID > FILE shows the form")
	}
	return p, nil
}

// samePartition compares what is set, which numbers are not.
func samePartition(a, b driver.Partition) bool {
	type set struct {
		endpoint      string
		leader, alive bool
	}
	sets := func(p driver.Partition) (all []set) {
		for _, r := range p.Replicas {
			all = append(all, set{r.Endpoint, r.Leader, r.Alive})
		}
		return all
	}
	return reflect.DeepEqual(sets(a), sets(b)) && reflect.DeepEqual(a.Terms, b.Terms)
}

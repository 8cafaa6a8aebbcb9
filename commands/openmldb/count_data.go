package openmldb

import (
	"context"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/cluster/transfer"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// CountData counts the rows of a table.
func CountData(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "count_data",
		Systems: systems,
		Topic:   "rows",
		Summary: "count the rows of a table, partition by partition",
		Long: "Counts exactly, by reading one index from end to end: tablets count for one key only, so that the rows travel. A row is " +
			"in the partition that its key of this index belongs to. Rows that have expired from the index are not counted. It is the one that " +
			"rows stay in longest, unless --index names another. Several partitions are read at a time. With -e nothing is read: the answer is the " +
			"nameserver's record counts of the leaders, as their tablets reported them in the last two seconds.",
		Args: []spec.Arg{tableArg},
		Flags: []spec.Flag{
			callTimeFlag, indexFlag, fromFlag, toFlag, somePartFlag,
			{Name: "estimate", Short: "e", Kind: spec.ArgBool, Help: "ask the nameserver instead of counting; not with other flags"},
		},
		Examples: []spec.Example{
			{Line: "count_data flow", Says: "rows of every partition, and their sum"},
			{Line: "count_data flow --index mcc --from 2018-06-13T07:00:00Z", Says: "by another index, newer rows only"},
			{Line: "count_data flow -e", Says: "about how many, at no cost"},
		},
		SeeAlso: []string{"count", "copy_data", "diff_data", "info"},
		Query: func(ctx context.Context, line *spec.Call) (*spec.Table, error) {
			return countData(ctx, env, line)
		},
	}
}

func countData(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Table, error) {
	s, err := readSelection(line)
	if err != nil {
		return nil, err
	}
	if line.Bool("estimate") && len(line.Flags) > 1 {
		return nil, spec.Errorf(spec.Usage, "an estimate is of the whole table: -e goes with no other flag")
	}
	side, err := openFirst(ctx, env, line)
	if err != nil {
		return nil, err
	}
	if line.Bool("estimate") {
		return estimateData(side.table), nil
	}
	if err := s.of(side.table, line.String(indexFlag.Name)); err != nil {
		return nil, err
	}
	pids := s.partitions
	if pids == nil {
		for i := range side.table.Parts {
			pids = append(pids, i)
		}
	}
	total := int64(0)
	src := s.source(side, true)
	columns := []spec.Column{{Name: "pid", Kind: spec.Int}, {Name: "count", Kind: spec.Int}}
	summary := &spec.Table{
		Section: "summary", Single: true, Columns: []spec.Column{{Name: "index"}, {Name: "total_count", Kind: spec.Int}},
		// Read only after the partitions were.
		Rows: func(yield func(spec.Row, error) bool) { yield(spec.Row{s.index.Name, total}, nil) },
	}
	if !s.sure {
		summary.Notes = func() []string { return []string{s.indexNote(side.table)} }
	}
	return &spec.Table{
		Section: "partitions", Columns: columns, More: []*spec.Table{summary},
		Rows: func(yield func(spec.Row, error) bool) {
			ctx, cancel := context.WithCancel(cluster.WithCallTimeout(ctx, s.each))
			defer cancel()
			for i, c := range countParts(ctx, src, pids) {
				one := <-c
				if one.err != nil {
					yield(nil, one.err)
					return
				}
				total += one.rows
				if !yield(spec.Row{int64(pids[i]), one.rows}, nil) {
					return
				}
			}
		},
	}, nil
}

// countBeside is how many partitions are counted at a time.
const countBeside = 8

type partCount struct {
	rows int64
	err  error
}

// countParts counts partitions, several at a time; each has a channel that its count comes on.
func countParts(ctx context.Context, src *driver.CopySource, pids []int) []chan partCount {
	all := make([]chan partCount, len(pids))
	room := make(chan struct{}, countBeside)
	for i := range pids {
		all[i] = make(chan partCount, 1)
	}
	go func() {
		for i, pid := range pids {
			room <- struct{}{}
			go func() {
				n, err := countPart(ctx, src, pid)
				<-room
				all[i] <- partCount{n, err}
			}()
		}
	}()
	return all
}

// How often reading a partition is tried without getting any further, and how long it waits in between.
const (
	countTries = 10
	countPause = 500 * time.Millisecond
)

func countPart(ctx context.Context, src *driver.CopySource, pid int) (rows int64, err error) {
	var after transfer.Position
	for tries := 0; ; tries++ {
		for b, why := range src.Read(ctx, pid, after) {
			if err = why; err == nil {
				rows, after, tries = rows+int64(len(b.Rows)), b.After, 0
			}
		}
		if err == nil || ctx.Err() != nil || src.Judge(err) == transfer.Fatal || tries >= countTries {
			return rows, err
		}
		select {
		case <-time.After(countPause):
			err = nil
		case <-ctx.Done():
			return rows, ctx.Err()
		}
	}
}

// estimateData is what the nameserver says.
func estimateData(t *driver.Table) *spec.Table {
	var rows []spec.Row
	missing := int64(0)
	for i := range t.Parts {
		row := spec.Row{int64(i), nil}
		if r, ok := t.Parts[i].Leader(); ok && r.Records != nil {
			row[1] = int64(min(*r.Records, 1<<62))
		} else {
			missing++
		}
		rows = append(rows, row)
	}
	summary := spec.Record([]spec.Column{{Name: "total_record_cnt", Kind: spec.Int}, {Name: "partitions_not_counted", Kind: spec.Int}},
		int64(min(records(t), 1<<62)), missing)
	summary.Section = "summary"
	return &spec.Table{
		Section: "partitions", Columns: []spec.Column{{Name: "pid", Kind: spec.Int}, {Name: "record_cnt", Kind: spec.Int}},
		Rows: spec.RowsOf(rows...), More: []*spec.Table{summary},
	}
}

package pegasus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// severalRows is the replica servers' side of the words for several rows of a hash key, and of the conditional ones.
type severalRows interface {
	Incr(ctx context.Context, table string, hash, sort []byte, by int64) (int64, driver.Ack, error)
	MultiSet(ctx context.Context, table string, hash []byte, rows []driver.SortValue, ttl time.Duration) (driver.Ack, error)
	MultiGet(ctx context.Context, table string, hash []byte, sorts [][]byte) ([]driver.SortValue, driver.Ack, error)
	MultiGetRange(ctx context.Context, table string, hash []byte, o driver.RangeOptions) iter.Seq2[driver.RangeRow, error]
	MultiDel(ctx context.Context, table string, hash []byte, sorts [][]byte) (int64, driver.Ack, error)
	DeleteRows(ctx context.Context, table string, rows []driver.RowKey) (int64, error)
	SortKeyCount(ctx context.Context, table string, hash []byte) (int64, driver.Ack, error)
	CheckAndSet(ctx context.Context, table string, hash []byte, c driver.Check, sort, value []byte, ttl time.Duration) (driver.Checked, error)
	CheckAndMutate(ctx context.Context, table string, hash []byte, c driver.Check, changes []driver.Mutation) (driver.Checked, error)
}

// openHash reads the first argument as a hash key of the table in use.
func openHash(ctx context.Context, env commands.Env, call *spec.Call) (client, key, error) {
	k := key{hash: call.Arg(0)}
	if err := checkHashKey(k.hash); err != nil {
		return nil, k, err
	}
	c, table, err := openTable(ctx, env, call, "")
	k.table = table
	return c, k, err
}

// under names all rows of a hash key.
func (k key) under() string { return quote(k.hash) + " in " + k.table }

func toBytes(words []string) [][]byte {
	list := make([][]byte, len(words))
	for i, w := range words {
		list[i] = []byte(w)
	}
	return list
}

// checkTotal refuses what no single write can carry.
func checkTotal(hash string, words []string) error {
	size := len(hash)
	for _, w := range words {
		size += len(w)
	}
	if size > maxWrite {
		return spec.Errorf(spec.Usage, "keys and values have %d bytes", size).
			WithHint("servers refuse writes over %d bytes: write fewer rows at a time", maxWrite)
	}
	return nil
}

// distinctKeys refuses a sort key that is named twice.
func distinctKeys(sorts []string) error {
	seen := map[string]bool{}
	for _, s := range sorts {
		if seen[s] {
			return spec.Errorf(spec.Usage, "the sort key %s is there twice", quote(s))
		}
		seen[s] = true
	}
	return nil
}

// hashPlan is a plan of one write to several rows of a hash key.
func hashPlan(verb string, k key, apply func(ctx context.Context) (driver.Ack, error)) *spec.Plan {
	text := verb + " " + k.under()
	p := writePlan(verb, k, apply)
	p.Title, p.Steps[0].Text, p.Steps[0].Objects = text, text, []string{quote(k.hash)}
	return p
}

// pairColumns are those of words that list rows of one hash key.
func pairColumns(noValue bool) []spec.Column {
	columns := []spec.Column{
		{Name: "hash_key", Kind: spec.Bytes}, {Name: "sort_key", Kind: spec.Bytes}, {Name: "value", Kind: spec.Bytes},
	}
	if noValue {
		columns = columns[:2]
	}
	return columns
}

// rangeTable lists a range of a hash key while it arrives.
func rangeTable(k key, rows iter.Seq2[driver.RangeRow, error], noValue bool, most int64) *spec.Table {
	var count int64
	var ack driver.Ack
	return &spec.Table{
		Columns: pairColumns(noValue),
		Rows: func(yield func(spec.Row, error) bool) {
			for r, err := range rows {
				if err != nil {
					yield(nil, err)
					return
				}
				count, ack = count+1, r.Ack
				row := spec.Row{k.hash, r.Sort}
				if !noValue {
					row = append(row, r.Value)
				}
				if !yield(row, nil) {
					return
				}
			}
		},
		Notes: func() []string {
			notes := []string{countNote(count, ack)}
			if most > 0 && count == most {
				notes = append(notes, fmt.Sprintf("stopped after %d rows, as told by --max-count", count))
			}
			return notes
		},
	}
}

// countNote says how many rows came, and from where when that is known.
func countNote(count int64, ack driver.Ack) string {
	text := commands.Rows(count)
	if ack.Server != "" {
		text += fmt.Sprintf(", app_id %d, partition_index %d, server %s", ack.AppID, ack.Partition, ack.Server)
	}
	return text
}

var trueFalse = []string{"true", "false"}

// rangeArgs and rangeFlags are those of the words for a range of a hash key.
var (
	rangeArgs = []spec.Arg{
		keyArgs[0],
		{Name: "start_sort_key", Kind: spec.ArgBytes, Optional: true, Help: "where the range starts; \"\" or nothing: at the first row"},
		{Name: "stop_sort_key", Kind: spec.ArgBytes, Optional: true, Help: "where it stops; \"\" or nothing: behind the last row"},
	}
	rangeFlags = []spec.Flag{
		{Name: "start-inclusive", Short: "a", Kind: spec.ArgEnum, Values: trueFalse, Default: "true", Help: "whether start_sort_key itself is in"},
		{Name: "stop-inclusive", Short: "b", Kind: spec.ArgEnum, Values: trueFalse, Default: "false", Help: "whether stop_sort_key itself is in"},
		{Name: "sort-key-filter-type", Short: "s", Kind: spec.ArgEnum, Values: filterTypes, Help: "how -y is compared with the sort key"},
		{Name: "sort-key-filter-pattern", Short: "y", Kind: spec.ArgBytes, Help: "only rows with this in the sort key"},
	}
	maxCountFlag = spec.Flag{Name: "max-count", Short: "n", Kind: spec.ArgInt, Default: "-1", Help: "stop after so many rows; 0 or less reads all"}
	noValueFlag  = spec.Flag{Name: "no-value", Short: "i", Kind: spec.ArgBool, Help: "keys only"}
	timeoutFlag  = spec.Flag{Name: "timeout-ms", Short: "t", Kind: spec.ArgMillis, Help: "how long each call to a server may take, instead of `option timeout`"}
	detailFlag   = spec.Flag{Name: "detailed", Short: "d", Kind: spec.ArgBool, Help: "also show the table's id and which server answered"}
	// fileFlag is known so that lines written for the stores' own shell get a better answer than "unknown flag".
	fileFlag = spec.Flag{Short: "o", Kind: spec.ArgFile, Help: "not here: end the line with > FILE"}
)

// sortRange reads the arguments and flags of a range.
func sortRange(call *spec.Call) driver.SortRange {
	return driver.SortRange{
		Start: []byte(call.Arg(1)), Stop: []byte(call.Arg(2)),
		AfterStart: call.Arg(1) != "" && !call.Bool("start-inclusive"), IncludingStop: call.Bool("stop-inclusive"),
	}
}

// rangeText says a range in words.
func rangeText(r driver.SortRange) string {
	text := ""
	switch {
	case r.AfterStart:
		text += " after " + quote(string(r.Start))
	case len(r.Start) > 0:
		text += " from " + quote(string(r.Start))
	}
	switch {
	case len(r.Stop) == 0:
	case r.IncludingStop:
		text += " through " + quote(string(r.Stop))
	default:
		text += " to before " + quote(string(r.Stop))
	}
	return text
}

// noFile refuses -o.
func noFile(call *spec.Call) error {
	if !call.Has("o") {
		return nil
	}
	return spec.Errorf(spec.Usage, "-o names no file here").WithHint("end the line with > %s", shown(call.String("o")))
}

// perCall gives each call under the context the time that -t says.
func perCall(ctx context.Context, call *spec.Call) (context.Context, error) {
	each := call.Duration(timeoutFlag.Name)
	if each < 0 || each == 0 && call.Has(timeoutFlag.Name) {
		return ctx, spec.Errorf(spec.Usage, "%s is no time to wait for an answer", each)
	}
	return cluster.WithCallTimeout(ctx, each), nil
}

// deleteBatch is how many rows are found before they are deleted; between two batches the work can be stopped.
const deleteBatch = 500

// deleteScanned deletes the rows of a scan batch by batch. A batch that was begun is finished, so that what is said of
// it is true; rows that were found and not begun stay.
func deleteScanned(
	ctx context.Context, c severalRows, op, table string, rows iter.Seq2[driver.ScanRow, error], report spec.Report,
) error {
	var deleted int64
	batch := make([]driver.RowKey, 0, deleteBatch)
	flush := func() error {
		n, err := c.DeleteRows(context.WithoutCancel(ctx), table, batch)
		deleted += n
		batch = batch[:0]
		report.Progress(deleted, 0, "rows deleted")
		report.Detail("%s deleted", commands.Rows(deleted))
		return errors.Join(err, ctx.Err())
	}
	for r, err := range rows {
		if err == nil {
			if batch = append(batch, driver.RowKey{Hash: r.Hash, Sort: r.Sort}); len(batch) < deleteBatch {
				continue
			}
			err = flush()
		}
		if err != nil {
			return stoppedAt(op, deleted, err)
		}
	}
	if err := flush(); err != nil {
		return stoppedAt(op, deleted, err)
	}
	return nil
}

// stoppedAt says how far a deletion came.
func stoppedAt(op string, deleted int64, err error) error {
	kind, why := spec.KindOf(err), fmt.Errorf("%s deleted; %w", commands.Rows(deleted), err)
	switch {
	case kind == spec.UnknownOutcome:
	case kind == spec.Interrupted || errors.Is(err, context.Canceled):
		kind, why = spec.Interrupted, fmt.Errorf("%s deleted before it was stopped", commands.Rows(deleted))
	case deleted > 0:
		kind = spec.PartlyDone
	}
	e := &spec.Error{Kind: kind, Op: op, Err: why}
	return e.WithHint("the same line again deletes what is left")
}

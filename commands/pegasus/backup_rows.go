package pegasus

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands"
	"shardsh/commands/spec"
)

const backupRowsLong = " It reads the files of the backup where they are: nothing is restored, and no server is asked. " +
	"get, scan and count do the same where SERVICE:/PATH comes first; a -- before it makes it a key."

var expiredFlag = spec.Flag{Name: "expired", Kind: spec.ArgBool, Help: "rows whose time to live is over, too"}

// BackupGet reads a row of a backup.
func BackupGet(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "backup_get",
		Aliases: []string{"get"}, AtLocation: true,
		Systems: systems,
		Topic:   "storage", Offline: true, FlagsFirst: true,
		Summary: "read one row out of a cold backup",
		Long: "Reads a row as it was when the backup was made, and when it was written. A row that is not in the backup, or whose time to live is over, is an error, exit " +
			"code 1; with --expired an expired one is shown." + backupRowsLong,
		Args:  append([]spec.Arg{backupArg}, keyArgs...),
		Flags: []spec.Flag{ofTable, expiredFlag},
		Examples: []spec.Example{
			{Line: "backup_get " + onebackup + " user_42 field_1", Says: "the one row that was lost", Setup: backupHere},
			{Line: "get " + onebackup + " user_42 field_1", Says: "the same", Setup: backupHere},
		},
		SeeAlso: []string{"backup_scan", "backup_count", "ls_backup", "get"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return backupGet(ctx, env, call)
		},
	}
}

// BackupScan reads the rows of a backup.
func BackupScan(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "backup_scan",
		Aliases: []string{"scan"}, AtLocation: true,
		Systems: systems,
		Topic:   "storage", Offline: true,
		Summary: "read all rows of a cold backup, or those that match",
		Long: "Shows the rows of a backup partition by partition, by rising keys, with the filters of scan. With an exact hash key only its partition is read, and " +
			"only where its rows are." + backupRowsLong,
		Args: []spec.Arg{backupArg},
		Flags: append(slices.Clone(scanFlags), noValueFlag, ofTable, expiredFlag,
			spec.Flag{Name: "max-rows", Short: "n", Kind: spec.ArgInt, Default: "0", Help: "stop after so many rows; 0 reads all"}),
		Examples: []spec.Example{
			{Line: "scan " + onebackup + " -n 10", Says: "what rows look like", Setup: backupHere},
			{Line: "backup_scan " + onebackup + " -h exact -x user_42", Says: "everything under one hash key", Setup: backupHere},
		},
		SeeAlso: []string{"backup_get", "backup_count", "get_backup", "scan"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return backupScan(ctx, env, call)
		},
	}
}

// BackupCount counts the rows of a backup.
func BackupCount(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "backup_count",
		Aliases: []string{"count"}, AtLocation: true,
		Systems: systems,
		Topic:   "storage", Offline: true,
		Summary: "count the rows of a cold backup, or those that match",
		Long: "Reads every partition and counts the rows that live now, those whose time to live is over, and those that a split of partitions left where they do " +
			"not belong." + backupRowsLong,
		Args:  []spec.Arg{backupArg},
		Flags: append(slices.Clone(scanFlags), ofTable),
		Examples: []spec.Example{
			{Line: "backup_count " + onebackup, Says: "rows of every partition", Setup: backupHere},
			{Line: "count " + onebackup + " -h prefix -x user_4", Says: "only some hash keys", Setup: backupHere},
		},
		SeeAlso: []string{"backup_scan", "get_backup", "count_data"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return backupCount(ctx, env, call)
		},
	}
}

// backupReader is one table of a backup, and what is read of it.
type backupReader struct {
	store      blockStore
	backup     *coldbackup.Backup
	table      *coldbackup.Table
	partitions []*coldbackup.Partition
	options    coldbackup.ScanOptions
}

// openReader chooses table, partitions and rows by the flags of a call: those of scanFlags that its command declares, and
// the one that names the table.
func openReader(ctx context.Context, env commands.Env, call *spec.Call, table string) (*backupReader, error) {
	o, err := backupFilters(call)
	if err != nil {
		return nil, err
	}
	s, _, b, err := openBackup(ctx, env, call)
	if err != nil {
		return nil, err
	}
	t, err := pickTable(call, table, b)
	if err != nil {
		return nil, err
	}
	if t.App == nil {
		return nil, spec.Errorf(spec.Failed, "%s cannot be read: %s", t.Dir, firstProblem(b, t)).
			WithHint("verify_backup tells which files are damaged")
	}
	r := &backupReader{store: s, backup: b, table: t, options: coldbackup.ScanOptions{Now: time.Now()}}
	if o.HashKey.Type != "" || o.SortKey.Type != "" || o.Value.Type != "" {
		r.options.Keep = func(hash, sort, value []byte) bool {
			return o.HashKey.Match(hash) && o.SortKey.Match(sort) && o.Value.Match(value)
		}
	}
	if o.HashKey.Type == "exact" && len(o.HashKey.Pattern) > 0 {
		if err := r.within(o.HashKey.Pattern, nil); err != nil {
			return nil, err
		}
	}
	return r, r.choose(o.Partition, o.HashKey)
}

func backupFilters(call *spec.Call) (driver.ScanOptions, error) {
	o := driver.ScanOptions{Partition: -1}
	var err error
	if declares(call, "partition") {
		n := call.Int("partition")
		if n < -1 {
			return o, spec.Errorf(spec.Usage, "%d is no partition", n).WithHint("they count from 0; -1 is all")
		}
		o.Partition = int(min(n, math.MaxInt32))
	}
	if !declares(call, scanFlags[1].Name) {
		return o, nil
	}
	for _, f := range []struct {
		name string
		to   *driver.Filter
	}{{"hash-key", &o.HashKey}, {"sort-key", &o.SortKey}, {"value", &o.Value}} {
		if *f.to, err = filter(call, f.name); err != nil {
			return o, err
		}
	}
	return o, nil
}

func declares(call *spec.Call, flag string) bool {
	return slices.ContainsFunc(call.Command.Flags, func(f spec.Flag) bool { return f.Name == flag })
}

// within bounds the keys to those of one hash key that begin with sort.
func (r *backupReader) within(hash, sort []byte) error {
	start, err := wire.EncodeKey(hash, sort)
	if err != nil {
		return spec.Errorf(spec.Usage, "%w", err)
	}
	r.options.Start, r.options.End = start, wire.Successor(start)
	return nil
}

// choose picks the partitions: the one of an exact hash key, the one asked for, or all. One that has to be there is
// missed.
func (r *backupReader) choose(wanted int, hash driver.Filter) error {
	count := int(r.table.App.PartitionCount)
	if wanted >= count {
		return spec.Errorf(spec.Usage, "%s has no partition %d", r.table.Name, wanted).WithHint("they count from 0 to %d", count-1)
	}
	only := -1
	if r.options.Start != nil {
		only = wire.PartitionOf(wire.Hash(hash.Pattern, nil), count)
	}
	there := map[int]*coldbackup.Partition{}
	for _, p := range r.table.Partitions {
		there[p.Index] = p
	}
	for i := range count {
		if wanted >= 0 && i != wanted || only >= 0 && i != only {
			continue
		}
		if there[i] == nil {
			return spec.Errorf(spec.Failed, "partition %d of %s is not in the backup", i, r.table.Name)
		}
		r.partitions = append(r.partitions, there[i])
	}
	return nil
}

func backupGet(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	k := key{hash: call.Arg(1), sort: call.Arg(2)}
	if err := checkHashKey(k.hash); err != nil {
		return nil, err
	}
	r, err := openReader(ctx, env, call, ofTable.Name)
	if err != nil {
		return nil, err
	}
	if err := r.within([]byte(k.hash), []byte(k.sort)); err != nil {
		return nil, err
	}
	r.options.End = append(slices.Clone(r.options.Start), 0) // this key, and none that only begins so
	r.options.Expired = true
	r.partitions = nil
	if err := r.choose(-1, driver.Filter{Pattern: []byte(k.hash)}); err != nil {
		return nil, err
	}
	p := r.partitions[0]
	for row, err := range r.table.Scan(ctx, r.store, p, r.options, &coldbackup.ScanCounts{}) {
		if err != nil {
			return nil, err
		}
		if row.Expired && !call.Bool("expired") {
			return nil, spec.Errorf(spec.NotFound, "%s of backup %d expired at %s", k.row(), r.backup.ID, row.Expires().UTC().Format(time.RFC3339)).
				WithHint("--expired shows it")
		}
		return spec.Record(backupRowColumns(false), backupRow(row, p.Index, false)...), nil
	}
	return nil, spec.Errorf(spec.NotFound, "%s is not in partition %d of backup %d", k.row(), p.Index, r.backup.ID)
}

func backupRowColumns(noValue bool) []spec.Column {
	return append(pairColumns(noValue),
		spec.Column{Name: "expires", Kind: spec.Time}, spec.Column{Name: "written", Kind: spec.Time}, spec.Column{Name: "partition_index", Kind: spec.Int})
}

func backupRow(r coldbackup.Row, partition int, noValue bool) spec.Row {
	row := spec.Row{slices.Clone(r.Hash), slices.Clone(r.Sort)}
	if !noValue {
		row = append(row, slices.Clone(r.Data))
	}
	return append(row, timeOrNone(r.Expires()), timeOrNone(r.Written()), partition)
}

func timeOrNone(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func backupScan(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	most, noValue := call.Int("max-rows"), call.Bool("no-value")
	if most < 0 {
		return nil, spec.Errorf(spec.Usage, "%d is no number of rows", most)
	}
	r, err := openReader(ctx, env, call, ofTable.Name)
	if err != nil {
		return nil, err
	}
	r.options.Expired = call.Bool("expired")
	var shownRows int64
	var counts coldbackup.ScanCounts
	return &spec.Table{
		Columns: backupRowColumns(noValue),
		Rows: func(yield func(spec.Row, error) bool) {
			for _, p := range r.partitions {
				for row, err := range r.table.Scan(ctx, r.store, p, r.options, &counts) {
					if err != nil {
						yield(nil, err)
						return
					}
					shownRows++
					if !yield(backupRow(row, p.Index, noValue), nil) || shownRows == most {
						return
					}
				}
			}
		},
		Notes: func() []string {
			if most > 0 && shownRows == most {
				return []string{fmt.Sprintf("stopped after %d rows, as told by --max-rows", shownRows)}
			}
			return []string{countNote(shownRows, driver.Ack{}) + leftOut(counts)}
		},
	}, nil
}

// leftOut says what was not shown though it matches.
func leftOut(c coldbackup.ScanCounts) string {
	text := ""
	if c.Expired > 0 {
		text += fmt.Sprintf("; %d expired ones left out", c.Expired)
	}
	if c.Strays > 0 {
		text += fmt.Sprintf("; %d left by a split of partitions, which has them elsewhere", c.Strays)
	}
	return text
}

func backupCount(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	r, err := openReader(ctx, env, call, ofTable.Name)
	if err != nil {
		return nil, err
	}
	var rows, expired, strays int64
	return &spec.Table{
		Columns: []spec.Column{
			{Name: "partition_index", Kind: spec.Int}, {Name: "rows", Kind: spec.Int}, {Name: "expired", Kind: spec.Int}, {Name: "strays", Kind: spec.Int},
		},
		Rows: func(yield func(spec.Row, error) bool) {
			for _, p := range r.partitions {
				var n int64
				var counts coldbackup.ScanCounts
				for _, err := range r.table.Scan(ctx, r.store, p, r.options, &counts) {
					if err != nil {
						yield(nil, err)
						return
					}
					n++
				}
				rows, expired, strays = rows+n, expired+counts.Expired, strays+counts.Strays
				if !yield(spec.Row{p.Index, n, counts.Expired, counts.Strays}, nil) {
					return
				}
			}
		},
		Notes: func() []string {
			return []string{countNote(rows, driver.Ack{}) + leftOut(coldbackup.ScanCounts{Expired: expired, Strays: strays})}
		},
	}, nil
}

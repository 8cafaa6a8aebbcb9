package openmldb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/openmldb"
	"shardsh/cluster/transfer"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// CopyData copies the rows of a table.
func CopyData(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "copy_data",
		Systems: systems,
		Topic:   "rows",
		Summary: "copy the rows of a table to another table, here or in another cluster",
		Long: "Reads every partition and writes its rows to the target, many at a time, each with its time. The target may have another " +
			"name and another number of partitions; its columns and partition key must be the same, and its own TTLs say when rows expire. " +
			"A table is read by one of its indexes: by the one that rows stay in longest, unless --index names one; rows that have expired " +
			"from it are left out, even where another index still has them. " +
			"Tablets keep every row they are sent, also the same one twice: into an empty table rows are copied as often as they are there. " +
			"What may have been written already, because an answer was lost or the copy was killed, is looked for by key and time before it " +
			"is sent again. A leader acknowledges rows before its followers have them: where partitions of the target have changed their " +
			"leader meanwhile, the source is read once more in the end, and what was lost is put again. " +
			"A server that is at its limit of calls gets fewer; partitions whose tablets are away wait while the others go on. " +
			"It is a job: its journal is saved every second, and job resume goes on after Ctrl-C, a crash, or an error that does not go away.",
		Args: []spec.Arg{{Name: "table", Kind: spec.ArgTable, Help: "[db/]name, the table to copy"}},
		Flags: slices.Concat(twoTables, []spec.Flag{
			callTimeFlag, indexFlag, fromFlag, toFlag, somePartFlag,
			{Name: "skip-existing", Short: "n", Kind: spec.ArgBool, Help: "look for every row in the target first, and leave alone those that are there; slower"},
			{Name: "create", Kind: spec.ArgBool, Help: "create the target first, unless it is there, with the columns, indexes, TTLs and partitions of the table"},
			{Name: "verify", Kind: spec.ArgBool, Help: "compare in the end what was copied with what the target has; exit 7 when they differ"},
			{Name: "max-rate", Kind: spec.ArgRate, Help: "copy no faster than this; +, - and job rate change it while it runs"},
			{Name: "patience", Kind: spec.ArgDuration, Default: "10m", Help: "give up when servers were away and nothing got any further for so long"},
		}),
		Examples: []spec.Example{
			{Line: "copy_data flow -c openmldb2 -a flow --create --verify", Says: "a table like it in another cluster, compared in the end"},
			{
				Line: "copy_data flow -c openmldb -a flow_b -n --max-rate 20000rows/s", Says: "only what is missing there, not too fast",
				Setup: []string{"create flow_b 0 4 3 card:string:index mcc:string:index amount:double ts:timestamp:ts"},
			},
			{Line: "copy_data flow -c openmldb2 -a flow --create --plan", Says: "how much there is to copy, and what would be in its way"},
		},
		SeeAlso: []string{"diff_data", "count_data", "jobs", "showschema"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return copyData(ctx, env, line)
		},
	}
}

// rowCopy is a copy that is planned.
type rowCopy struct {
	*selection
	source, target copySide
	keep           bool
	rate           spec.Rate
	patience       time.Duration
}

func copyData(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	s, err := readSelection(line)
	if err != nil {
		return nil, err
	}
	x := &rowCopy{selection: s, keep: line.Bool("skip-existing"), rate: line.Rate("max-rate"), patience: line.Duration("patience")}
	if x.patience <= 0 {
		return nil, spec.Errorf(spec.Usage, "%s is no time to wait", x.patience)
	}
	if x.source, err = openFirst(ctx, env, line); err != nil {
		return nil, err
	}
	if err = s.of(x.source.table, line.String(indexFlag.Name)); err != nil {
		return nil, err
	}
	if x.target, err = openSecond(ctx, env, line, x.source); err != nil {
		return nil, err
	}
	plan := &spec.Plan{Title: x.title()}
	create := line.Bool("create")
	switch {
	case x.target.table == nil && !create:
		return nil, spec.Errorf(spec.NotFound, "%s has no table %s", x.target.cluster, x.target.name).
			WithHint("--create makes it like %s", x.source.name)
	case x.target.table == nil:
		if plan.Steps, plan.Notes, err = x.createSteps(ctx); err != nil {
			return nil, err
		}
	default:
		if err := driver.SameLayout(x.source.table, x.target.table); err != nil {
			return nil, err
		}
	}
	plan.Notes = append(x.notes(ctx), plan.Notes...)
	plan.Steps = append(plan.Steps, x.step())
	if line.Bool("verify") {
		v, err := x.verify()
		if err != nil {
			return nil, err
		}
		plan.Steps = append(plan.Steps, v.step())
	}
	return plan, nil
}

func (x *rowCopy) title() string { return fmt.Sprintf("copy %s to %s%s", x.source, x.target, x.text()) }

// notes are what a person should know before it begins.
func (x *rowCopy) notes(ctx context.Context) []string {
	t := x.source.table
	notes := []string{x.source.state(x.partitions), x.indexNote(t)}
	if lost := putTimes(t); x.index.TimeColumn != "" && len(lost) > 0 {
		notes = append(notes, fmt.Sprintf("index %s orders rows by the time they were put, which index %s does not tell: there they get the time of %s; --index %s keeps it",
			strings.Join(lost, ", "), x.index.Name, x.index.TimeColumn, lost[0]))
	}
	if vague := timeIndexes(t); x.index.TimeColumn == "" && len(vague) > 0 {
		notes = append(notes, fmt.Sprintf("index %s does not tell the time of a put: a row that is sent again because its answer was lost may be there twice by that index, and once by %s",
			strings.Join(vague, ", "), x.index.Name))
	}
	if on, err := x.target.c.AutoFailover(ctx); err == nil && !on {
		notes = append(notes, fmt.Sprintf("auto_failover of %s is off: partitions of a tablet that dies wait for people", x.target.cluster))
	}
	if x.target.table == nil {
		return notes
	}
	notes = append(notes, x.target.state(nil))
	if x.occupied(ctx) {
		what := "those copied are added, also where they are the same; -n leaves alone what is there"
		if x.keep {
			what = "what is there by key, time and all values is left alone"
		}
		notes = append(notes, fmt.Sprintf("%s is not empty: %s", x.target, what))
	}
	return append(notes, indexNotes(t, x.target)...)
}

// putTimes are the indexes that order rows by the time of the put.
func putTimes(t *driver.Table) []string {
	var names []string
	for _, x := range t.Indexes {
		if x.TimeColumn == "" {
			names = append(names, x.Name)
		}
	}
	return names
}

// timeIndexes are the indexes that order rows by a column.
func timeIndexes(t *driver.Table) []string {
	var names []string
	for _, x := range t.Indexes {
		if x.TimeColumn != "" {
			names = append(names, x.Name)
		}
	}
	return names
}

// peekTime bounds looking for a first row in the target.
const peekTime = 2 * time.Second

// occupied says that the target has rows: the nameserver may not know of the last ones yet.
func (x *rowCopy) occupied(ctx context.Context) bool {
	if records(x.target.table) > 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, peekTime)
	defer cancel()
	src := x.target.c.CopySource(x.target.name, driver.CopySourceOptions{})
	for i := range x.target.table.Parts {
		for b, err := range src.Read(ctx, i, nil) {
			if err == nil && len(b.Rows) > 0 {
				return true
			}
		}
	}
	return false
}

// records are those of all partitions, as far as the nameserver knows them.
func records(t *driver.Table) (n uint64) {
	for i := range t.Parts {
		if r, ok := t.Parts[i].Leader(); ok && r.Records != nil {
			n += *r.Records
		}
	}
	return n
}

// indexNotes tell where the target finds or keeps rows otherwise.
func indexNotes(from *driver.Table, target copySide) []string {
	var notes []string
	for _, x := range from.Indexes {
		at := slices.IndexFunc(target.table.Indexes, func(o driver.Index) bool { return o.Name == x.Name })
		switch {
		case at < 0:
			notes = append(notes, fmt.Sprintf("%s has no index %s: its rows are not found by that", target, x.Name))
		case target.table.Indexes[at].TTL != x.TTL:
			notes = append(notes, fmt.Sprintf("rows expire from index %s of %s by its own TTL, %s, and not by %s", x.Name, target, target.table.Indexes[at].TTL, x.TTL))
		}
	}
	if target.table.Storage != from.Storage {
		notes = append(notes, fmt.Sprintf("%s is stored in %s, and %s in %s", from.TableName, from.Storage, target, target.table.Storage))
	}
	return notes
}

func (x *rowCopy) step() spec.Step {
	identity := x.selection.identity()
	identity["source"], identity["target"] = x.source.identity(), x.target.cluster+":"+x.target.name.String()
	identity["skip_existing"] = fmt.Sprint(x.keep)
	return spec.Step{
		Text: x.title(), Objects: []string{x.target.name.String()}, Class: spec.Alter,
		Job: &spec.Job{Name: "copy", Identity: identity, Rate: x.rate, Run: x.run},
	}
}

func (x *rowCopy) run(ctx context.Context, w spec.Work) error {
	ctx = cluster.WithCallTimeout(ctx, x.each)
	into, err := x.target.c.Describe(ctx, x.target.name)
	if err != nil {
		return err
	}
	// Somebody may have made it otherwise in the meantime.
	if err := driver.SameLayout(x.source.table, into); err != nil {
		return err
	}
	dst := x.target.c.CopySink(x.target.name, driver.CopySinkOptions{TableID: into.ID, Index: x.index, Keep: x.keep})
	_, err = driver.CopyTable(ctx, x.selection.source(x.source, true), dst, transfer.CopyOptions{
		What: x.title(), Into: fmt.Sprintf("%s with id %d", x.target, into.ID), Patience: x.patience,
	}, w)
	return err
}

// verify compares what the copy was about. Rows that only the target has do not matter.
func (x *rowCopy) verify() (*comparison, error) {
	if x.target.table != nil {
		if err := driver.SameIndex(x.target.table, x.index); err != nil {
			return nil, err
		}
	}
	return &comparison{job: "verify", selection: x.selection, source: x.source, target: x.target, onlySource: true, rate: x.rate}, nil
}

// createSteps make the target like the source, in a database that is there.
func (x *rowCopy) createSteps(ctx context.Context) (steps []spec.Step, notes []string, err error) {
	t, c, name := x.source.table, x.target.c, x.target.name
	want := driver.NewTable{
		TableName: name, Columns: t.Columns, Indexes: slices.Clone(t.Indexes), Partitions: len(t.Parts), Replicas: t.Replicas,
		Storage: t.Storage, Compress: t.Compress, Segments: t.Segments, PartitionKey: t.PartitionKey,
	}
	all, err := c.Tablets(ctx)
	if err != nil {
		return nil, nil, err
	}
	healthy := 0
	for _, one := range all {
		if one.Healthy {
			healthy++
		}
	}
	if healthy == 0 {
		return nil, nil, spec.Errorf(spec.Unavailable, "%s has no healthy tablet to create a table on", x.target.cluster).WithHint("showtablet lists them")
	}
	if healthy < want.Replicas {
		notes = append(notes, fmt.Sprintf("%s has %s: the new table gets so many replicas, not %d", x.target.cluster, commands.Plural(healthy, "healthy tablet"), want.Replicas))
		want.Replicas = healthy
	}
	if name.DB != "" {
		databases, err := c.Databases(ctx)
		if err != nil {
			return nil, nil, err
		}
		if !slices.Contains(databases, name.DB) {
			steps = append(steps, spec.Step{
				Text: "create database " + name.DB, Objects: []string{name.DB}, Class: spec.Alter,
				Apply: call(func(ctx context.Context) error { return c.CreateDatabase(ctx, name.DB, true) }),
			})
		}
	}
	undo := ""
	if x.target.cluster == x.source.cluster { // elsewhere a table of that name may be another one
		undo = "drop " + name.String()
	}
	return append(steps, spec.Step{
		Text: fmt.Sprintf("create %s with %s, %s and %s, as %s has them", x.target, commands.Plural(len(want.Columns), "column"),
			commands.Plural(want.Partitions, "partition"), commands.Plural(want.Replicas, "replica"), t.TableName),
		Objects: []string{name.String()}, Class: spec.Alter, Undo: undo, Check: exists(c, name, true),
		Apply: call(func(ctx context.Context) error { return c.Create(ctx, want) }),
	}), notes, nil
}

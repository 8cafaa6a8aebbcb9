package pegasus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// splitter is what splitting and compacting tables asks of a cluster.
type splitter interface {
	admin
	keeper
	StartSplit(ctx context.Context, table string, partitions int) error
	Split(ctx context.Context, table string) (*driver.Split, error)
	ControlSplit(ctx context.Context, table, how string, parent, old int) error
	StartCompaction(ctx context.Context, table string, c driver.Compaction) error
	CompactionProgress(ctx context.Context, table string) (percent int, known bool, err error)
	Activity(ctx context.Context) (driver.Activity, error)
	Sample(ctx context.Context, endpoint string, want driver.Wanted) (*driver.Sample, error)
}

var _ splitter = (*driver.Driver)(nil)

// tableFlag is how the old tools name the table of these words.
var tableFlag = spec.Flag{Name: "table", Short: "a", Kind: spec.ArgTable, Help: "the table; the one in use when left out"}

// openSplit finds the table that the call names, by -a or as the one in use.
func openSplit(ctx context.Context, env commands.Env, call *spec.Call, named string) (splitter, driver.App, error) {
	table, err := commands.Table(call, named)
	if err == nil {
		err = checkTable(table)
	}
	if err != nil {
		return nil, driver.App{}, err
	}
	c, err := commands.Driver[splitter](ctx, env, call)
	if err != nil {
		return nil, driver.App{}, err
	}
	a, exists, err := findApp(ctx, c, table)
	if err == nil && !exists {
		err = spec.Errorf(spec.NotFound, "%s has no table %s", call.Cluster, shown(table)).WithHint("ls lists the tables")
	}
	return c, a, err
}

// PartitionSplitStart doubles the partitions of a table.
func PartitionSplitStart(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "partition_split start",
		Systems: systems,
		Topic:   "partitions",
		Summary: "split every partition of a table in two",
		Long: "Doubles a table's number of partitions while it is used, and waits until all are split: each partition copies its rows " +
			"to a child beside each of its replicas, and then half of them are the child's. While a child is registered its clients " +
			"wait for a moment; those that cannot wait see ERR_SPLITTING. Until the first partition is split it can be canceled; " +
			"there is no way to halve a table later. Partitions that lack a replica are not split before they have it. " +
			"The rows that left stay on the disks of both halves, out of sight, until manual_compact removes them: up to three times " +
			"the table's size is needed meanwhile, which is looked at first. A number of partitions that is no power of two cannot be split: servers would " +
			"turn away the clients of most rows.",
		Flags: []spec.Flag{
			tableFlag,
			{Name: "partition-count", Short: "p", Kind: spec.ArgInt, Required: true, Help: "the new number of partitions, twice the one there is"},
		},
		Examples: []spec.Example{
			{Line: "partition_split start -a demo -p 8 --yes", Says: "from 4 partitions to 8"},
			{Line: "partition_split start -a TableA -p 16 --plan", Says: "what would be done, and what undoes it"},
		},
		SeeAlso: []string{"partition_split query", "partition_split pause", "partition_split cancel", "manual_compact", "app"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return startSplit(ctx, env, call)
		},
	}
}

func startSplit(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	want := int(call.Int("partition-count"))
	if err := checkShape(int64(want), 1); err != nil {
		return nil, err
	}
	c, a, err := openSplit(ctx, env, call, call.String("table"))
	if err != nil {
		return nil, err
	}
	s := &doubling{client: c, table: a.Name, want: want, from: want / 2}
	now, err := c.Split(ctx, a.Name)
	switch {
	case err != nil:
		return nil, err
	case now == nil && want != a.Partitions && want != 2*a.Partitions:
		return nil, spec.Errorf(spec.Usage, "%s has %s, which cannot become %d", a.Name, commands.Plural(a.Partitions, "partition"), want).
			WithHint("a split doubles them: -p %d", 2*a.Partitions)
	}
	plan := &spec.Plan{
		Title: fmt.Sprintf("split table %s of %s into %s", a.Name, call.Cluster, commands.Plural(want, "partition")),
		Name:  a.Name,
		Steps: []spec.Step{{
			Text:    fmt.Sprintf("split %s from %s into %d", a.Name, commands.Plural(s.from, "partition"), want),
			Objects: []string{a.Name},
			Class:   spec.Risky,
			Check:   s.check,
			Apply:   func(ctx context.Context, _ spec.Report) error { return c.StartSplit(ctx, a.Name, want) },
			Undo:    fmt.Sprintf("partition_split cancel -a %s -p %d", a.Name, s.from),
		}},
		Notes: []string{
			"clients of a partition wait for a moment when it is split",
			fmt.Sprintf("until the first one is, partition_split cancel -a %s -p %d takes it back", a.Name, s.from),
			fmt.Sprintf("afterwards, manual_compact -a %s -b frees the space of the rows that left", a.Name),
		},
	}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, s.await(call).step())
	}
	if now != nil || want != 2*a.Partitions {
		return plan, nil
	}
	room, notes, err := s.room(ctx, a)
	plan.Blockers, plan.Notes = append(blockers(a), room...), append(plan.Notes, notes...)
	return plan, err
}

// doubling is a split that is to happen.
type doubling struct {
	client splitter
	table  string
	from   int // partitions before
	want   int // partitions after
	done   int // of from, when it was last looked
}

func (s *doubling) check(ctx context.Context) (spec.State, error) {
	a, exists, err := findApp(ctx, s.client, s.table)
	if err != nil {
		return spec.State{}, err
	}
	if !exists {
		return spec.State{Kind: spec.Blocked, Why: "the table is gone"}, nil
	}
	now, err := s.client.Split(ctx, s.table)
	switch {
	case err != nil:
		return spec.State{}, err
	case now != nil && now.Partitions == s.want:
		return spec.State{Kind: spec.Done, Why: "it is being split already"}, nil
	case now != nil:
		return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf("it is being split into %d", now.Partitions)}, nil
	case a.Partitions == s.want:
		return spec.State{Kind: spec.Done, Why: fmt.Sprintf("it has %s", commands.Plural(s.want, "partition"))}, nil
	case a.Partitions != s.from:
		return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf("it has %s", commands.Plural(a.Partitions, "partition"))}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

// blockers are what must not be when a table is split.
func blockers(a driver.App) []spec.Blocker {
	var list []spec.Blocker
	block := func(format string, args ...any) {
		list = append(list, spec.Blocker{Object: a.Name, Why: fmt.Sprintf(format, args...)})
	}
	if a.Partitions&(a.Partitions-1) != 0 {
		block("%d is no power of two: once it is split, servers turn away the clients of most rows", a.Partitions)
	}
	if a.Duplicating {
		block("it is being duplicated to another cluster: the copy there would go wrong")
	}
	if a.BulkLoading {
		block("it is being loaded: the split would run into files made for %s", commands.Plural(a.Partitions, "partition"))
	}
	return list
}

// await waits until all partitions are split.
func (s *doubling) await(call *spec.Call) waiting {
	return waiting{
		text: fmt.Sprintf("wait until every partition of %s is split", s.table), objects: []string{s.table}, limit: call.Wait,
		look:     s.look,
		progress: func() (int, int, string) { return s.done, s.from, "partitions" },
		hint:     fmt.Sprintf("partition_split query -a %s shows where it stands; partitions that lack a replica wait for it", s.table),
	}
}

func (s *doubling) look(ctx context.Context) (bool, string, error) {
	now, err := s.client.Split(ctx, s.table)
	if err != nil {
		return false, "", err
	}
	if now == nil {
		return s.ended(ctx)
	}
	s.done = now.Partitions/2 - len(now.Status)
	stand := fmt.Sprintf("%d of %d split; %s", s.done, now.Partitions/2, statuses(now.Status))
	for _, status := range now.Status {
		if status != "PAUSED" {
			return false, stand, nil
		}
	}
	e := spec.Errorf(spec.Failed, "%s", stand)
	e.Op = "wait for the split of " + s.table
	return false, stand, e.WithHint("partition_split restart -a %s goes on", s.table)
}

// ended tells a split that was finished from one that was canceled.
func (s *doubling) ended(ctx context.Context) (bool, string, error) {
	ready, total, err := readiness(ctx, s.client, s.table)
	switch {
	case err != nil:
		return false, "", err
	case total != s.want:
		return false, "", spec.Errorf(spec.Failed, "the split of %s was canceled: it has %s", s.table, commands.Plural(total, "partition"))
	}
	s.done = s.from
	return ready == total, fmt.Sprintf("%d of %d partitions ready", ready, total), nil
}

// maxNamed bounds how many partitions are named one by one.
const maxNamed = 8

// statuses sums up where parents stand: `SPLITTING 0,1,5 PAUSED 3`.
func statuses(status map[int]string) string {
	by := map[string][]int{}
	for parent, word := range status {
		by[word] = append(by[word], parent)
	}
	var parts []string
	for _, word := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[word])
		names := make([]string, 0, maxNamed)
		for _, parent := range by[word][:min(len(by[word]), maxNamed)] {
			names = append(names, strconv.Itoa(parent))
		}
		text := word + " " + strings.Join(names, ",")
		if more := len(by[word]) - len(names); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

package pegasus

import (
	"context"
	"fmt"
	"slices"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// PartitionSplitQuery shows how the split of a table stands.
func PartitionSplitQuery(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "partition_split query",
		Systems: systems,
		Topic:   "partitions",
		Summary: "show which partitions of a table are split",
		Long: "Asks the meta server how the split of a table stands, parent by parent: SPLITTING, PAUSING, PAUSED, CANCELING, or COMPLETED " +
			"when its child serves. A table that is not being split has no rows. A meta server that takes over knows " +
			"only which children are there: the others go on being split, even if they were paused or canceled before.",
		Flags:    []spec.Flag{tableFlag},
		Examples: []spec.Example{{Line: "partition_split query -a TableA", Says: "nothing, unless it is being split"}},
		SeeAlso:  []string{"partition_split start", "showopstatus", "app"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, a, err := openSplit(ctx, env, call, call.String("table"))
			if err != nil {
				return nil, err
			}
			s, err := c.Split(ctx, a.Name)
			if err != nil {
				return nil, err
			}
			return splitTable(a, s), nil
		},
	}
}

func splitTable(a driver.App, s *driver.Split) *spec.Table {
	t := &spec.Table{Columns: []spec.Column{{Name: "pidx", Kind: spec.Int}, {Name: "child", Kind: spec.Int}, {Name: "split_status"}}}
	if s == nil {
		t.Notes = func() []string {
			return []string{fmt.Sprintf("%s is not being split: it has %s", a.Name, commands.Plural(a.Partitions, "partition"))}
		}
		return t
	}
	half := s.Partitions / 2
	t.Rows = func(yield func(spec.Row, error) bool) {
		for parent := range half {
			status := "COMPLETED"
			if now, busy := s.Status[parent]; busy {
				status = now
			}
			if !yield(spec.Row{parent, parent + half, status}, nil) {
				return
			}
		}
	}
	t.Notes = func() []string {
		return []string{fmt.Sprintf("%d of %d partitions are split", half-len(s.Status), half)}
	}
	return t
}

var parentFlag = spec.Flag{Name: "parent", Short: "i", Kind: spec.ArgInt, Default: "-1", Help: "only this partition; -1 is all of them"}

// PartitionSplitPause holds a split up.
func PartitionSplitPause(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "partition_split pause",
		Systems: systems,
		Topic:   "partitions",
		Summary: "pause the split of a table, or of one partition",
		Long: "Has partitions that are not split yet stop copying, and waits until they have. What was copied is thrown away; " +
			"partition_split restart begins anew. Partitions that are split stay so. A meta server that takes over " +
			"knows nothing of a pause.",
		Flags: []spec.Flag{tableFlag, parentFlag},
		Examples: []spec.Example{
			{
				Line: "partition_split pause -a demo --plan", Says: "what would be done",
				Setup: []string{"partition_split start -a demo -p 8 --yes --no-wait"},
			},
		},
		SeeAlso: []string{"partition_split restart", "partition_split query"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return controlSplit(ctx, env, call, control{
				how: driver.PauseSplit, from: "SPLITTING", meanwhile: "PAUSING", to: "PAUSED", undo: "restart", done: "paused",
			})
		},
	}
}

// PartitionSplitRestart goes on with a split that was paused.
func PartitionSplitRestart(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "partition_split restart",
		Systems: systems,
		Topic:   "partitions",
		Summary: "go on with a split that was paused",
		Long:    "Has partitions whose split was paused begin it anew. It does not wait for their end: partition_split query shows it.",
		Flags:   []spec.Flag{tableFlag, parentFlag},
		Examples: []spec.Example{
			{
				Line: "partition_split restart -a demo --plan", Says: "what would be done",
				Setup: []string{"partition_split start -a demo -p 8 --yes --no-wait"},
			},
		},
		SeeAlso: []string{"partition_split pause", "partition_split query"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return controlSplit(ctx, env, call, control{how: driver.RestartSplit, from: "PAUSED", to: "SPLITTING", undo: "pause", done: "going on"})
		},
	}
}

// control is one way to control the split of partitions.
type control struct {
	how                 string
	from, meanwhile, to string // statuses; meanwhile is "" where to follows at once
	undo                string
	done                string // in words
}

func controlSplit(ctx context.Context, env commands.Env, call *spec.Call, k control) (*spec.Plan, error) {
	parent := int(call.Int("parent"))
	c, a, err := openSplit(ctx, env, call, call.String("table"))
	if err != nil {
		return nil, err
	}
	s, err := c.Split(ctx, a.Name)
	if err != nil {
		return nil, err
	}
	if s != nil && (parent < -1 || parent >= s.Partitions/2) {
		return nil, spec.Errorf(spec.Usage, "%s has no partition %d to split", a.Name, parent).
			WithHint("those that are split are 0 to %d; -1 is all", s.Partitions/2-1)
	}
	what := "all partitions of " + a.Name
	undo := fmt.Sprintf("partition_split %s -a %s", k.undo, a.Name)
	if parent >= 0 {
		what = fmt.Sprintf("%s/%d", a.Name, parent)
		undo += fmt.Sprintf(" -i %d", parent)
	}
	plan := &spec.Plan{
		Title: fmt.Sprintf("%s the split of %s on %s", k.how, what, call.Cluster),
		Steps: []spec.Step{{
			Text: fmt.Sprintf("%s the split of %s", k.how, what), Objects: []string{a.Name}, Class: spec.Alter,
			Check: func(ctx context.Context) (spec.State, error) { return k.check(ctx, c, a.Name, parent) },
			Apply: func(ctx context.Context, _ spec.Report) error { return c.ControlSplit(ctx, a.Name, k.how, parent, 0) },
			Undo:  undo,
		}},
	}
	if call.Wait >= 0 && k.meanwhile != "" {
		plan.Steps = append(plan.Steps, waiting{
			text: "wait until it is " + k.done, objects: []string{a.Name}, limit: call.Wait,
			look: func(ctx context.Context) (bool, string, error) { return k.look(ctx, c, a.Name, parent) },
			hint: fmt.Sprintf("partition_split query -a %s shows where it stands", a.Name),
		}.step())
	}
	return plan, nil
}

// of answers the statuses that the control is about, and their sum in words.
func of(s *driver.Split, parent int) (list []string, text string) {
	some := map[int]string{}
	for p, status := range s.Status {
		if parent < 0 || p == parent {
			some[p], list = status, append(list, status)
		}
	}
	return list, statuses(some)
}

func (k control) check(ctx context.Context, c splitter, table string, parent int) (spec.State, error) {
	s, err := c.Split(ctx, table)
	switch {
	case err != nil:
		return spec.State{}, err
	case s == nil:
		return spec.State{Kind: spec.Blocked, Why: table + " is not being split"}, nil
	}
	list, text := of(s, parent)
	switch {
	case len(list) == 0:
		return spec.State{Kind: spec.Blocked, Why: "it is split already"}, nil
	case slices.Contains(list, k.from):
		return spec.State{Kind: spec.Todo}, nil
	case slices.Contains(list, k.to) || slices.Contains(list, k.meanwhile):
		return spec.State{Kind: spec.Done, Why: text}, nil
	}
	return spec.State{Kind: spec.Blocked, Why: text}, nil
}

// look waits for what is meanwhile to be over.
func (k control) look(ctx context.Context, c splitter, table string, parent int) (bool, string, error) {
	s, err := c.Split(ctx, table)
	switch {
	case err != nil:
		return false, "", err
	case s == nil:
		return true, "the split has come to its end", nil
	}
	list, text := of(s, parent)
	if len(list) == 0 {
		return true, "it was split before", nil
	}
	return !slices.Contains(list, k.meanwhile) && !slices.Contains(list, k.from), text, nil
}

// PartitionSplitCancel takes a split back.
func PartitionSplitCancel(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "partition_split cancel",
		Systems: systems,
		Topic:   "partitions",
		Summary: "cancel the split of a table",
		Long: "Takes the split of a table back as long as none of its partitions is split, and waits until it is; what was copied is " +
			"thrown away. From the first partition on it is too late: the meta server refuses. The setting " +
			"replica.split.validate_partition_hash, which the split made, stays.",
		Flags: []spec.Flag{
			tableFlag,
			{Name: "partition-count", Short: "p", Kind: spec.ArgInt, Required: true, Help: "the number of partitions before the split"},
		},
		Examples: []spec.Example{
			{
				Line: "partition_split cancel -a demo -p 4 --plan", Says: "what would be done",
				Setup: []string{"partition_split start -a demo -p 8 --yes --no-wait"},
			},
		},
		SeeAlso: []string{"partition_split start", "partition_split pause"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return cancelSplit(ctx, env, call)
		},
	}
}

func cancelSplit(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	old := int(call.Int("partition-count"))
	if err := checkShape(int64(old), 1); err != nil {
		return nil, err
	}
	c, a, err := openSplit(ctx, env, call, call.String("table"))
	if err != nil {
		return nil, err
	}
	s, err := c.Split(ctx, a.Name)
	switch {
	case err != nil:
		return nil, err
	case s != nil && s.Partitions != 2*old:
		return nil, spec.Errorf(spec.Usage, "%s had not %d partitions before", a.Name, old).WithHint("it had %d: -p %d", s.Partitions/2, s.Partitions/2)
	}
	plan := &spec.Plan{
		Title: fmt.Sprintf("cancel the split of table %s on %s", a.Name, call.Cluster),
		Steps: []spec.Step{{
			Text: fmt.Sprintf("cancel the split of %s into %s", a.Name, commands.Plural(2*old, "partition")), Objects: []string{a.Name}, Class: spec.Alter,
			Check: func(ctx context.Context) (spec.State, error) { return cancelState(ctx, c, a.Name, old) },
			Apply: func(ctx context.Context, _ spec.Report) error {
				return c.ControlSplit(ctx, a.Name, driver.CancelSplit, -1, old)
			},
			Undo: fmt.Sprintf("partition_split start -a %s -p %d", a.Name, 2*old),
		}},
	}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, waiting{
			text: fmt.Sprintf("wait until %s has %s again", a.Name, commands.Plural(old, "partition")), objects: []string{a.Name}, limit: call.Wait,
			look: func(ctx context.Context) (bool, string, error) { return canceled(ctx, c, a.Name, old) },
			hint: fmt.Sprintf("partition_split query -a %s shows where it stands", a.Name),
		}.step())
	}
	return plan, nil
}

func cancelState(ctx context.Context, c splitter, table string, old int) (spec.State, error) {
	s, err := c.Split(ctx, table)
	if err != nil {
		return spec.State{}, err
	}
	if s == nil {
		a, exists, err := findApp(ctx, c, table)
		switch {
		case err != nil:
			return spec.State{}, err
		case exists && a.Partitions == old:
			return spec.State{Kind: spec.Done, Why: fmt.Sprintf("it is not being split, and has %s", commands.Plural(old, "partition"))}, nil
		}
		why := fmt.Sprintf("it is not being split, and has %s; a table cannot be halved", commands.Plural(a.Partitions, "partition"))
		return spec.State{Kind: spec.Blocked, Why: why}, nil
	}
	canceling, split := 0, s.Partitions/2-len(s.Status)
	for _, status := range s.Status {
		canceling += one(status == "CANCELING")
	}
	switch {
	case canceling > 0:
		return spec.State{Kind: spec.Done, Why: "it is being canceled already"}, nil
	case split > 0:
		return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf("it is too late: %d of %d partitions are split", split, s.Partitions/2)}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

func canceled(ctx context.Context, c splitter, table string, old int) (bool, string, error) {
	s, err := c.Split(ctx, table)
	if err != nil {
		return false, "", err
	}
	if s != nil {
		return false, statuses(s.Status), nil
	}
	a, err := c.Partitions(ctx, table)
	if err != nil {
		return false, "", err
	}
	stand := "it has " + commands.Plural(len(a.Partitions), "partition")
	if len(a.Partitions) != old {
		return false, stand, spec.Errorf(spec.Failed, "the split of %s was not canceled: %s", table, stand)
	}
	return true, stand, nil
}

package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// Doctor answers whether a cluster is well, and what may still fail.
func Doctor(env Env) spec.Command {
	return spec.Command{
		Name:    "doctor",
		Topic:   "cluster",
		Summary: "say whether the cluster is well, why not, what helps, and what may still fail",
		Long: "Looks at nodes, replicas and settings and gives one verdict with its reasons, each with the command that " +
			"would help. Then it says which nodes could fail, singly or together, before partitions stop taking writes, and " +
			"where the store's rules are known, what would happen then. With --if-down it answers as if these nodes were down, before one takes them down. Exit 0 when well, 7 when not.",
		Flags: []spec.Flag{
			{Name: "if-down", Kind: spec.ArgEndpoint, Repeated: true, Help: "as if these nodes were down: host:port or the end of it (.32), several joined by commas"},
		},
		Examples: []spec.Example{
			{Line: "doctor", Says: "the verdict, and what may still fail"},
			{Line: "wait --within 30s --until 'verdict.healthy' doctor", Says: "until the cluster is well"},
		},
		SeeAlso: []string{"showtable", "showtablet", "holds"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return doctor(ctx, env, call)
		},
	}
}

// examination is what a doctor's visit gathers.
type examination struct {
	nodes, alive int
	blind        bool // the cluster does not say what it holds
	ifDown       []string
	silent       []string // nodes that the metadata server takes for alive, and that do not answer
	risk         cluster.Risk
	prospects    []cluster.Prospect
	findings     []cluster.Finding
	tables       []*tableHealth
}

// tableHealth names the partitions of a table that are unwell, by number.
type tableHealth struct {
	name                           string
	partitions                     int
	noLeader, noWrites, fewReplica []int
}

func doctor(ctx context.Context, env Env, call *spec.Call) (*spec.Table, error) {
	d, err := Driver[cluster.Driver](ctx, env, call)
	if err != nil {
		return nil, err
	}
	x := &examination{}
	for _, list := range call.Strings("if-down") {
		x.ifDown = append(x.ifDown, strings.Split(list, ",")...)
	}
	if err := x.examine(ctx, env, d, call.Cluster); err != nil {
		return nil, err
	}
	return x.report()
}

func (x *examination) examine(ctx context.Context, env Env, d cluster.Driver, name string) error {
	if err := x.lookAtNodes(ctx, d); err != nil {
		return x.whyBlind(ctx, d, err)
	}
	e, examines := d.(cluster.Examiner)
	var own []cluster.Finding
	if examines {
		var err error
		if own, err = e.Examine(ctx); err != nil {
			return err
		}
		x.noteSilent(own)
	}
	if err := x.lookAtPartitions(ctx, d); err != nil {
		return err
	}
	if examines {
		x.findings = append(x.findings, own...)
		for i, f := range x.findings {
			if f.Help == "" {
				x.findings[i].Help = e.Remedy(f)
			}
		}
	}
	if f, ok := d.(cluster.Forecaster); ok {
		var err error
		if x.prospects, err = f.Forecast(ctx, x.ifDown); err != nil {
			return err
		}
	}
	held, err := env.Holds(name)
	if err != nil {
		return err
	}
	for _, h := range held {
		x.findings = append(x.findings, heldFinding(h))
	}
	return nil
}

// noteSilent counts nodes that do not answer as down: what they hold serves nobody, whatever the metadata server still
// believes.
func (x *examination) noteSilent(own []cluster.Finding) {
	for _, f := range own {
		if f.Kind == cluster.NodeSilent && !slices.Contains(x.silent, f.Object) {
			x.silent = append(x.silent, f.Object)
			if !slices.Contains(x.ifDown, f.Object) {
				x.alive--
			}
		}
	}
}

func heldFinding(h Held) cluster.Finding {
	f := cluster.Finding{Kind: cluster.HeldSetting, Object: h.Setting, Help: "holds restore"}
	switch {
	case h.Active:
		f.What, f.Help = fmt.Sprintf("a plan that is running holds it at %s; it was %s", h.During, h.Was), "holds"
	case h.Kept:
		f.What = fmt.Sprintf("it is kept at %s on purpose; it was %s", h.During, h.Was)
	default:
		f.What, f.Bad = fmt.Sprintf("a killed shell left it at %s; it was %s", h.During, h.Was), true
	}
	return f
}

// whyBlind lets the store explain why its metadata server answers, but not which nodes there are.
func (x *examination) whyBlind(ctx context.Context, d cluster.Driver, err error) error {
	var refused *spec.Error
	e, ok := d.(cluster.Examiner)
	if !ok || !errors.As(err, &refused) || refused.Code == "" {
		return err
	}
	own, xerr := e.Examine(ctx)
	if xerr != nil || len(own) == 0 {
		return err
	}
	x.blind, x.findings = true, own
	return nil
}

func (x *examination) lookAtNodes(ctx context.Context, d cluster.Driver) error {
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return err
	}
	x.nodes = len(nodes)
	known := make([]string, len(nodes))
	for i, n := range nodes {
		known[i] = n.Endpoint
	}
	for i, e := range x.ifDown {
		if x.ifDown[i], err = cluster.FindEndpoint(e, known); err != nil {
			return &spec.Error{Kind: spec.KindOf(err), Op: "--if-down", Err: err}
		}
	}
	for _, n := range nodes {
		if n.Alive && !slices.Contains(x.ifDown, n.Endpoint) {
			x.alive++
		}
		if !n.Alive {
			x.findings = append(x.findings, cluster.Finding{
				Kind: cluster.NodeDown, Object: n.Endpoint, What: "the node is down (" + n.State + ")", Bad: true,
			})
		}
	}
	return nil
}

func (x *examination) lookAtPartitions(ctx context.Context, d cluster.Driver) error {
	down := func(e string) bool { return slices.Contains(x.ifDown, e) || slices.Contains(x.silent, e) }
	var t *tableHealth
	for c, err := range cluster.Group(cluster.Placement(ctx, d, ""), down) {
		if err != nil {
			return err
		}
		if t == nil || t.name != c.Table {
			t = &tableHealth{name: c.Table}
			x.tables = append(x.tables, t)
		}
		t.partitions++
		x.risk.Add(c)
		// A leader that would be down is replaced by a live copy; none is there to replace one that is missing.
		if c.Leader == "" && (len(x.ifDown) == 0 || len(c.Live) == 0) {
			t.noLeader = append(t.noLeader, c.Partition)
		}
		if len(c.Live) < c.Needed {
			t.noWrites = append(t.noWrites, c.Partition)
		}
		if len(c.Live) < c.Wanted {
			t.fewReplica = append(t.fewReplica, c.Partition)
		}
	}
	x.risk.Finish()
	for _, t := range x.tables {
		x.find(t, cluster.NoLeader, t.noLeader, "no leader: neither reads nor writes")
		x.find(t, cluster.NoWrites, t.noWrites, "too few live replicas to take writes")
		x.find(t, cluster.FewReplicas, t.fewReplica, "fewer live replicas than wanted")
	}
	return nil
}

// find adds a finding on a table for the partitions that share a fault.
func (x *examination) find(t *tableHealth, kind cluster.FindingKind, partitions []int, what string) {
	if len(partitions) == 0 {
		return
	}
	x.findings = append(x.findings, cluster.Finding{
		Kind: kind, Object: t.name, Bad: true,
		What: fmt.Sprintf("%d of %d partitions: %s (%s)", len(partitions), t.partitions, what, numbers(partitions)),
	})
}

// numbers lists a few of many.
func numbers(all []int) string {
	const shown = 8
	var parts []string
	for _, n := range all[:min(len(all), shown)] {
		parts = append(parts, fmt.Sprint(n))
	}
	text := strings.Join(parts, ", ")
	if len(all) > shown {
		text += fmt.Sprintf(" and %d more", len(all)-shown)
	}
	return text
}

func (x *examination) report() (*spec.Table, error) {
	healthy := !slices.ContainsFunc(x.findings, func(f cluster.Finding) bool { return f.Bad })
	verdict := spec.Record(
		[]spec.Column{
			{Name: "healthy", Kind: spec.Bool},
			{Name: "nodes", Kind: spec.Int},
			{Name: "alive", Kind: spec.Int},
			{Name: "tables", Kind: spec.Int},
			{Name: "partitions", Kind: spec.Int},
			{Name: "may_fail"},
		},
		healthy, x.nodes, x.alive, len(x.tables), x.risk.Partitions, x.mayFail())
	verdict.Section = "verdict"
	var found []spec.Row
	for _, f := range x.findings {
		found = append(found, spec.Row{string(f.Kind), f.Object, f.What, f.Bad, Word(f.Help)})
	}
	columns := spec.Columns("finding", "object", "what", "bad", "help")
	columns[3].Kind = spec.Bool
	if len(found) > 0 {
		verdict.More = append(verdict.More, &spec.Table{Section: "findings", Columns: columns, Rows: spec.RowsOf(found...)})
	}
	if t := x.lossTable(); t != nil {
		verdict.More = append(verdict.More, t)
	}
	if t := x.outlook(); t != nil {
		verdict.More = append(verdict.More, t)
	}
	if healthy {
		return verdict, nil
	}
	what := "the cluster is not well"
	if len(x.ifDown) > 0 {
		what = "with " + strings.Join(x.ifDown, ", ") + " down the cluster would not be well"
	}
	noun := "findings"
	if len(x.findings) == 1 {
		noun = "finding"
	}
	return verdict, spec.Errorf(spec.AnsweredNo, "%s: %d %s", what, len(x.findings), noun)
}

// mayFail says in words how many nodes may fail.
func (x *examination) mayFail() string {
	switch {
	case x.blind:
		return "nobody knows: the cluster does not say what it holds"
	case x.risk.Partitions == 0:
		return "there are no partitions to lose"
	case x.risk.Survives < 0:
		return "nothing: some partitions do not take writes now"
	case x.risk.Survives == 0:
		return "nothing: each node listed below is needed"
	}
	return fmt.Sprintf("any %d of %d nodes", x.risk.Survives, x.alive)
}

// outlook is what the store says would happen.
func (x *examination) outlook() *spec.Table {
	if len(x.prospects) == 0 {
		return nil
	}
	var rows []spec.Row
	for _, p := range x.prospects {
		rows = append(rows, spec.Row{p.If, p.Then})
	}
	return &spec.Table{Section: "outlook", Columns: spec.Columns("if", "then"), Rows: spec.RowsOf(rows...)}
}

func (x *examination) lossTable() *spec.Table {
	if len(x.risk.Losses) == 0 {
		return nil
	}
	var rows []spec.Row
	for _, l := range x.risk.Losses {
		means := "they stop taking writes"
		if l.Gone {
			means = "some have no live copy left"
		}
		names := strings.Join(l.Partitions, ", ")
		if more := l.Count - len(l.Partitions); more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		rows = append(rows, spec.Row{l.Nodes, l.Count, names, means})
	}
	t := &spec.Table{
		Section: "must_not_fail_together",
		Columns: []spec.Column{
			{Name: "nodes", Kind: spec.List}, {Name: "partitions", Kind: spec.Int}, {Name: "which"}, {Name: "means"},
		},
		Rows: spec.RowsOf(rows...),
	}
	if more := x.risk.Sets - len(x.risk.Losses); more > 0 {
		t.Notes = func() []string { return []string{fmt.Sprintf("%d more sets of nodes are not listed", more)} }
	}
	return t
}

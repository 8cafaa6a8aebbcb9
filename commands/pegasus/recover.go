package pegasus

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// rescuer is what recovering lost metadata asks of a cluster.
type rescuer interface {
	admin
	UnderRecovery(ctx context.Context) (bool, error)
	StartRecovery(ctx context.Context, r driver.Recovery) (hints []string, err error)
	TablesOn(ctx context.Context, endpoint string) ([]driver.App, error)
	HeldReplicas(ctx context.Context, endpoint string) ([]driver.HeldReplica, error)
	SeenNodes() []string
}

var _ rescuer = (*driver.Driver)(nil)

// Recover has a meta server rebuild lost metadata.
func Recover(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "recover",
		Systems: systems,
		Topic:   "failover",
		Summary: "rebuild the metadata from the replica servers, after the meta servers have lost it",
		Long: "For a cluster whose ZooKeeper content is gone and whose meta servers were started with recover_from_replica_server: they " +
			"answer ERR_UNDER_RECOVERY until they are told from which replica servers to take tables and partitions. Name all of them: " +
			"what only a missing one has is lost. Each is asked beforehand what it holds. Without -f and -s it is those that this shell " +
			"saw before. Any other cluster refuses it.",
		Flags: []spec.Flag{
			{Name: "node_list_file", Short: "f", Kind: spec.ArgFile, Help: "the replica servers, one host:port a line; # and ; begin comments"},
			{Name: "node_list_str", Short: "s", Kind: spec.ArgEndpoint, Repeated: true, Help: "the replica servers, host:port joined by commas"},
			{Name: "wait_seconds", Short: "w", Kind: spec.ArgDuration, Default: "100", Help: "how long the meta server may take"},
			{Name: "skip_bad_nodes", Short: "b", Kind: spec.ArgBool, Help: "go on without servers that do not answer"},
			{Name: "skip_lost_partitions", Short: "l", Kind: spec.ArgBool, Help: "let partitions that no server has begin empty"},
		},
		Examples: []spec.Example{
			{
				Line: "recover -s .31,.32,.33 --yes=onebox", Says: "from all three; seen nodes can be named by the end of their address",
				Setup: []string{"nodes", "sandbox lose .1:34601 --yes=.1:34601"},
			},
			{
				Line: "recover --plan", Says: "what the nodes seen before hold, and what would be missing",
				Setup: []string{"nodes", "sandbox lose .1:34601 --yes=.1:34601"},
			},
		},
		SeeAlso: []string{"doctor", "ddd_diagnose", "nodes"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return recovery(ctx, env, call)
		},
	}
}

// rescue is one recovery: who is asked, and what each has.
type rescue struct {
	c     rescuer
	what  driver.Recovery
	limit time.Duration
	rows  []spec.Row // what was rebuilt, once it is there
	hints []string
}

func recovery(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	texts, err := nodeList(call)
	if err != nil {
		return nil, err
	}
	limit := call.Duration("wait_seconds")
	if limit <= 0 {
		return nil, spec.Errorf(spec.Usage, "%s is no time to wait", limit)
	}
	c, err := commands.Driver[rescuer](ctx, env, call)
	if err != nil {
		return nil, err
	}
	under, err := c.UnderRecovery(ctx)
	if err != nil {
		return nil, err
	}
	if !under {
		return nil, spec.Errorf(spec.Refused, "the meta server of %s has its metadata: there is nothing to recover", call.Cluster).
			WithHint("ddd_diagnose lists partitions that lost their replicas, doctor says what else is wrong")
	}
	nodes, err := rescueNodes(texts, c.SeenNodes())
	if err != nil {
		return nil, err
	}
	r := &rescue{c: c, limit: limit, what: driver.Recovery{
		Nodes: nodes, SkipBadNodes: call.Bool("skip_bad_nodes") || call.Force, SkipLostPartitions: call.Bool("skip_lost_partitions") || call.Force,
	}}
	return r.plan(ctx, call), nil
}

// maxNodeList bounds the file of -f.
const maxNodeList = 1 << 20

// nodeList reads -s or the lines of -f.
func nodeList(call *spec.Call) ([]string, error) {
	file := call.String("node_list_file")
	if file != "" && call.Has("node_list_str") {
		return nil, spec.Errorf(spec.Usage, "-f and -s exclude each other")
	}
	texts := strings.FieldsFunc(strings.Join(call.Strings("node_list_str"), ","), func(r rune) bool { return r == ',' || r == ' ' })
	if file == "" {
		if len(texts) == 0 && call.Has("node_list_str") {
			return nil, spec.Errorf(spec.Usage, "-s names no server")
		}
		return texts, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, spec.Errorf(spec.Usage, "-f: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxNodeList))
	if err != nil {
		return nil, spec.Errorf(spec.Usage, "-f: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line[0] != ';' {
			texts = append(texts, line)
		}
	}
	if len(texts) == 0 {
		return nil, spec.Errorf(spec.Usage, "%s names no server", file)
	}
	return texts, nil
}

// rescueNodes finds the servers meant: endpoints, or ends of those that were seen; all that were seen when none is named.
func rescueNodes(texts, seen []string) ([]string, error) {
	if len(texts) == 0 && len(seen) == 0 {
		return nil, spec.Errorf(spec.Usage, "this shell has not seen the replica servers before").
			WithHint("name all of them: -s host:port,host:port or -f FILE")
	}
	if len(texts) == 0 {
		return seen, nil
	}
	var nodes []string
	for _, text := range texts {
		node := text
		if strings.HasPrefix(text, ".") || strings.HasPrefix(text, ":") {
			var err error
			if node, err = cluster.FindEndpoint(text, seen); err != nil {
				return nil, spec.Errorf(spec.Usage, "%s is the end of no server's address that this shell has seen", quote(text)).WithHint("write host:port")
			}
		} else if _, err := endpoints(text); err != nil {
			return nil, err
		}
		if !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	return nodes, nil
}

// holding is what a replica server says it has.
type holding struct {
	tables   []driver.App
	replicas []driver.HeldReplica
	err      error
}

func (r *rescue) ask(ctx context.Context) []holding {
	all := make([]holding, len(r.what.Nodes))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, node := range r.what.Nodes {
		group.Go(func() error {
			h := &all[i]
			if h.tables, h.err = r.c.TablesOn(ctx, node); h.err == nil {
				h.replicas, h.err = r.c.HeldReplicas(ctx, node)
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in the answers
	return all
}

func (r *rescue) plan(ctx context.Context, call *spec.Call) *spec.Plan {
	plan := &spec.Plan{
		Title: fmt.Sprintf("rebuild the metadata of %s from %s", call.Cluster, commands.Plural(len(r.what.Nodes), "replica server")),
		Name:  call.Cluster,
	}
	all := r.ask(ctx)
	for i, node := range r.what.Nodes {
		h := all[i]
		switch {
		case h.err == nil:
			plan.Notes = append(plan.Notes, fmt.Sprintf("%s holds %s of %s", node, commands.Plural(len(h.replicas), "replica"), commands.Plural(len(h.tables), "table")))
		case r.what.SkipBadNodes:
			plan.Notes = append(plan.Notes, fmt.Sprintf("%s is left out: %v", node, h.err))
		}
		if h.err != nil && !call.Bool("skip_bad_nodes") {
			plan.Blockers = append(plan.Blockers, spec.Blocker{Object: node, Why: fmt.Sprintf("it does not say what it holds, which would be lost (-b goes on without it): %v", h.err)})
		}
	}
	for _, node := range r.c.SeenNodes() {
		if !slices.Contains(r.what.Nodes, node) {
			plan.Notes = append(plan.Notes, node+" is not named, though it was a node of this cluster")
		}
	}
	r.judge(plan, all, call.Bool("skip_lost_partitions"))
	plan.Notes = append(plan.Notes, "rows that only a server has that is not named are lost; recovered partitions serve once their primaries are chosen")
	plan.Steps = []spec.Step{{
		Text: "have the meta server rebuild tables and partitions from them", Objects: r.what.Nodes, Class: spec.Destroy,
		Check: r.check, Apply: r.apply,
	}}
	if call.Wait >= 0 {
		plan.Steps = append(plan.Steps, waiting{
			text: "wait until every partition has a primary", objects: []string{call.Cluster}, limit: cmp.Or(call.Wait, r.limit), look: r.look,
			hint: "ddd_diagnose lists the partitions that wait for a server",
		}.step())
		plan.Answers = r.answer
	}
	return plan
}

// judge says which tables would be there, and what would be lost of them.
func (r *rescue) judge(plan *spec.Plan, all []holding, skipLost bool) {
	tables, have := map[int32]driver.App{}, map[int32]map[int]bool{}
	for _, h := range all {
		for _, a := range h.tables {
			if old, known := tables[a.ID]; !known || old.Status != "DROPPED" {
				tables[a.ID] = a
			}
		}
		for _, held := range h.replicas {
			if have[held.AppID] == nil {
				have[held.AppID] = map[int]bool{}
			}
			have[held.AppID][held.Partition] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(tables)) {
		a := tables[id]
		if a.Status == "DROPPED" {
			plan.Notes = append(plan.Notes, fmt.Sprintf("table %s (id %d) was dropped", a.Name, id))
			continue
		}
		var lost []int
		for i := range a.Partitions {
			if !have[id][i] {
				lost = append(lost, i)
			}
		}
		plan.Notes = append(plan.Notes, fmt.Sprintf("table %s (id %d), %s", a.Name, id, shape(a.Partitions, a.Replicas)))
		if len(lost) == 0 {
			continue
		}
		if skipLost {
			plan.Notes = append(plan.Notes, fmt.Sprintf("of %s these partitions begin empty: %s", a.Name, few(lost)))
			continue
		}
		plan.Blockers = append(plan.Blockers, spec.Blocker{
			Object: a.Name, Why: fmt.Sprintf("no server has these of its partitions: %s (-l lets them begin empty)", few(lost)),
		})
	}
}

// few lists some of many numbers.
func few(all []int) string {
	const most = 8
	var parts []string
	for _, n := range all[:min(len(all), most)] {
		parts = append(parts, fmt.Sprint(n))
	}
	text := strings.Join(parts, ", ")
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (r *rescue) check(ctx context.Context) (spec.State, error) {
	under, err := r.c.UnderRecovery(ctx)
	if err != nil || under {
		return spec.State{}, err
	}
	return spec.State{Kind: spec.Done, Why: "the meta server has its metadata"}, nil
}

func (r *rescue) apply(ctx context.Context, report spec.Report) error {
	hints, err := r.c.StartRecovery(cluster.WithCallTimeout(ctx, r.limit), r.what)
	if err == nil {
		r.hints = hints
		report.Detail("%s", cmp.Or(strings.Join(hints, "; "), "nothing is missing"))
	}
	return err
}

// look waits for primaries, and gathers what there is.
func (r *rescue) look(ctx context.Context) (bool, string, error) {
	apps, err := r.c.Apps(ctx, "all")
	if err != nil {
		return false, "", err
	}
	r.rows = nil
	without, total := 0, 0
	for _, a := range apps {
		row := spec.Row{int64(a.ID), a.Name, a.Status, a.Partitions, a.Replicas, nil}
		if a.Status == "AVAILABLE" {
			parts, err := r.c.Partitions(ctx, a.Name)
			if err != nil {
				return false, "", err
			}
			led := 0
			for _, p := range parts.Partitions {
				led += one(p.Primary != "")
			}
			row[5] = led
			total, without = total+len(parts.Partitions), without+len(parts.Partitions)-led
		}
		r.rows = append(r.rows, row)
	}
	return without == 0, fmt.Sprintf("%d of %s have one", total-without, commands.Plural(total, "partition")), nil
}

// answer lists what was rebuilt.
func (r *rescue) answer() *spec.Table {
	return &spec.Table{
		Columns: []spec.Column{
			{Name: "app_id", Kind: spec.Int},
			{Name: "app_name"},
			{Name: "status"},
			{Name: "partition_count", Kind: spec.Int},
			{Name: "replica_count", Kind: spec.Int},
			{Name: "with_primary", Kind: spec.Int},
		},
		Rows: spec.RowsOf(r.rows...),
		Notes: func() []string {
			return append(slices.Clone(r.hints), commands.Plural(len(r.rows), "table")+" rebuilt")
		},
	}
}

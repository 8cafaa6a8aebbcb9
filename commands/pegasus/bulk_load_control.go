package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// loadBegun has a bulk load at hand that stands still while it downloads.
func loadBegun(more ...string) []string {
	return append([]string{
		"fs put backup disk:/backup", "create TableB -p 4", "split_backup disk:/backup disk:/split --table TableB --partitions 4",
		"sandbox break bulk.download 1000000", "start_bulk_load -a TableB -p disk -r /split --no-wait",
	}, more...)
}

// PauseBulkLoad holds a bulk load up.
func PauseBulkLoad(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "pause_bulk_load",
		Systems: systems,
		Topic:   "storage",
		Summary: "pause the bulk load of a table while it downloads",
		Long: "Has every replica stop downloading, and waits until all have. Servers pause a bulk load only while it downloads (BLS_DOWNLOADING): once it ingests it goes on to its end. " +
			"What was downloaded in part is fetched again by restart_bulk_load. A job that follows the bulk load waits meanwhile.",
		Flags:    []spec.Flag{loadTable},
		Examples: []spec.Example{{Line: "pause_bulk_load -a TableB", Says: "and wait until it is", Setup: loadBegun()}},
		SeeAlso:  []string{"restart_bulk_load", "cancel_bulk_load", "query_bulk_load_status"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return controlBulk(ctx, env, call, bulkControl{
				how: driver.PauseBulkLoad, from: []string{"BLS_DOWNLOADING"}, done: []string{"BLS_PAUSING", "BLS_PAUSED"}, to: "BLS_PAUSED",
				undo: "restart_bulk_load", rule: "servers pause a bulk load only while it downloads",
			})
		},
	}
}

// RestartBulkLoad goes on with a bulk load that was paused.
func RestartBulkLoad(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "restart_bulk_load",
		Systems: systems,
		Topic:   "storage",
		Summary: "go on with a bulk load that was paused",
		Long: "Has every replica download again, and answers once that has begun: query_bulk_load_status shows how far it is, and a job that followed it does so still. " +
			"A bulk load that failed or was cancelled is none that was paused: start_bulk_load begins it anew.",
		Flags:    []spec.Flag{loadTable},
		Examples: []spec.Example{{Line: "restart_bulk_load -a TableB", Says: "it downloads again", Setup: loadBegun("pause_bulk_load -a TableB")}},
		SeeAlso:  []string{"pause_bulk_load", "query_bulk_load_status"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return controlBulk(ctx, env, call, bulkControl{
				how: driver.RestartBulkLoad, from: []string{"BLS_PAUSED"}, done: []string{"BLS_DOWNLOADING", "BLS_DOWNLOADED", "BLS_INGESTING", "BLS_SUCCEED"},
				undo: "pause_bulk_load", rule: "servers restart only what is paused",
			})
		},
	}
}

// CancelBulkLoad ends a bulk load.
func CancelBulkLoad(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "cancel_bulk_load",
		Systems: systems,
		Topic:   "storage",
		Summary: "end the bulk load of a table",
		Long: "Has every replica throw away what it downloaded, and waits until all have. Servers cancel a bulk load only while it downloads or is paused. With -f they end it in any state: " +
			"partitions that have ingested keep what was loaded, others have none or part of it. Loading the same files again makes the table whole. " +
			"The files on the block service stay, as do the settings that start_bulk_load --no-wait has left: holds restore puts them back.",
		Flags: []spec.Flag{
			loadTable,
			{Name: "forced", Short: "f", Kind: spec.ArgBool, Help: "in any state, even if the table is left loaded in part"},
		},
		Examples: []spec.Example{
			{Line: "cancel_bulk_load -a TableB", Says: "nothing was loaded", Setup: loadBegun()},
			{Line: "cancel_bulk_load -a TableB -f --plan", Says: "what would be done", Setup: loadBegun()},
		},
		SeeAlso: []string{"start_bulk_load", "pause_bulk_load", "query_bulk_load_status"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			k := bulkControl{
				how: driver.CancelBulkLoad, from: []string{"BLS_DOWNLOADING", "BLS_PAUSED"}, done: []string{"BLS_CANCELED"}, to: "BLS_CANCELED", over: true,
				rule: "servers cancel a bulk load only while it downloads or is paused; -f ends it in any state",
			}
			if call.Bool("forced") {
				k.how, k.from, k.forced = driver.ForceCancelBulkLoad, nil, true
			}
			return controlBulk(ctx, env, call, k)
		},
	}
}

// bulkControl is one way to control a bulk load.
type bulkControl struct {
	how    string
	from   []string // the states in which servers do it; nil for any
	done   []string // those in which nothing is left to do
	to     string   // what is waited for; "" for nothing
	over   bool     // until the bulk load is over, too
	forced bool
	undo   string // the word, "" for none
	rule   string
}

func controlBulk(ctx context.Context, env commands.Env, call *spec.Call, k bulkControl) (*spec.Plan, error) {
	c, app, err := openBulk(ctx, env, call)
	if err != nil {
		return nil, err
	}
	verb := strings.ReplaceAll(strings.TrimPrefix(k.how, "force_"), "_", " ")
	st := spec.Step{
		Text: fmt.Sprintf("%s the bulk load of %s", verb, app.Name), Objects: []string{app.Name}, Class: spec.Alter,
		Check: func(ctx context.Context) (spec.State, error) { return k.check(ctx, c, app.Name) },
		Apply: func(ctx context.Context, _ spec.Report) error { return c.ControlBulkLoad(ctx, app.Name, k.how) },
	}
	if k.undo != "" {
		st.Undo = k.undo + " -a " + app.Name
	}
	plan := &spec.Plan{Title: fmt.Sprintf("%s the bulk load of %s on %s", verb, app.Name, call.Cluster)}
	if k.over {
		plan.Notes = []string{fmt.Sprintf("it cannot be taken up again: start_bulk_load -a %s begins anew", app.Name)}
	}
	if k.forced {
		now, err := c.BulkLoad(ctx, app.Name)
		if err != nil {
			return nil, err
		}
		st.Text = fmt.Sprintf("cancel the bulk load of %s whatever its state", app.Name)
		if now.Loading && !slices.Contains([]string{"BLS_DOWNLOADING", "BLS_PAUSING", "BLS_PAUSED"}, now.Status) {
			st.Class = spec.Risky
			plan.Notes = append(plan.Notes, fmt.Sprintf("it is %s: some partitions may be left with what was loaded, others without", now.Status))
		}
	}
	plan.Steps = []spec.Step{st}
	if call.Wait >= 0 && k.to != "" {
		plan.Steps = append(plan.Steps, waiting{
			text: "wait until it is " + statusWord(k.to), objects: []string{app.Name}, limit: call.Wait,
			look: func(ctx context.Context) (bool, string, error) { return k.look(ctx, c, app.Name) },
			hint: fmt.Sprintf("query_bulk_load_status -a %s -d shows where it stands", app.Name),
		}.step())
	}
	return plan, nil
}

func (k bulkControl) check(ctx context.Context, c bulkLoader, table string) (spec.State, error) {
	now, err := c.BulkLoad(ctx, table)
	switch {
	case err != nil:
		return spec.State{}, err
	case slices.Contains(k.done, now.Status) && (now.Loading || k.over):
		return spec.State{Kind: spec.Done, Why: "it is " + now.Status}, nil
	case !now.Loading:
		return spec.State{Kind: spec.Blocked, Why: table + " is not being bulk loaded"}, nil
	case k.from != nil && !slices.Contains(k.from, now.Status):
		return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf("it is %s: %s", now.Status, k.rule)}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

// look waits until the bulk load is where it was to be. It may have come to its end before.
func (k bulkControl) look(ctx context.Context, c bulkLoader, table string) (bool, string, error) {
	now, err := c.BulkLoad(ctx, table)
	if err != nil {
		return false, "", err
	}
	stand := now.Status
	switch {
	case now.Status == k.to:
		return now.Loading != k.over, stand, nil
	case !now.Loading:
		return true, stand, spec.Errorf(spec.Failed, "the bulk load of %s is over: %s", table, now.Status)
	}
	return false, stand, nil
}

// statusWord is a status in a word.
func statusWord(status string) string {
	if status == "BLS_CANCELED" {
		return "cancelled"
	}
	return strings.ToLower(strings.TrimPrefix(status, "BLS_"))
}

// ClearBulkLoad has the servers forget.
func ClearBulkLoad(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "clear_bulk_load",
		Systems: systems,
		Topic:   "storage",
		Summary: "have the meta server forget how the last bulk load of a table ended",
		Long: "What query_bulk_load_status shows of a bulk load that is over is forgotten; rows and files stay. Servers refuse it while a bulk load runs. " +
			"start_bulk_load does so by itself before it starts.",
		Flags:    []spec.Flag{loadTable},
		Examples: []spec.Example{{Line: "clear_bulk_load -a TableB", Says: "nothing is known of it any more", Setup: loadBegun("cancel_bulk_load -a TableB")}},
		SeeAlso:  []string{"query_bulk_load_status", "start_bulk_load"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			c, app, err := openBulk(ctx, env, call)
			if err != nil {
				return nil, err
			}
			text := "forget how the last bulk load of " + app.Name + " ended"
			return &spec.Plan{
				Title: text + " on " + call.Cluster,
				Steps: []spec.Step{{
					Text: text, Objects: []string{app.Name}, Class: spec.Alter,
					Check: func(ctx context.Context) (spec.State, error) {
						now, err := c.BulkLoad(ctx, app.Name)
						switch {
						case err != nil:
							return spec.State{}, err
						case now.Loading:
							return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf("it is being bulk loaded (%s): cancel_bulk_load -a %s ends that", now.Status, app.Name)}, nil
						case now.Status == bulkNone:
							return spec.State{Kind: spec.Done, Why: "nothing is known of one"}, nil
						}
						return spec.State{Kind: spec.Todo}, nil
					},
					Apply: func(ctx context.Context, _ spec.Report) error { return c.ClearBulkLoad(ctx, app.Name) },
				}},
			}, nil
		},
	}
}

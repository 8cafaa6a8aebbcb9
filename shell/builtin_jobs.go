package shell

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/shell/render"
)

// recentJobs is how many of those that have ended are listed unasked.
const recentJobs = 10

var jobColumns = []spec.Column{
	{Name: "id"},
	{Name: "command"},
	{Name: "state"},
	{Name: "progress", Kind: spec.Float, Unit: "%"},
	{Name: "done", Kind: spec.Int},
	{Name: "unit"},
	{Name: "rate", Kind: spec.Float, Unit: "/s"},
	{Name: "bytes_rate", Kind: spec.Float, Unit: "B/s"},
	{Name: "left", Kind: spec.Duration},
	{Name: "started", Kind: spec.Time},
	{Name: "host"},
}

func jobsWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "jobs", Topic: "shell", Offline: true,
		Summary: "list the jobs of this state directory: what moves bytes for long",
		Long: "A command that moves bytes for long is a job: it can be watched, slowed down and cancelled from any shell with the same " +
			"state directory, and goes on where it was after an interruption. Lists what runs and what ended lately.",
		Flags:    []spec.Flag{{Name: "all", Short: "a", Kind: spec.ArgBool, Help: "those that ended long ago, too"}},
		Examples: []spec.Example{{Line: "jobs", Says: "what runs, and what ended lately"}, {Line: "jobs --all", Says: "every job there is"}},
		SeeAlso:  []string{"job show", "job resume"},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			all, broken := s.jobs.list()
			for _, err := range broken {
				fmt.Fprintf(s.stderr, "warning: %s\n", render.Escape(err.Error()))
			}
			if !call.Bool("all") {
				ended := len(slices.DeleteFunc(slices.Clone(all), func(f foundJob) bool { return f.alive }))
				all = slices.DeleteFunc(all, func(f foundJob) bool {
					if f.alive {
						return false
					}
					ended--
					return ended >= recentJobs
				})
			}
			var rows []spec.Row
			for _, f := range all {
				rows = append(rows, f.row())
			}
			return &spec.Table{Columns: jobColumns, Rows: spec.RowsOf(rows...), Lines: true}, nil
		},
	}
}

// row is a job in the columns of jobColumns.
func (f *foundJob) row() spec.Row {
	st := f.status
	var part, rate, bytes, rest any
	if v, known := f.share(); known {
		part = 100 * v
	}
	if f.alive {
		rate, bytes = st.Now.Rows, st.Now.Bytes
		if d, known := remaining(st.Figures, st.Now); known {
			rest = d
		}
	}
	return spec.Row{
		f.id(), f.spec.Line, st.State, part, st.Figures.Done, commands.Word(st.Figures.Unit), rate, bytes, rest, f.spec.Created, st.Host,
	}
}

// share is how much of the job is done; all of it when it is over, whether or not anybody knew how much that would be.
func (f *foundJob) share() (float64, bool) {
	if f.status.State == jobDone {
		return 1, true
	}
	return share(f.status.Figures)
}

func jobArg() spec.Arg {
	return spec.Arg{Name: "id", Kind: spec.ArgJob, Help: "as jobs lists it"}
}

func jobShowWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "job show", Topic: "shell", Offline: true,
		Summary: "show all there is to know about a job",
		Long:    "Shows what was asked for, how far it has come and how fast, what it counted, what keeps it back, and how it goes on.",
		Args:    []spec.Arg{jobArg()},
		Flags: []spec.Flag{
			{Name: "follow", Short: "f", Kind: spec.ArgBool, Help: "show how it gets on until it ends; Ctrl-C ends this and not the job, + and - change its limit"},
		},
		SeeAlso: []string{"jobs", "job resume", "job rate"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			f, err := s.jobs.find(call.Arg(0))
			if err == nil && call.Bool("follow") && f.alive {
				err = s.follow(ctx, &f)
			}
			if err != nil {
				return nil, err
			}
			f.live(ctx)
			return f.record(), nil
		},
	}
}

var jobRecordColumns = []spec.Column{
	{Name: "id"},
	{Name: "command"},
	{Name: "cluster"},
	{Name: "table"},
	{Name: "plan"},
	{Name: "state"},
	{Name: "job"},
	{Name: "finished", Kind: spec.List},
	{Name: "progress", Kind: spec.Float, Unit: "%"},
	{Name: "done", Kind: spec.Int},
	{Name: "total", Kind: spec.Int},
	{Name: "unit"},
	{Name: "bytes", Kind: spec.Size},
	{Name: "parts_done", Kind: spec.Int},
	{Name: "parts", Kind: spec.Int},
	{Name: "rate", Kind: spec.Float, Unit: "/s"},
	{Name: "limit"},
	{Name: "counts", Kind: spec.Map},
	{Name: "held"},
	{Name: "detail"},
	{Name: "identity", Kind: spec.Map},
	{Name: "started", Kind: spec.Time},
	{Name: "updated", Kind: spec.Time},
	{Name: "busy", Kind: spec.Duration},
	{Name: "runs", Kind: spec.Int},
	{Name: "user"},
	{Name: "host"},
	{Name: "pid", Kind: spec.Int},
	{Name: "exit_code", Kind: spec.Int},
	{Name: "error"},
	{Name: "resume"},
}

// record is all that a job's folder tells.
func (f *foundJob) record() *spec.Table {
	sp, st := f.spec, f.status
	fig := st.Figures
	var part, rate, limit, resume any
	if v, known := f.share(); known {
		part = 100 * v
	}
	if f.alive {
		rate = st.Now.Rows
	}
	if limited := cmp.Or(f.limit, st.Rate); limited != nil {
		limit = limited.String()
	}
	if !f.alive && st.State != jobDone {
		resume = "job resume " + f.id()
	}
	counts, identity := map[string]string{}, map[string]string{}
	for _, c := range fig.Counts {
		counts[c.Name] = fmt.Sprint(c.N)
	}
	for name, id := range sp.Identities {
		for k, v := range id {
			identity[name+"."+k] = v
		}
	}
	return spec.Record(jobRecordColumns, f.id(), sp.Line, commands.Word(sp.Cluster), commands.Word(sp.Table), sp.Title, st.State, commands.Word(st.Name),
		st.Finished, part, fig.Done, fig.Total, commands.Word(fig.Unit), fig.Bytes, fig.PartsDone, fig.Parts, rate, limit, counts,
		commands.Word(fig.Held), commands.Word(st.Detail), identity, sp.Created, st.Updated, time.Duration(st.Busy*float64(time.Second)).Round(time.Millisecond),
		st.Runs, sp.User, st.Host, st.PID, st.Code, commands.Word(st.Error), resume)
}

// jobResumeName is the one word that reads and may still run in the background.
const jobResumeName = "job resume"

func jobResumeWord(s *Shell) spec.Command {
	return spec.Command{
		Name: jobResumeName, Topic: "shell", Offline: true,
		Summary: "go on with a job that was interrupted, cancelled or failed",
		Long: "Plans the recorded command again on its cluster and table and runs it from what was saved last. It is refused when source, " +
			"target or flags are not what they were, and says what differs. It need not be confirmed again unless the plan puts more at " +
			"stake. The folder of a job may have been copied from another machine.",
		Args:    []spec.Arg{jobArg()},
		SeeAlso: []string{"jobs", "job show"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			x, _ := ctx.Value(lineExtras{}).(extras)
			return s.resume(ctx, call.Arg(0), x)
		},
	}
}

func jobRemoveWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "job remove", Topic: "shell", Offline: true,
		Summary: "forget a job: it cannot be resumed any more",
		Long:    "Removes the folder of a job with its journals. What the job has moved stays where it is. A running job is refused.",
		Args:    []spec.Arg{jobArg()},
		SeeAlso: []string{"jobs"},
		Change: func(_ context.Context, call *spec.Call) (*spec.Plan, error) {
			f, err := s.jobs.find(call.Arg(0))
			if err != nil {
				return nil, err
			}
			step := spec.Step{
				Text: "remove job " + f.id(), Objects: []string{f.id()}, Class: spec.Alter,
				Apply: func(context.Context, spec.Report) error { return f.remove() },
			}
			if f.status.State != jobDone {
				step.Class = spec.Risky
			}
			return &spec.Plan{Title: "forget job " + f.id() + ": " + f.spec.Line, Name: f.id(), Steps: []spec.Step{step}}, nil
		},
	}
}

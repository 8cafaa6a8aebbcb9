package shell

import (
	"context"
	"os"
	"time"

	"shardsh/commands/spec"
)

func jobRateWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "job rate", Topic: "shell", Offline: true,
		Summary: "limit how fast a job goes, while it runs",
		Long: "The running job keeps to the new limit at once. It takes the place of the one the command was given, also when the job is resumed. " +
			"At a terminal where the job is followed, by the shell that runs it or by job show --follow, the key + does the same for a higher limit and - for a lower one: " +
			"by 50 MB/s where servers of Pegasus are held to it, to twice or half of it elsewhere. Where no limit is set, keys set none.",
		Args:    []spec.Arg{jobArg(), {Name: "rate", Kind: spec.ArgRate, Offers: []string{"none"}, Help: "50000rows/s, 20MB/s, both with a comma, or none"}},
		SeeAlso: []string{"jobs", "job show"},
		Change: func(_ context.Context, call *spec.Call) (*spec.Plan, error) {
			f, err := s.running(call.Arg(0))
			if err != nil {
				return nil, err
			}
			rate, err := spec.ParseRate(call.Arg(1))
			if err != nil {
				return nil, err
			}
			return ratePlan(steering{f.id(), f.ask}, rate), nil
		},
	}
}

func ratePlan(job steering, rate spec.Rate) *spec.Plan {
	text := "limit job " + job.id + " to " + rate.String()
	return &spec.Plan{Title: text, Name: job.id, Steps: []spec.Step{{
		Text: text, Objects: []string{job.id}, Class: spec.Alter,
		Apply: func(ctx context.Context, report spec.Report) error {
			a, err := job.ask(ctx, jobRequest{Op: "rate", Rate: &rate})
			report.Detail("it keeps to %s", a.Rate)
			return err
		},
	}}}
}

// running answers a job that runs.
func (s *Shell) running(id string) (foundJob, error) {
	f, err := s.jobs.find(id)
	if err == nil && !f.alive {
		err = spec.Errorf(spec.Refused, "job %s does not run: it is %s", id, f.status.State)
	}
	return f, err
}

func jobCancelWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "job cancel", Topic: "shell", Offline: true,
		Summary: "end a job; it can be resumed",
		Long:    "The process that runs the job saves how far it has come and ends, and this is waited for. What was moved stays moved.",
		Args:    []spec.Arg{jobArg()},
		SeeAlso: []string{"job resume", "job remove"},
		Change: func(_ context.Context, call *spec.Call) (*spec.Plan, error) {
			f, err := s.running(call.Arg(0))
			if err != nil {
				return nil, err
			}
			host, _ := os.Hostname()
			by := userName() + "@" + host
			return &spec.Plan{Title: "cancel job " + f.id() + ": " + f.spec.Line, Name: f.id(), Steps: []spec.Step{{
				Text: "cancel job " + f.id(), Objects: []string{f.id()}, Class: spec.Alter, Undo: "job resume " + f.id(),
				Apply: func(ctx context.Context, report spec.Report) error {
					if _, err := f.ask(ctx, jobRequest{Op: "cancel", By: by}); err != nil {
						return err
					}
					return f.ended(ctx, report)
				},
			}}}, nil
		},
	}
}

// ended waits until no process runs a job.
func (f *foundJob) ended(ctx context.Context, report spec.Report) error {
	for f.alive {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if err := f.read(); err != nil {
			return err
		}
	}
	report.Detail("it is %s", f.status.State)
	return nil
}

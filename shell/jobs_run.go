package shell

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"shardsh/commands/spec"
)

// jobRun is the job of a plan while this process runs it.
type jobRun struct {
	shell   *Shell
	folder  jobFolder
	held    *flock.Flock
	control *jobControl

	saving sync.Mutex // of the files; taken before mu

	mu      sync.Mutex
	cancel  context.CancelCauseFunc // of what runs
	stopped *cancelled              // somebody has cancelled it
	spec    jobSpec
	status  jobStatus
	before  float64 // seconds of earlier runs
	rate    spec.Rate
	step    spec.Rate // of keys that change it
	meter   meter
}

func hasJobs(p *spec.Plan) bool {
	return slices.ContainsFunc(p.Steps, func(st spec.Step) bool { return st.Job != nil })
}

// newJob makes the folder of a plan's jobs. From then on they can be resumed.
func (s *Shell) newJob(call *spec.Call, p *spec.Plan, how string, accepts []string) (*jobRun, error) {
	refuse := func(err error) error {
		return &spec.Error{Kind: spec.Refused, Op: "make a job of " + p.Title, Err: err, Hint: "nothing was sent"}
	}
	if call.Secret {
		return nil, refuse(errors.New("the line holds a secret, which a job must not keep"))
	}
	words, err := plainWords(call.Line)
	if err != nil {
		return nil, refuse(err)
	}
	host, _ := os.Hostname()
	r := &jobRun{shell: s, spec: jobSpec{
		Version: jobVersion, User: userName(), Host: host, PID: os.Getpid(), Program: s.version,
		Line: call.Line, Words: words, Command: call.Command.Name, Args: call.Args, Flags: call.Flags,
		Cluster: call.Cluster, Table: call.Table, Node: call.Node, Wait: call.Wait, Force: call.Force,
		Title: p.Title, Class: p.Class().String(), Answer: how, Accepts: accepts, Clusters: s.openedClusters(),
		Blocks: s.session.blockPlaces(), Identities: map[string]map[string]string{},
	}}
	r.spec.Dir, _ = os.Getwd() // without one only names from the root are found again
	names := map[string]bool{}
	for _, st := range p.Steps {
		if st.Job == nil {
			continue
		}
		if names[st.Job.Name] || !jobID.MatchString(st.Job.Name) {
			return nil, spec.Errorf(spec.Failed, "two jobs of a plan are called %q, or none can be", st.Job.Name)
		}
		names[st.Job.Name] = true
		r.spec.Identities[st.Job.Name] = st.Job.Identity
	}
	if r.folder, r.held, err = s.jobs.create(&r.spec); err != nil {
		return nil, refuse(err)
	}
	return r, nil
}

// openedClusters are where the names lead that this shell has open.
func (s *Shell) openedClusters() map[string]jobCluster {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	all := map[string]jobCluster{}
	for name, o := range s.session.open {
		c := jobCluster{System: o.target.system.Name, Address: o.target.address}
		if o.target.own {
			c.Sandbox = os.Getpid()
		}
		all[name] = c
	}
	return all
}

// blockPlaces are where the sandbox's block services are that this shell has open.
func (s *session) blockPlaces() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.places)
}

// begin records that this process runs the job.
func (r *jobRun) begin() error {
	r.before = r.status.Busy
	r.status.Background = r.shell.inBackground(r.folder.id())
	r.status.State, r.status.PID, r.status.Host = jobRunning, os.Getpid(), ""
	r.status.Host, _ = os.Hostname()
	r.status.Runs++
	r.status.Started, r.status.Error, r.status.Cancelled, r.status.Code = time.Now().UTC(), "", "", 0
	if r.status.Saves == nil {
		r.status.Saves = map[string]int64{}
	}
	if err := r.keep(true); err != nil {
		return err
	}
	var err error
	if r.control, err = r.listen(); err != nil {
		fmt.Fprintf(r.shell.stderr, "warning: job %s has no control socket, so that it cannot be slowed down or cancelled from elsewhere: %v\n",
			r.folder.id(), err)
	}
	return nil
}

// keep writes status.json. The caller holds neither saving nor mu.
func (r *jobRun) keep(durable bool) error {
	r.saving.Lock()
	defer r.saving.Unlock()
	return r.write(durable)
}

// write writes status.json. The caller holds saving, and not mu.
func (r *jobRun) write(durable bool) error {
	r.mu.Lock()
	r.status.Updated = time.Now().UTC()
	r.status.Busy = r.before + r.status.Updated.Sub(r.status.Started).Seconds()
	r.status.Now = r.meter.now(r.status.Updated)
	status := r.status
	status.Finished, status.Saves = slices.Clone(status.Finished), maps.Clone(status.Saves)
	r.mu.Unlock()
	return r.folder.put("status.json", status, durable)
}

// end records how it went, and lets go of the folder.
func (r *jobRun) end(err error) error {
	r.control.close()
	r.mu.Lock()
	r.status.State, r.status.Code = jobDone, ExitCode(err)
	if err != nil {
		r.status.Error = r.shell.secrets.hide(err.Error())
		switch {
		case errors.As(err, new(cancelled)):
			r.status.State = jobCancelled
		case spec.KindOf(err) == spec.Interrupted:
			r.status.State = jobInterrupted
		case spec.KindOf(err) != spec.AnsweredNo:
			r.status.State = jobFailed
		}
	}
	r.mu.Unlock()
	return errors.Join(r.keep(true), r.held.Unlock())
}

// cancelled is why a job ended that somebody cancelled.
type cancelled struct{ by string }

func (c cancelled) Error() string { return "cancelled by " + c.by }

// finished reports whether a job of the plan has ended in a run before this one.
func (r *jobRun) finished(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.status.Finished, name)
}

// run runs one job of the plan and answers the detail of its outcome.
func (r *jobRun) run(ctx context.Context, st spec.Step) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.turn(st.Job, cancel)
	if err := r.keep(true); err != nil {
		return "", err
	}
	err := r.attended(ctx, st)
	r.mu.Lock()
	var by cancelled
	switch {
	case err != nil && errors.As(context.Cause(ctx), &by):
		err = &spec.Error{Kind: spec.Interrupted, Op: st.Text, Err: by}
	case err == context.Canceled:
		err = &spec.Error{
			Kind: spec.Interrupted, Op: st.Text,
			Err: fmt.Errorf("stopped at %d %s", r.status.Figures.Done, cmp.Or(r.status.Figures.Unit, "rows")),
		}
	}
	if err == nil || spec.KindOf(err) == spec.AnsweredNo {
		r.status.Finished = append(r.status.Finished, st.Job.Name)
	}
	r.cancel = nil
	detail := r.summary()
	r.mu.Unlock()
	return detail, single(errors.Join(err, r.keep(true)))
}

// attended runs a job while it is shown, and keys steer it.
func (r *jobRun) attended(ctx context.Context, st spec.Step) error {
	defer r.shell.showJob(r, st.Text).end()
	defer r.shell.watchKeys(ctx, steering{r.folder.id(), func(_ context.Context, q jobRequest) (jobAnswer, error) { return r.obey(q) }})()
	return st.Job.Run(ctx, &jobWork{run: r, name: st.Job.Name})
}

// turn makes a job of the plan the one that runs.
func (r *jobRun) turn(job *spec.Job, cancel context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cancel = cancel
	if r.stopped != nil { // before the job's turn came
		cancel(*r.stopped)
	}
	r.rate, r.step = job.Rate, job.RateStep
	if r.status.Rate != nil {
		r.rate = *r.status.Rate
	}
	r.status.Name, r.status.Figures, r.status.Detail = job.Name, spec.Figures{}, ""
	r.meter = meter{started: time.Now()}
	head, _, _, err := r.folder.journal(job.Name).load()
	if err != nil {
		return // Restore tells
	}
	r.status.Saves[job.Name] = max(r.status.Saves[job.Name], head.Number) // a killed process may not have counted its last
	if head.Figures != nil {
		r.status.Figures, r.meter.from = *head.Figures, *head.Figures
	}
}

// goOn is the line that resumes the job.
func (r *jobRun) goOn() string { return "job resume " + r.folder.id() }

// jobWork implements spec.Work for one job of a plan.
type jobWork struct {
	run  *jobRun
	name string
}

// Restore implements spec.Work.
func (w *jobWork) Restore(state any) (bool, error) {
	r := w.run
	r.saving.Lock()
	defer r.saving.Unlock()
	head, body, damage, err := r.folder.journal(w.name).load()
	r.mu.Lock()
	saves := r.status.Saves[w.name]
	r.mu.Unlock()
	switch {
	case errors.Is(err, errNoJournal) && saves == 0:
		return false, nil
	case errors.Is(err, errNoJournal):
		return false, spec.Errorf(spec.Failed, "the journal %s.journal of job %s is gone; it was saved %d times", w.name, r.folder.id(), saves).
			WithHint("copy the whole folder of the job, or run the command again to begin anew")
	case err != nil:
		return false, err
	}
	if damage != nil {
		fmt.Fprintf(r.shell.stderr, "warning: job %s: %v; it goes on from what was saved before, at %s\n",
			r.folder.id(), damage, head.Saved.Format(time.RFC3339))
		// Out of the way: the next Save must not put it in the place of the good one.
		if err := os.Rename(r.folder.path(w.name+".journal"), r.folder.path(w.name+".journal.damaged")); err != nil {
			return false, err
		}
	}
	if err := json.Unmarshal(body, state); err != nil {
		return false, spec.Errorf(spec.Failed, "the journal %s.journal of job %s: %w", w.name, r.folder.id(), err)
	}
	return true, nil
}

// Save implements spec.Work.
func (w *jobWork) Save(state any) error {
	body, err := json.Marshal(state)
	if err != nil {
		return err
	}
	r := w.run
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	figures := r.status.Figures
	saves := r.status.Saves[w.name] + 1
	r.mu.Unlock()
	head := journalHead{Number: saves, Saved: time.Now().UTC(), Figures: &figures}
	if err := r.folder.journal(w.name).save(head, body); err != nil {
		return spec.Errorf(spec.Failed, "save job %s: %w", r.folder.id(), err)
	}
	r.mu.Lock()
	r.status.Saves[w.name] = saves
	r.mu.Unlock()
	return r.write(false)
}

// Rate implements spec.Work.
func (w *jobWork) Rate() spec.Rate {
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	return w.run.rate
}

// Show implements spec.Work.
func (w *jobWork) Show(f spec.Figures) {
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	f.Counts = slices.Clone(f.Counts)
	w.run.status.Figures = f
	w.run.meter.add(time.Now(), f)
}

// Progress implements spec.Report.
func (w *jobWork) Progress(done, total int64, unit string) {
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	f := &w.run.status.Figures
	f.Done, f.Total, f.Unit = done, total, unit
	w.run.meter.add(time.Now(), *f)
}

// Detail implements spec.Report.
func (w *jobWork) Detail(format string, args ...any) {
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	w.run.status.Detail = w.run.shell.secrets.hide(fmt.Sprintf(format, args...))
}

// inBackground reports whether this process was started to run a job.
func (s *Shell) inBackground(id string) bool { return s.getenv != nil && s.getenv(backgroundEnv) == id }

// sandboxes names the clusters and block services that end with a shell.
func (s *jobSpec) sandboxes() string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.Clusters)) {
		if s.Clusters[name].Sandbox != 0 {
			names = append(names, name)
		}
	}
	names = append(names, slices.Sorted(maps.Keys(s.Blocks))...)
	return strings.Join(names, ", ")
}

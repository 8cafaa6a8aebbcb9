package shell

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"shardsh/commands/spec"
	"shardsh/shell/render"
)

// Outcomes of a step, as the machine formats name them.
const (
	outcomeDone    = "done"
	outcomeAlready = "already done"
	outcomeFailed  = "failed"
	outcomeBlocked = "blocked"
	outcomeUnknown = "unknown"
	outcomeStopped = "interrupted"
	outcomeNotRun  = "not run"
)

// readBack bounds reading the state back after an unknown outcome.
const readBack = 10 * time.Second

var outcomeColumns = spec.Columns("step", "object", "outcome", "detail")

// run-time state of one plan
type planRun struct {
	shell   *Shell
	call    *spec.Call
	plan    *spec.Plan
	extras  extras
	rows    []spec.Row
	changed int // steps that took effect
	done    doneChange
	audit   *auditEntry
	job     *jobRun  // nil for a plan without jobs
	accepts []string // what blocked it and was accepted
}

// planTable shows the steps of a plan before they run.
func planTable(p *spec.Plan) *spec.Table {
	t := &spec.Table{Section: "steps", Columns: spec.Columns("step", "object", "class", "undo"), Lines: true}
	var rows []spec.Row
	for _, h := range p.Holds {
		rows = append(rows, spec.Row{"hold " + h.Setting + " at " + h.During + " meanwhile", h.Setting, h.Class.String(), nil})
	}
	for _, st := range p.Steps {
		var undo any
		if st.Undo != "" {
			undo = st.Undo
		}
		rows = append(rows, spec.Row{st.Text, strings.Join(st.Objects, ", "), st.Class.String(), undo})
	}
	t.Rows = spec.RowsOf(rows...)
	if len(p.Blockers) > 0 {
		var blocked []spec.Row
		for _, b := range p.Blockers {
			blocked = append(blocked, spec.Row{b.Object, b.Why})
		}
		t.More = append(t.More, &spec.Table{
			Section: "blockers", Columns: spec.Columns("object", "why"), Rows: spec.RowsOf(blocked...),
		})
	} else {
		t.Section = ""
	}
	t.Notes = func() []string { return append([]string{"plan: " + p.Title}, p.Notes...) }
	return t
}

// showPlan answers --plan: what would be done, and whether it would be allowed.
func (s *Shell) showPlan(call *spec.Call, x extras, p *spec.Plan) (*spec.Table, error) {
	if name := cmp.Or(x.PlanFile, s.flags.planFile); name != "" {
		if err := writePlan(name, call, p); err != nil {
			return nil, err
		}
	}
	if s.flags.plan {
		s.planned = append(s.planned, plannedLine{line: s.lineNumber, objects: p.Objects(), text: call.Line})
	}
	if len(p.Blockers) > 0 {
		return planTable(p), blockedError(p)
	}
	return planTable(p), nil
}

// plannedLine is a change that was planned and not made, so that later lines may miss it.
type plannedLine struct {
	line    int
	objects []string
	text    string
}

// dependency explains, while only planning, a line that cannot be planned because an earlier change did not happen.
func (s *Shell) dependency(err error) error {
	if err == nil || !s.flags.plan || spec.KindOf(err) != spec.NotFound {
		return err
	}
	on, found := plannedLine{}, false
	for _, earlier := range s.planned {
		for _, o := range earlier.objects {
			if o != "" && strings.Contains(err.Error(), o) {
				on, found = earlier, true
			}
		}
	}
	if !found {
		return err
	}
	fmt.Fprintf(s.stderr, "depends on line %d (%s): %s\n", on.line, render.Escape(on.text), render.Escape(err.Error()))
	return nil
}

func blockedError(p *spec.Plan) error {
	return &spec.Error{
		Kind: spec.Refused, Op: p.Title, Err: errors.New(strings.Join(blockerTexts(p), "; ")),
		Hint: "--force turns what blocks it into steps to be confirmed by name",
	}
}

func blockerTexts(p *spec.Plan) []string {
	var all []string
	for _, b := range p.Blockers {
		all = append(all, b.Object+": "+b.Why)
	}
	return all
}

// forced turns blockers into steps of class Destroy that only say so.
func forced(p *spec.Plan) {
	var steps []spec.Step
	for _, b := range p.Blockers {
		steps = append(steps, spec.Step{
			Text: "accept: " + b.Why, Objects: []string{b.Object}, Class: spec.Destroy,
			Apply: func(context.Context, spec.Report) error { return nil },
		})
	}
	p.Steps, p.Blockers = append(steps, p.Steps...), nil
}

// apply confirms a plan, records it, runs its steps and answers their outcomes.
func (s *Shell) apply(ctx context.Context, call *spec.Call, x extras, p *spec.Plan) (*spec.Table, error) {
	return s.applyJob(ctx, call, x, p, nil)
}

// applyJob is apply that goes on with a job which began before, if there is one.
func (s *Shell) applyJob(ctx context.Context, call *spec.Call, x extras, p *spec.Plan, job *jobRun) (*spec.Table, error) {
	r := &planRun{shell: s, call: call, plan: p, extras: x, job: job}
	how, err := "", error(nil)
	if x.Background && len(p.Steps) > 0 && !hasJobs(p) && job == nil {
		err = noBackground(call.Command)
	}
	if err == nil {
		how, err = r.confirm()
	}
	if err == nil {
		r.audit, err = s.audit.begin(s, call, p, how)
	}
	if err == nil && (hasJobs(p) || job != nil) {
		err = r.beginJob(how)
	}
	if err != nil {
		if r.job != nil {
			r.job.held.Unlock()
		}
		return nil, single(errors.Join(err, r.audit.end(err, 0)))
	}
	if x.Background && r.job != nil {
		t, err := s.background(ctx, r.job)
		return t, single(errors.Join(err, r.audit.handOn(err, "job "+r.job.folder.id()+" in the background")))
	}
	s.changed = true
	r.done = doneChange{cluster: call.Cluster, table: call.Table, line: call.Line}
	err = r.run(ctx)
	if r.job != nil {
		err = single(errors.Join(err, r.job.end(err)))
		s.jobs.prune()
	}
	if r.changed > 0 && !rowsOnly(p) && p.Class() > spec.Read {
		s.lastDone = &r.done
	}
	err = single(errors.Join(err, r.audit.end(err, r.changed)))
	if p.Answers != nil && (err == nil || spec.KindOf(err) == spec.AnsweredNo) {
		return p.Answers(), err
	}
	return r.table(err == nil), err
}

func noBackground(c *spec.Command) error {
	return spec.Errorf(spec.Usage, "%s: nothing of it runs for long, so it cannot run in the background", c.Name)
}

// confirm asks what the plan demands. A job that is resumed was confirmed when it began.
func (r *planRun) confirm() (how string, err error) {
	p, s := r.plan, r.shell
	force := r.extras.Force || s.flags.force
	known := r.job != nil && r.job.accepted(p)
	if len(p.Blockers) > 0 {
		if !force && !known {
			return "", blockedError(p)
		}
		r.accepts = blockerTexts(p)
		forced(p)
	}
	if known {
		if how, ok := r.job.agreed(p); ok {
			return how, nil
		}
	}
	return s.confirm(p, r.extras)
}

// beginJob makes the folder of the plan's jobs, or takes the one there is. What is worth knowing is said before it starts.
func (r *planRun) beginJob(how string) (err error) {
	if r.job == nil {
		r.job, err = r.shell.newJob(r.call, r.plan, how, r.accepts)
	}
	if err == nil && !r.extras.Background {
		err = r.job.begin()
	}
	if err == nil && !strings.HasPrefix(how, typedPrefix) { // whoever was asked at the terminal has read them
		for _, note := range r.plan.Notes {
			fmt.Fprintf(r.shell.stderr, "%s\n", render.Escape(note))
		}
	}
	return err
}

func (r *planRun) run(ctx context.Context) error {
	held, err := r.shell.holds.take(ctx, r.call, r.plan.Holds)
	if err == nil {
		err = r.verdict(r.steps(ctx, r.plan.Steps))
	}
	// Putting settings back must not be cut short by the Ctrl-C that ended the steps.
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBack)
	defer cancel()
	if err == nil {
		err = r.shell.holds.end(r.call.Cluster, r.plan.Ends)
	}
	rows, herr := held.release(back, err == nil)
	r.rows = append(r.rows, rows...)
	if herr != nil {
		if err == nil {
			return herr
		}
		fmt.Fprintf(r.shell.stderr, "%s\n", render.Escape(herr.Error()))
	}
	return err
}

// steps runs steps in order and records an outcome for each, also for those that never ran.
func (r *planRun) steps(ctx context.Context, steps []spec.Step) error {
	for i, st := range steps {
		err := ctx.Err()
		if err == nil {
			err = r.step(ctx, st)
		} else {
			r.note(st, outcomeNotRun, "")
		}
		if err != nil {
			for _, rest := range steps[i+1:] {
				r.note(rest, outcomeNotRun, "")
			}
			return err
		}
	}
	return nil
}

// verdict makes a failure after some success a partial one, and says how to go on and how to go back. A check that says
// no is none: what it looked at has been done.
func (r *planRun) verdict(err error) error {
	kind := spec.KindOf(err)
	var e *spec.Error
	switch {
	case err == nil || kind == spec.AnsweredNo:
		return err
	case r.job == nil && (kind == spec.PartlyDone || kind != spec.Interrupted && r.changed == 0):
		return err
	case r.job != nil && (kind == spec.PartlyDone || kind != spec.Interrupted && kind != spec.UnknownOutcome && r.changed == 0):
		hint := strings.TrimPrefix(spec.HintOf(err)+"; to go on: "+r.goOn(), "; ")
		return &spec.Error{Kind: kind, Err: err, Hint: hint}
	case kind == spec.UnknownOutcome && errors.As(err, &e):
		e.Hint = strings.TrimPrefix(e.Hint+"; to go on: "+r.goOn()+r.back(), "; ")
		return err
	case kind != spec.Interrupted:
		kind = spec.PartlyDone
	}
	hint := spec.HintOf(err)
	if hint == "" || kind == spec.Interrupted {
		hint = "to go on: " + r.goOn() + r.back()
	}
	if err == context.Canceled { // between two steps; what a step was stopped in says so itself
		err = errors.New("stopped before the next one")
	}
	return &spec.Error{Kind: kind, Op: fmt.Sprintf("%d of %d steps done", r.changed, len(r.rows)), Err: err, Hint: hint}
}

// goOn is the line that does the rest.
func (r *planRun) goOn() string {
	if r.job != nil {
		return r.job.goOn()
	}
	return r.call.Line
}

// backLines is how many lines that lead back are named where the word undo is of no use.
const backLines = 4

// back says how to take back what was done, "" when nothing was or nothing can be.
func (r *planRun) back() string {
	lines := r.done.back()
	switch {
	case len(lines) == 0:
		return ""
	case r.shell.mode == "interactive":
		return "; to go back: undo"
	}
	text := "; to go back: " + strings.Join(lines[:min(len(lines), backLines)], "; ")
	if more := len(lines) - backLines; more > 0 {
		text += fmt.Sprintf(" and %d more %s, which --plan showed as undo", more, plural(int64(more), "line"))
	}
	return text
}

func (r *planRun) step(ctx context.Context, st spec.Step) error {
	if st.Expand != nil {
		return r.expand(ctx, st)
	}
	if st.Job != nil && r.job.finished(st.Job.Name) {
		r.note(st, outcomeAlready, "in an earlier run of job "+r.job.folder.id())
		return nil
	}
	if st.Check != nil {
		state, err := st.Check(ctx)
		if err != nil {
			r.note(st, outcomeFailed, err.Error())
			return err
		}
		switch state.Kind {
		case spec.Done:
			r.note(st, outcomeAlready, state.Why)
			return nil
		case spec.Blocked:
			r.note(st, outcomeBlocked, state.Why)
			return spec.Errorf(spec.Refused, "%s: %s", st.Text, state.Why)
		case spec.Todo:
		}
	}
	detail, err := r.do(ctx, st)
	if spec.KindOf(err) == spec.UnknownOutcome && err != nil && st.Check != nil {
		detail, err = r.readBack(ctx, st, err)
	}
	switch {
	case err == nil:
		r.changed++
		r.remember(st)
		r.note(st, outcomeDone, detail)
	case spec.KindOf(err) == spec.UnknownOutcome:
		r.note(st, outcomeUnknown, why(st, err))
	case spec.KindOf(err) == spec.Interrupted:
		r.note(st, outcomeStopped, detail)
	default:
		r.note(st, outcomeFailed, why(st, err))
	}
	return err
}

// do applies a step, or runs its job, and answers the detail of its outcome.
func (r *planRun) do(ctx context.Context, st spec.Step) (string, error) {
	if st.Job != nil {
		return r.job.run(ctx, st)
	}
	report := r.shell.newReport(st.Text)
	err := st.Apply(ctx, report)
	return report.end(), err
}

// why is an error without the text of the step that it stands beside.
func why(st spec.Step, err error) string { return strings.TrimPrefix(err.Error(), st.Text+": ") }

// readBack asks the cluster what became of a change whose answer never came.
func (r *planRun) readBack(ctx context.Context, st spec.Step, cause error) (string, error) {
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBack)
	defer cancel()
	state, err := st.Check(fresh)
	switch {
	case err != nil:
		return "", &spec.Error{
			Kind: spec.UnknownOutcome, Op: st.Text, Err: fmt.Errorf("%w; reading the state back: %w", cause, err),
			Hint: "look before you run it again",
		}
	case state.Kind == spec.Done:
		return "outcome unknown: no answer came; read back: " + cmp.Or(state.Why, "it is done"), nil
	}
	return "", &spec.Error{
		Kind: spec.UnknownOutcome, Op: st.Text, Err: fmt.Errorf("%w; read back: it had not happened", cause),
		Hint: "it may still happen: look again before you run it again",
	}
}

// expand runs the sub-steps of a step. What goes beyond the step as confirmed is asked again.
func (r *planRun) expand(ctx context.Context, st spec.Step) error {
	subs, err := st.Expand(ctx)
	if err != nil {
		r.note(st, outcomeFailed, err.Error())
		return err
	}
	allowed := map[string]bool{}
	for _, o := range st.Objects {
		allowed[o] = true
	}
	beyond := &spec.Plan{Title: st.Text + ": more than was confirmed", Name: r.plan.Name}
	for _, sub := range subs {
		outside := sub.Class > st.Class
		for _, o := range sub.Objects {
			outside = outside || !allowed[o]
		}
		if outside {
			sub.Class = max(sub.Class, spec.Risky)
			beyond.Steps = append(beyond.Steps, sub)
		}
	}
	if len(beyond.Steps) > 0 {
		if _, err := r.shell.confirm(beyond, extras{}); err != nil {
			r.note(st, outcomeBlocked, err.Error())
			return err
		}
	}
	return r.steps(ctx, subs)
}

// remember keeps the way back of a step that took effect.
func (r *planRun) remember(st spec.Step) {
	switch {
	case st.Class == spec.Read:
	case st.Undo != "":
		r.done.undo = append(r.done.undo, st.Undo)
	default:
		r.done.without = append(r.done.without, st.Text)
	}
}

func (r *planRun) note(st spec.Step, outcome, detail string) {
	var d any
	if detail != "" {
		d = r.shell.secrets.hide(detail)
	}
	r.rows = append(r.rows, spec.Row{st.Text, strings.Join(st.Objects, ", "), outcome, d})
}

func (r *planRun) table(succeeded bool) *spec.Table {
	t := &spec.Table{Columns: outcomeColumns, Rows: spec.RowsOf(r.rows...), Lines: true}
	switch {
	case len(r.rows) == 0:
		t.Notes = func() []string { return append([]string{r.plan.Title + ": nothing to do"}, r.plan.Notes...) }
	case r.plan.Success != "" && succeeded:
		t.Notes = func() []string { return []string{r.plan.Success} }
	}
	return t
}

// digest identifies a plan: the same line on the same state plans the same digest.
func digest(call *spec.Call, p *spec.Plan) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00", call.Cluster, call.Table, withoutPlanFlag(call.Line), p.Title)
	for _, st := range p.Steps {
		fmt.Fprintf(h, "%s\x00%q\x00%d\x00%s\x00", st.Text, st.Objects, st.Class, st.Undo)
	}
	for _, b := range p.Blockers {
		fmt.Fprintf(h, "blocker %s\x00%s\x00", b.Object, b.Why)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

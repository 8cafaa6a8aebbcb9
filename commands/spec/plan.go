package spec

import "context"

// Plan is what a Change answers: everything that would be done, before any of it is. Its class is the highest of its
// steps. A plan without steps says that there is nothing left to do, which is success.
type Plan struct {
	// Title says in one line what is about to happen, to what, where.
	Title string
	// Name is what `destroy` asks to be typed, and what `--yes=NAME` must equal: the object that would be gone.
	Name     string
	Steps    []Step
	Blockers []Blocker
	Holds    []Hold
	// Ends names settings whose kept holds are over once the plan has succeeded.
	Ends []string
	// Notes are warnings worth reading before confirming.
	Notes []string
	// Success is what the store's own client says when it worked ("set auto_failover ok"): shown to people after the
	// outcomes, when every step has ended well.
	Success string
	// Answers, when set, is asked once after the steps succeeded, or one of them ended in AnsweredNo, and replaces the
	// table of outcomes: for words whose answer is data (the new value of `incr`).
	Answers func() *Table
}

// Class says what is at stake, and so what the shell asks before it applies a plan.
type Class int

const (
	Read    Class = iota // nothing changes
	Alter                // reversible; runs at once ("change" when shown)
	Risky                // availability at stake: y/N on a terminal, --yes without one
	Destroy              // data or metadata gone: the plan's Name is typed, --yes=NAME without a terminal
)

func (c Class) String() string { return [...]string{"read", "change", "risky", "destroy"}[c] }

// Step is one change, on objects it names. The shell runs, for each step in order: Expand, or Check then Apply.
type Step struct {
	Text    string
	Objects []string
	Class   Class
	// Rows marks a write of rows: its audit is buffered and logs no values. Everything else is recorded, and the
	// record is on disk, before Apply is called.
	Rows bool

	// Expand answers sub-steps that can be known only when the step's turn has come. They may touch no object and
	// have no class beyond the step's own: otherwise the shell stops and asks again. A step with Expand has no Apply.
	Expand func(ctx context.Context) ([]Step, error)
	// Check tells whether the step is still to do. It runs right before Apply, and again, on a fresh context, after
	// Apply answered an UnknownOutcome. It only reads. A nil Check means always to do.
	Check func(ctx context.Context) (State, error)
	// Apply does it. The context ends on Ctrl-C and on --wait.
	Apply func(ctx context.Context, report Report) error
	// Job, when set, stands in Apply's place: the step moves bytes and journals. Expand may not answer such steps.
	Job *Job
	// Undo is the command line that takes the step back, "" when there is none. A line and not a function: it is
	// shown, logged, and typed by another person in another shell.
	Undo string
}

// State answers a Step's Check.
type State struct {
	Kind StateKind
	// Why explains Done and Blocked in a few words.
	Why string
}

// StateKind is what a Check found.
type StateKind int

const (
	Todo    StateKind = iota
	Done              // nothing left to do: the step counts as done and Apply is not called
	Blocked           // it cannot be done now; the plan stops here, refused
)

// Report takes what a running step has to say. Its methods may be called from any goroutine until Apply returns.
type Report interface {
	// Progress: done of total in a unit; total 0 when it is not known.
	Progress(done, total int64, unit string)
	// Detail replaces the words shown beside the step and kept as the detail of its outcome.
	Detail(format string, args ...any)
}

// Blocker is a reason why the plan must not run now, naming what would be lost ("the last live replica of flow/0").
// It refuses whatever --yes says. With --force it becomes a step of class Destroy that only says so.
type Blocker struct {
	Object string
	Why    string
}

// Hold is a setting kept at another value while the plan runs. The shell reads what it is, writes that to the state
// directory (fsynced) before the first step, sets it, and puts it back at the end, on an error and on Ctrl-C. What a
// killed shell left is put back by `holds restore`, which runs the line that Restore answers.
type Hold struct {
	Setting string // what people call it: "meta level"
	During  string // the value while the plan runs
	Class   Class  // what changing it puts at stake
	// Keep leaves the setting so when the plan has succeeded, still remembering what it was: until a plan that Ends it,
	// or `holds restore`.
	Keep    bool
	Read    func(ctx context.Context) (string, error)
	Write   func(ctx context.Context, value string) error
	Restore func(was string) string
}

// Class of a plan is the highest of its steps, holds included.
func (p *Plan) Class() Class {
	class := Read
	for _, s := range p.Steps {
		class = max(class, s.Class)
	}
	for _, h := range p.Holds {
		class = max(class, h.Class)
	}
	return class
}

// Objects lists what the steps touch, each once, in order.
func (p *Plan) Objects() []string {
	var all []string
	seen := map[string]bool{}
	for _, s := range p.Steps {
		for _, o := range s.Objects {
			if !seen[o] {
				seen[o] = true
				all = append(all, o)
			}
		}
	}
	return all
}

package spec

import "context"

// Job is the work of a Step that moves bytes for long. The shell gives a plan with such steps a folder
// ($STATE/jobs/ID): the call as recorded, a lock held while it runs, a journal for each of its jobs, and a control
// socket. From any shell with the same state directory it is watched, slowed down, cancelled and resumed; with
// --background another process runs it.
//
// To resume is to plan the recorded Call again and to run what it answers with the journals of the run before. kill -9
// loses at most the work since the last Save, never correctness.
type Job struct {
	// Name tells the jobs of a plan apart and names the journal: "copy", "verify". Letters, digits and dashes.
	Name string
	// Identity is what the journal is true of: ids and creation times of source and target, the flags that decide which
	// bytes move. A job whose identity has changed since is not resumed, and the difference is named.
	Identity map[string]string
	// Rate is the limit to begin with (--max-rate); `job rate` puts another in its place, for later runs too.
	Rate Rate
	// RateStep is what the key + adds to the limit and - takes from it, at a terminal where somebody follows the job: of each
	// kind that is limited at that moment, and never down to less than one step. The zero Rate doubles and halves the limit.
	// A job that has no limit at that moment gets none by a key: whoever presses it is told so.
	RateStep Rate
	// Run does the work, from the beginning or from what Work.Restore answers. It ends soon after the context does, having
	// saved; an error of kind Interrupted or PartlyDone leaves it to be resumed.
	Run func(ctx context.Context, w Work) error
}

// Work is what a running Job has of the shell. All of it may be called from any goroutine until Run returns.
type Work interface {
	Report
	// Restore decodes into state what was saved last, by this run or by one before it, and reports whether there was any.
	Restore(state any) (bool, error)
	// Save makes a state, as JSON, the one to go on from; it is on disk when Save returns. Saved as often as every second.
	Save(state any) error
	// Rate is what the work must keep to at this moment; it changes while it runs (`job rate`).
	Rate() Rate
	// Show replaces the figures that people and `jobs` are shown.
	Show(f Figures)
}

// Rate limits work, per second; 0 is no limit.
type Rate struct{ Rows, Bytes float64 }

// Figures say how far a job has come, in this run and those before it.
type Figures struct {
	Done, Total int64  // in Unit; Total 0 when nobody knows, and then there is no share and no end in sight
	Estimated   bool   // Total is a guess
	Unit        string // "rows", "files"
	// Bytes moved, and how many there are; TotalBytes 0 when nobody knows.
	Bytes, TotalBytes int64
	// Parts are the pieces it goes by (partitions), and how many of them are done; 0 where it has none.
	PartsDone, Parts int
	// Counts are further figures by name in a fixed order: skipped, expired, retried, errors by kind.
	Counts []Count
	// Held says what keeps it back at this moment, "" when nothing does: "3 partitions wait for 10.0.0.5:34801: no answer".
	Held string
}

// Count is a figure with a name, in snake_case.
type Count struct {
	Name string
	N    int64
}

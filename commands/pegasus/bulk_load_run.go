package pegasus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// bulkState is what a bulk load is followed on from.
type bulkState struct {
	// Phase is "" before anything was sent, then "sent", and "begun" once it is known that the servers are at it.
	Phase string    `json:"phase"`
	Sent  time.Time `json:"sent"`
	// Before is what the meta server said before it was sent: bulkNone, unless it cannot forget.
	Before string `json:"before"`
	// Ingested are the partitions that were seen to be through, and Anew how often all began again.
	Ingested []int `json:"ingested,omitempty"`
	Anew     int   `json:"anew,omitempty"`
}

const (
	bulkSent  = "sent"
	bulkBegun = "begun"
)

// bulkRun follows a bulk load.
type bulkRun struct {
	*bulkLoad
	w     spec.Work
	state bulkState
	last  driver.BulkLoad
	moved time.Time // when a server answered last
}

// Following looks often at first, because small tables are loaded within a second. bulkPatience is for how long no meta server
// may answer: another one takes over in less.
const (
	bulkFirst    = 100 * time.Millisecond
	bulkLast     = 2 * time.Second
	bulkPatience = 5 * time.Minute
)

func (x *bulkLoad) run(ctx context.Context, w spec.Work) error {
	r := &bulkRun{bulkLoad: x, w: w}
	if _, err := w.Restore(&r.state); err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	r.weigh(ctx)
	if x.noWait {
		w.Detail("it has begun, and nobody follows it: query_bulk_load_status -a %s shows how far it is, and holds restore puts back what is held", x.app.Name)
		return nil
	}
	if x.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, x.wait)
		defer cancel()
	}
	err := r.follow(ctx)
	if ctx.Err() != nil && err != nil {
		return r.left(ctx)
	}
	return err
}

// begin starts the bulk load, unless an earlier run of the job has.
func (r *bulkRun) begin(ctx context.Context) error {
	now, err := r.c.BulkLoad(ctx, r.app.Name)
	if err != nil {
		return err
	}
	switch {
	case r.state.Phase == bulkBegun:
		return nil
	case r.state.Phase == bulkSent && (now.Loading || now.Status != r.state.Before):
		return r.begun() // what was there before it had been cleared
	case r.state.Phase == bulkSent && r.state.Before != bulkNone:
		return spec.Errorf(spec.UnknownOutcome, "whether the bulk load was started is not known: the servers tell of one that ended with %s, and cannot be made to forget", now.Status).
			WithHint("look what %s holds; the line itself begins anew", r.app.Name)
	case now.Loading:
		return spec.Errorf(spec.Refused, "%s is being bulk loaded already", r.app.Name).
			WithHint("query_bulk_load_status -a %s shows how far it is; nothing was sent", r.app.Name)
	}
	return r.start(ctx, now)
}

// weigh reads how large the partitions are where no plan has: progress goes by it. Whatever keeps it from that is no matter.
func (r *bulkRun) weigh(ctx context.Context) {
	if r.input != nil || r.store == nil {
		return
	}
	if in, err := r.readInput(ctx); err == nil && len(in.Problems) == 0 {
		r.input = in
	}
}

// bulkNone is the status where no bulk load is known.
const bulkNone = "BLS_INVALID"

// start looks at the input once more, has the meta server forget how the last bulk load ended, so that what it tells from then
// on is of this one, and starts.
func (r *bulkRun) start(ctx context.Context, now driver.BulkLoad) error {
	if r.store != nil && r.resumed {
		in, err := r.readInput(ctx)
		if err == nil {
			err = r.refused(in.Problems)
		}
		if err != nil {
			return err
		}
		r.input = in
	}
	r.state = bulkState{Phase: bulkSent, Sent: time.Now().UTC(), Before: bulkNone}
	if now.Status != bulkNone {
		err := r.c.ClearBulkLoad(ctx, r.app.Name)
		var e *spec.Error
		switch {
		case errors.As(err, &e) && e.Code == "ERR_HANDLER_NOT_FOUND": // an old release
			r.state.Before = now.Status
		case err != nil:
			return err
		}
	}
	if err := r.w.Save(r.state); err != nil {
		return err
	}
	err := r.c.StartBulkLoad(ctx, r.load)
	if err == nil {
		return r.begun()
	}
	if spec.KindOf(err) != spec.UnknownOutcome {
		r.state = bulkState{}
		return errors.Join(r.whyBusy(ctx, err), r.w.Save(r.state))
	}
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), startedPatience)
	defer cancel()
	if now, wrong := r.c.BulkLoad(fresh, r.app.Name); wrong == nil && (now.Loading || now.Status != r.state.Before) {
		return r.begun()
	}
	return &spec.Error{Kind: spec.UnknownOutcome, Err: err, Hint: "job resume looks whether it has begun, and starts it only if not"}
}

// whyBusy tells a meta server that loads a table from one that only believes so.
func (r *bulkRun) whyBusy(ctx context.Context, err error) error {
	var e *spec.Error
	if !errors.As(err, &e) || e.Code != "ERR_BUSY" {
		return err
	}
	apps, wrong := r.c.Apps(ctx, "available")
	if wrong != nil || slices.ContainsFunc(apps, func(a driver.App) bool { return a.BulkLoading }) {
		return err
	}
	return e.WithHint("no table is being loaded: the meta server keeps the lock of one that was dropped meanwhile, until it is started again")
}

// startedPatience bounds looking what became of a start that nobody answered.
const startedPatience = 10 * time.Second

func (r *bulkRun) begun() error {
	r.state.Phase = bulkBegun
	return r.w.Save(r.state)
}

// follow looks until the bulk load is over.
func (r *bulkRun) follow(ctx context.Context) error {
	r.moved = time.Now()
	for pause := bulkFirst; ; pause = min(pause*3/2, bulkLast) {
		if r.limit != nil {
			if err := r.limit.follow(ctx, r.w.Rate()); err != nil && ctx.Err() == nil {
				r.show(limitText(err))
			}
		}
		now, err := r.c.BulkLoad(ctx, r.app.Name)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && (spec.KindOf(err) != spec.Unavailable || time.Since(r.moved) > bulkPatience):
			return err
		case err != nil:
			r.show(err.Error())
		default:
			r.moved = time.Now()
			if done, err := r.see(now); done || err != nil {
				return err
			}
		}
		if !cluster.Sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// see takes what the meta server says.
func (r *bulkRun) see(now driver.BulkLoad) (over bool, err error) {
	before, seen := r.last.Status, len(r.state.Ingested)
	r.last = now
	if before == "BLS_INGESTING" && now.Status == "BLS_DOWNLOADING" {
		r.state.Anew++
	}
	for i, p := range now.Partitions {
		if p.Status == "BLS_SUCCEED" && !slices.Contains(r.state.Ingested, i) {
			r.state.Ingested = append(r.state.Ingested, i)
		}
	}
	if len(r.state.Ingested) > seen || before != now.Status {
		slices.Sort(r.state.Ingested)
		if err := r.w.Save(r.state); err != nil {
			return false, err
		}
	}
	held := ""
	if now.Status == "BLS_PAUSED" {
		held = fmt.Sprintf("it is paused: restart_bulk_load -a %s goes on", r.app.Name)
	}
	r.show(held)
	if now.Loading {
		return false, nil
	}
	// A meta server that forgets at once what has succeeded has shown every partition through before.
	gone := now.Status == bulkNone && len(r.state.Ingested) == r.app.Partitions
	if now.Code == "ERR_OK" && (now.Status == "BLS_SUCCEED" || gone) {
		r.succeeded()
		return true, nil
	}
	return true, r.failed()
}

// show shows how far it is.
func (r *bulkRun) show(held string) {
	p := progressOf(r.last, r.input)
	f := spec.Figures{
		Done: int64(p.ingested), Total: int64(r.app.Partitions), Unit: "partitions", PartsDone: p.ingested, Parts: r.app.Partitions,
		Bytes: p.bytes, TotalBytes: p.total, Estimated: true, Held: held,
		Counts: []spec.Count{{Name: "downloaded_percent", N: int64(p.download)}, {Name: "ingesting", N: int64(p.ingesting)}, {Name: "begun_anew", N: int64(r.state.Anew)}},
	}
	r.w.Show(f)
	r.w.Detail("%s: %s", statusWord(r.last.Status), p)
}

func (r *bulkRun) succeeded() {
	anew := ""
	if r.state.Anew > 0 {
		anew = fmt.Sprintf("; it began anew %s", times(r.state.Anew))
	}
	r.w.Detail("%s loaded into %s%s", r.what(), commands.Plural(r.app.Partitions, "partition"), anew)
	r.plan.Success = fmt.Sprintf("%s has them; count_data counts its rows, diff_data -c CLUSTER -a TABLE compares it with where they came from", r.app.Name)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// whyFailed says what servers mean by the codes of a bulk load.
var whyFailed = map[string]string{
	"ERR_RETRY_EXHAUSTED":       "trouble that may pass, as a primary that moves or a server that does not answer, came more than 10 times",
	"ERR_INGESTION_FAILED":      "RocksDB did not take the files, or trouble came again and again while it did",
	"ERR_CORRUPTION":            "a file is not as its list says",
	"ERR_FILE_OPERATION_FAILED": "a file could not be read from the block service, or not be written on a server",
	"ERR_FS_INTERNAL":           "the block service failed",
}

// failed is said of a bulk load that servers gave up, or that somebody cancelled. The next run of the job begins anew.
func (r *bulkRun) failed() error {
	table, ingested := r.app.Name, r.state.Ingested
	r.state = bulkState{}
	if err := r.w.Save(r.state); err != nil {
		return err
	}
	state := "no partition was seen to have ingested"
	if len(ingested) > 0 {
		state = fmt.Sprintf("%d of %s were seen to have ingested: %s", len(ingested), commands.Plural(r.app.Partitions, "partition"), firstNumbers(ingested))
	}
	e := &spec.Error{Kind: spec.Failed, Op: "load " + table, Code: r.last.Code}
	if r.last.Status == "BLS_CANCELED" {
		e.Code = ""
		e.Err = fmt.Errorf("it was cancelled; %s, others may have in part", state)
		return e.WithHint("what is in the table stays; the input is still at %s", r.from)
	}
	if r.last.Status == bulkNone {
		e.Code = ""
		e.Err = fmt.Errorf("the meta server knows of no bulk load any more: somebody has cleared it, or it was lost; %s", state)
		return e.WithHint("count_data tells what is there")
	}
	why := whyFailed[r.last.Code]
	if why == "" {
		why = "the servers say no more"
	}
	e.Err = fmt.Errorf("%s; %s, others may have in part", why, state)
	return e.WithHint("the files are kept at %s: start_bulk_load with --full-check finds what is wrong with them, and loading them again does no harm", r.from)
}

func firstNumbers(all []int) string {
	var names []string
	for _, n := range all[:min(len(all), maxNamed)] {
		names = append(names, fmt.Sprint(n))
	}
	text := strings.Join(names, ", ")
	if more := len(all) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// left says what becomes of a bulk load that nobody follows any more.
func (r *bulkRun) left(ctx context.Context) error {
	table := r.app.Name
	held := ""
	if len(r.plan.Holds) > 0 {
		held = ", now without what was held"
	}
	text := fmt.Sprintf("the servers go on with it (%s)%s: pause_bulk_load -a %s or cancel_bulk_load -a %s stops it, job resume follows it again",
		statusWord(r.last.Status), held, table, table)
	r.w.Detail("%s", text)
	e := &spec.Error{Kind: spec.Interrupted, Op: "follow the bulk load of " + table, Err: errors.New(text)}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e.Kind, e.Err = spec.Unavailable, fmt.Errorf("the time is over; %s", text)
	}
	return e
}

// bulkProgress is how far a bulk load is, as far as replicas tell.
type bulkProgress struct {
	status              string
	download            int // percent
	ingested, ingesting int // partitions
	partitions          int
	bytes, total        int64 // of one copy; 0 when the sizes are not known
}

// progressOf derives it: the download of a partition is the mean of its replicas', that of the table the mean of its partitions,
// by their sizes where those are known.
func progressOf(b driver.BulkLoad, in *coldbackup.Input) bulkProgress {
	p := bulkProgress{status: b.Status, partitions: len(b.Partitions)}
	var sum, weight float64
	for i, part := range b.Partitions {
		size := 1.0
		if in != nil && i < len(in.Partitions) && in.Partitions[i].Size > 0 {
			size = float64(in.Partitions[i].Size)
			p.total += in.Partitions[i].Size
		}
		percent := downloadOf(part)
		sum += size * float64(percent)
		weight += size
		if p.total > 0 {
			p.bytes += int64(size) * int64(percent) / 100
		}
		switch part.Status {
		case "BLS_SUCCEED":
			p.ingested++
		case "BLS_INGESTING":
			for _, r := range part.Replicas {
				if r.Ingest == "running" {
					p.ingesting++
					break
				}
			}
		}
	}
	if weight > 0 {
		p.download = int(sum / weight)
	}
	return p
}

// downloadOf is how much of a partition its replicas have, in percent; what replicas do not tell follows from the status.
func downloadOf(p driver.BulkPartition) int {
	switch p.Status {
	case "BLS_DOWNLOADED", "BLS_INGESTING", "BLS_SUCCEED":
		return 100
	}
	sum, n := 0, 0
	for _, r := range p.Replicas {
		if r.Progress >= 0 {
			sum += r.Progress
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / n
}

func (p bulkProgress) String() string {
	return fmt.Sprintf("about %d %% downloaded, %d of %d partitions ingested", p.download, p.ingested, p.partitions)
}

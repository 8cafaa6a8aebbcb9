package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// restoreState is what a restore is followed on from.
type restoreState struct {
	Verified bool      `json:"verified"` // the files were as they are listed
	Asked    time.Time `json:"asked"`    // when the servers were asked to begin; the zero time before
	ID       int32     `json:"id"`       // of the new table; 0 until an answer came
}

// restoreResult is what is known of the new table.
type restoreResult struct{ id int32 }

// restoreRun follows a restore.
type restoreRun struct {
	*tableRestore
	w     spec.Work
	state restoreState
	moved time.Time
	mark  string
	// unlimited is why what servers send is not limited as job rate wants it.
	unlimited error
}

// readAll reads the backup before anything is sent.
func (r *restoreRun) readAll(ctx context.Context) error {
	r.w.Detail("the files are compared with their MD5")
	err := verifyTable(ctx, r.w, *r.from.store, r.backup, r.table, func(c coldbackup.Checked) error {
		return spec.Errorf(spec.Refused, "backup %d is damaged: %s: %s", r.backup.ID, at(r.from.service, c.Path), c.Why).
			WithHint("no table was made; verify_backup %s tells all; -s restores what is whole, with the other partitions empty", at(r.from.service, r.dir))
	})
	if err != nil {
		return err
	}
	r.state.Verified = true
	return r.w.Save(r.state)
}

func (x *tableRestore) run(ctx context.Context, w spec.Work) error {
	r := &restoreRun{tableRestore: x, w: w, moved: time.Now()}
	_, err := w.Restore(&r.state)
	if err == nil && r.state.Asked.IsZero() {
		err = r.nameFree(ctx)
	}
	if err == nil && r.verify && !r.state.Verified {
		err = r.readAll(ctx)
	}
	if err == nil && r.state.ID == 0 {
		err = r.begin(ctx)
	}
	if err != nil {
		return err
	}
	x.result.id = r.state.ID
	if x.noWait {
		w.Detail("table %d is being made, and nobody follows it: query_restore_status %d shows it", r.state.ID, r.state.ID)
		return nil
	}
	err = r.followTo(ctx)
	if ctx.Err() != nil && err != nil {
		return &spec.Error{
			Kind: spec.Interrupted, Op: fmt.Sprintf("follow the restore of %s, table %d", x.want.NewName, r.state.ID),
			Err: fmt.Errorf("the servers go on with it; query_restore_status %d shows it, job resume follows it again", r.state.ID),
		}
	}
	return err
}

// nameFree makes sure, once more, that the name is free.
func (r *restoreRun) nameFree(ctx context.Context) error {
	app, there, err := findApp(ctx, r.c, r.want.NewName)
	if err == nil && there {
		err = spec.Errorf(spec.Refused, "%s has a table %s, with the id %d, made of this backup", r.cluster, r.want.NewName, app.ID).
			WithHint("query_restore_status %d shows how it stands; -n gives another one another name", app.ID)
	}
	return err
}

// begin asks for the table, unless an earlier run did and it is there.
func (r *restoreRun) begin(ctx context.Context) error {
	if r.state.Asked.IsZero() {
		r.state.Asked = time.Now()
		if err := r.w.Save(r.state); err != nil {
			return err
		}
	} else {
		app, there, err := findApp(ctx, r.c, r.want.NewName)
		if err != nil {
			return err
		}
		if there && r.made(app.Envs) {
			r.state.ID = app.ID
		}
	}
	if r.state.ID == 0 {
		id, err := r.c.StartRestore(ctx, r.want)
		if err != nil {
			return r.refused(err)
		}
		r.state.ID = id
	}
	return r.w.Save(r.state)
}

// refused adds what may be behind an error of the servers.
func (r *restoreRun) refused(err error) error {
	kind, hint := spec.KindOf(err), spec.HintOf(err)
	switch {
	case kind == spec.UnknownOutcome:
		hint = "job resume looks whether it has begun, and begins it only if not"
	case r.gone && r.table != nil && kind != spec.Unavailable && kind != spec.Interrupted:
		hint = fmt.Sprintf("the table %s with the id %d is gone, and these servers may demand it: do without them: create %s -p %d, split_backup %s %s:/OUT --table %s --partitions %d, then start_bulk_load",
			r.want.Table, r.want.TableID, r.want.NewName, r.table.App.PartitionCount, at(r.from.service, r.dir), r.from.service, r.want.NewName, r.table.App.PartitionCount)
	}
	return &spec.Error{Kind: kind, Err: err, Hint: hint}
}

// followTo waits until the servers have all of it, or have given up.
func (r *restoreRun) followTo(ctx context.Context) error {
	pause := followFirst
	for {
		r.unlimited = r.limit.follow(ctx, r.w.Rate())
		app, now, err := r.c.RestoreStatus(ctx, r.state.ID)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && spec.KindOf(err) == spec.NotFound, err == nil && now.Dropped:
			return r.dropped()
		case err == nil:
			if done := r.show(app, now); done {
				return nil
			}
		case spec.KindOf(err) != spec.Unavailable:
			return err
		}
		if time.Since(r.moved) >= r.patience {
			return spec.Errorf(spec.PartlyDone, "restore %s: nothing has got any further for %s: %s", r.want.NewName, r.patience, r.mark).
				WithHint("query_restore_status %d -d shows how it stands; drop %s gives it up", r.state.ID, r.want.NewName)
		}
		if !cluster.Sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(pause*3/2, followLast)
	}
}

func (r *restoreRun) dropped() error {
	return spec.Errorf(spec.Failed, "restore %s: the servers have dropped the table again: a file is missing or damaged, or cannot be read by the server that needs it", r.want.NewName).
		WithHint("verify_backup %s reads it from here; -s restores what is whole; of a local_service every server sees its own disks only", at(r.from.service, r.dir))
}

// show tells how far it is, and whether that is all.
func (r *restoreRun) show(app driver.App, now driver.Restore) (done bool) {
	f := spec.Figures{Unit: "partitions", TotalBytes: r.size()}
	var under []string
	parts := 0 // thousandths of partitions
	for i, n := range now.Progress {
		parts += min(max(n, 0), 1000)
		f.Done += int64(one(n >= 1000))
		if n > 0 && n < 1000 {
			under = append(under, fmt.Sprintf("%d: %d%%", i, n/10))
		}
	}
	share := float64(parts) / float64(1000*max(app.Partitions, 1))
	if f.Bytes = int64(share * float64(f.TotalBytes)); f.TotalBytes == 0 {
		f.Total = int64(app.Partitions)
	}
	text := fmt.Sprintf("table %d, %s", r.state.ID, app.Status)
	if len(under) > 0 {
		text += "; partition " + strings.Join(under[:min(len(under), shownParts)], ", ")
	}
	skipped := skippedPartitions(now)
	if len(skipped) > 0 {
		text += fmt.Sprintf("; partition %s begins empty: files are missing or damaged", strings.Join(skipped, ", "))
	}
	if mark := fmt.Sprint(parts, app.Status); mark != r.mark {
		r.mark, r.moved = mark, time.Now()
	}
	if r.unlimited != nil {
		f.Held = limitText(r.unlimited)
	}
	r.w.Progress(f.Done, f.Total, f.Unit)
	r.w.Show(f)
	r.w.Detail("%s", text)
	return now.Done() && app.Status == "AVAILABLE"
}

func skippedPartitions(now driver.Restore) []string {
	var skipped []string
	for i, code := range now.Codes {
		if code == "ERR_IGNORE_BAD_DATA" {
			skipped = append(skipped, strconv.Itoa(i))
		}
	}
	return skipped
}

// runCount has the servers count, and then counts what the backup holds. Rows may expire between the two: what is left at
// the end of the servers' count, and at its beginning, bounds what they may have found.
func (x *tableRestore) runCount(ctx context.Context, w spec.Work) error {
	begun := time.Now()
	there := int64(0)
	for c, err := range x.c.Count(ctx, x.want.NewName, driver.ScanOptions{Partition: -1}) {
		if err != nil {
			return err
		}
		there += c.Rows
	}
	ended := time.Now()
	size, _ := x.table.Size()
	f := spec.Figures{Unit: "rows", Parts: len(x.table.Partitions), TotalBytes: size}
	var least, most, strays int64
	for _, p := range x.table.Partitions {
		if slices.Contains(x.badPartitions(), strconv.Itoa(p.Index)) {
			continue // it begins empty
		}
		var counts coldbackup.ScanCounts
		for row, err := range x.table.Scan(ctx, *x.from.store, p, coldbackup.ScanOptions{Now: begun}, &counts) {
			if err != nil {
				return err
			}
			most++
			least += int64(one(row.ExpireTS == 0 || row.Expires().After(ended.Add(time.Second))))
			if most%progressRows == 0 {
				f.Done = most
				w.Show(f)
			}
		}
		strays += counts.Strays
		f.Done, f.PartsDone, f.Bytes = most, f.PartsDone+1, f.Bytes+p.Checkpoint.TotalSize
		w.Show(f)
	}
	return x.compare(w, there, least, most, strays)
}

// progressRows is after how many rows the progress is shown again.
const progressRows = 100_000

func (x *tableRestore) compare(w spec.Work, there, least, most, strays int64) error {
	held := commands.Rows(most)
	if least != most {
		held = fmt.Sprintf("%d to %s, as some expired meanwhile", least, held)
	}
	w.Detail("%s has %s, the backup %s", x.want.NewName, commands.Rows(there), held)
	switch {
	case there >= least && there <= most:
		return nil
	case strays > 0 && there > most && there <= most+strays:
		return spec.Errorf(spec.AnsweredNo, "%s has %s and the backup %s, besides %d that a split has left in partitions which are not theirs", x.want.NewName, commands.Rows(there), held, strays).
			WithHint("set_app_envs %s true makes servers pass them over", splitEnv)
	}
	return spec.Errorf(spec.AnsweredNo, "%s has %s and the backup %s", x.want.NewName, commands.Rows(there), held).
		WithHint("was it written to meanwhile, or does it have empty partitions? query_restore_status %d -d shows them", x.result.id)
}

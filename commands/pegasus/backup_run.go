package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// backupState is what a backup is followed on from.
type backupState struct {
	Asked time.Time `json:"asked"`          // when the servers were asked to begin
	Known []int64   `json:"known"`          // the backups of the table that were there before
	ID    int64     `json:"id"`             // 0 until an answer came
	Dir   string    `json:"dir"`            // its folder on the service, "" while it is not known
	Ended bool      `json:"ended"`          // the servers have said so, or backup_info is there
	Envs  envs      `json:"settings"`       // of the table when it began
	Since nodeTimes `json:"since"`          // since when the nodes run
	On    []string  `json:"on"`             // who does each partition
	Why   string    `json:"why,omitempty"`  // it has failed
	Done  []bool    `json:"done,omitempty"` // the partitions that are on the service
}

type (
	envs      map[string]string
	nodeTimes map[string]time.Time
)

// backupRun follows a backup.
type backupRun struct {
	*tableBackup
	w     spec.Work
	state backupState
	seen  derived
	moved time.Time // when something got further, as seen from here
	mark  string    // what it was then
	quiet error     // the last look failed with it
	// unlimited is why what servers send is not limited as job rate wants it.
	unlimited error
}

// Following looks often at first, because small tables are backed up within seconds.
const (
	followFirst = 100 * time.Millisecond
	followLast  = 3 * time.Second
)

// settled is for how long nothing may have arrived, and nobody may have uploaded, until a backup that failed is taken for
// over: a server that still makes its checkpoint uploads nothing yet.
const settled = 5 * time.Second

func (x *tableBackup) run(ctx context.Context, w spec.Work) error {
	r := &backupRun{tableBackup: x, w: w, moved: time.Now()}
	again, err := w.Restore(&r.state)
	if err == nil && !again {
		err = r.first(ctx)
	}
	if err == nil && r.state.ID == 0 {
		err = r.begin(ctx, again)
	}
	if err != nil {
		return err
	}
	x.begun = r.state.ID
	if x.noWait {
		w.Detail("backup %d has begun, and nobody follows it: backup %s %s --follow %d does", r.state.ID, x.app.Name, strings.TrimSpace(x.to.service+" "+x.to.path), r.state.ID)
		return nil
	}
	if err := r.followTo(ctx); err != nil {
		return r.stopped(ctx, err)
	}
	if err := r.check(ctx); err != nil {
		return r.stopped(ctx, err)
	}
	return nil
}

// first saves what there is before anything is sent.
func (r *backupRun) first(ctx context.Context) error {
	list, err := r.c.BackupsOf(ctx, r.app)
	if err != nil {
		return err
	}
	r.state = backupState{Asked: time.Now(), ID: r.follow, Envs: envs(r.app.Envs)}
	if r.follow == 0 {
		if err := r.alreadyRunning(list); err != nil {
			return err
		}
	}
	for _, b := range list {
		r.state.Known = append(r.state.Known, b.ID)
	}
	if r.state.On, r.state.Since, err = r.nodesNow(ctx); err != nil {
		return err
	}
	return r.w.Save(r.state)
}

// nodesNow tells who is the primary of each partition, and since when nodes run.
func (r *backupRun) nodesNow(ctx context.Context) (on []string, since nodeTimes, err error) {
	a, err := r.c.Partitions(ctx, r.app.Name)
	if err != nil {
		return nil, nil, err
	}
	on = make([]string, r.app.Partitions)
	for _, p := range a.Partitions {
		if p.Index < len(on) {
			on[p.Index] = p.Primary
		}
	}
	servers, err := aliveReplicaServers(ctx, r.c)
	if err != nil {
		return nil, nil, err
	}
	var endpoints []string
	for _, s := range servers {
		endpoints = append(endpoints, s.Endpoint)
	}
	since, err = r.c.StartTimes(ctx, endpoints)
	return on, since, err
}

// begin asks for the backup, unless an earlier run did and it is there.
func (r *backupRun) begin(ctx context.Context, again bool) error {
	if again {
		id, err := r.adopt(ctx)
		if err != nil {
			return err
		}
		r.state.ID = id
	}
	if r.state.ID == 0 {
		id, err := r.c.StartBackup(ctx, r.app, r.to.service, r.to.path)
		if err != nil {
			if spec.KindOf(err) == spec.UnknownOutcome {
				return &spec.Error{Kind: spec.UnknownOutcome, Err: err, Hint: "job resume looks whether it has begun, and begins it only if not"}
			}
			return err
		}
		r.state.ID = id
	}
	return r.w.Save(r.state)
}

// adopt finds the backup that an earlier run may have begun without hearing of it; 0 when there is none. A meta server that
// does begin one writes to the service before it answers, and knows of it from then on.
func (r *backupRun) adopt(ctx context.Context) (int64, error) {
	list, err := r.c.BackupsOf(ctx, r.app)
	if err != nil {
		return 0, err
	}
	for _, b := range slices.Backward(list) {
		if !slices.Contains(r.state.Known, b.ID) && b.Provider == r.to.service && b.Path == r.to.path {
			return b.ID, nil
		}
	}
	if r.to.store == nil {
		return 0, &spec.Error{
			Kind: spec.UnknownOutcome, Op: r.text(), Err: fmt.Errorf("the meta server knows of none; it may be another one than was asked, and %s cannot be seen from here", r.to.service),
			Hint: "look whether anything is uploaded (metrics cold.backup), and run the command again to begin anew",
		}
	}
	return r.newestOnService(ctx)
}

// followTo waits for the end of the backup.
func (r *backupRun) followTo(ctx context.Context) error {
	pause := followFirst
	for {
		r.unlimited = r.limit.follow(ctx, r.w.Rate())
		done, err := r.look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			r.quiet = nil
		case spec.KindOf(err) == spec.Unavailable && time.Since(r.moved) < r.patience:
			r.quiet = err
		default:
			return err
		}
		r.show()
		if done {
			return nil
		}
		if !cluster.Sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(pause*3/2, followLast)
	}
}

// look finds out how far it is, and whether it has ended. A backup that failed is an error, once no server uploads any more.
func (r *backupRun) look(ctx context.Context) (done bool, err error) {
	if r.state.Ended {
		return true, nil
	}
	if err := r.derive(ctx); err != nil {
		return false, err
	}
	if r.state.Why == "" {
		ended, why, err := r.verdict(ctx)
		if err != nil {
			return false, err
		}
		r.state.Ended, r.state.Why = ended, why
		if err := r.w.Save(r.state); err != nil || ended {
			return ended, err
		}
	}
	if r.state.Why == "" {
		return false, nil
	}
	if r.seen.silent == 0 && len(r.seen.uploading) == 0 && time.Since(r.moved) >= settled {
		return false, r.failed()
	}
	return false, nil
}

// verdict tells whether the backup has ended, or why it never will.
func (r *backupRun) verdict(ctx context.Context) (ended bool, why string, err error) {
	list, err := r.c.BackupsOf(ctx, r.app)
	if err != nil {
		return false, "", err
	}
	i := slices.IndexFunc(list, func(b driver.Backup) bool { return b.ID == r.state.ID })
	switch {
	case i >= 0 && list[i].Failed:
		return false, "the servers say so", nil
	case i >= 0 && !list[i].End.IsZero(), r.seen.complete:
		return true, "", nil
	case i < 0:
		return false, "the meta server that leads now knows nothing of it: it was kept in the memory of the one before", nil
	}
	why, err = r.restarted(ctx)
	if why == "" && time.Since(r.moved) >= r.patience {
		why = fmt.Sprintf("nothing has moved for %s", r.patience)
	}
	return false, why, err
}

// restarted names a server that has forgotten a partition which it had not finished, because it was started again.
func (r *backupRun) restarted(ctx context.Context) (why string, err error) {
	on, since, err := r.nodesNow(ctx)
	if err != nil {
		return "", err
	}
	r.seen.away = ""
	for i, was := range r.state.On {
		if i < len(r.state.Done) && r.state.Done[i] {
			continue
		}
		before, known := r.state.Since[was]
		now, alive := since[was]
		switch {
		case was != "" && known && alive && now.Sub(before) >= time.Second:
			return fmt.Sprintf("%s was started again (%s) while it backed up partition %d", was, now.UTC().Format(time.RFC3339), i), nil
		case was != "" && !alive:
			r.seen.away = was
		case i < len(on) && on[i] != "":
			r.state.On[i] = on[i] // its primary was moved: the new one begins with it
			if _, known := r.state.Since[on[i]]; !known && !since[on[i]].IsZero() {
				r.state.Since[on[i]] = since[on[i]]
			}
		}
	}
	return "", nil
}

// failed is said of a backup that will never be complete, when nobody uploads for it any more.
func (r *backupRun) failed() error {
	e := spec.Errorf(spec.Failed, "backup %d of %s has failed: %s; no server uploads any more", r.state.ID, r.app.Name, r.state.Why)
	if r.state.Dir == "" {
		return e.WithHint("query_backup %s shows what the servers know; then begin anew", r.app.Name)
	}
	return e.WithHint("remove what there is of it: rm_backup %s; then the same line begins anew: %s", at(r.to.service, r.state.Dir),
		strings.TrimSpace(fmt.Sprintf("backup %s %s %s", r.app.Name, r.to.service, r.to.path)))
}

// stopped says what becomes of a backup that nobody follows any more.
func (r *backupRun) stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil || r.state.Ended {
		return err
	}
	return &spec.Error{
		Kind: spec.Interrupted, Op: fmt.Sprintf("follow backup %d of %s", r.state.ID, r.app.Name),
		Err: fmt.Errorf("it cannot be cancelled: the servers go on with it, now without the limit that was held; query_backup %s shows it, job resume follows it again", r.app.Name),
	}
}

package pegasus

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync/atomic"

	driver "shardsh/cluster/pegasus"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// look finds what is in the way of the bulk load, and what is at stake.
func (x *bulkLoad) look(ctx context.Context) (spec.Class, error) {
	for _, look := range []func(context.Context) error{x.lookAtTable, x.lookAtOthers, x.lookAtReplicas, x.lookAtInput, x.lookAtRoom} {
		if err := look(ctx); err != nil {
			return spec.Risky, err
		}
	}
	guesses, err := guessRows(ctx, x.c, x.app)
	if ctx.Err() != nil {
		return spec.Risky, ctx.Err()
	}
	var has int64
	for _, g := range guesses {
		has += g.Rows
	}
	if err == nil && has == 0 {
		return spec.Alter, nil
	}
	x.note("each partition takes no writes while it ingests its files")
	what := "rows that are there"
	if err == nil {
		what = fmt.Sprintf("the %s or so that are there", commands.Rows(has))
	}
	if x.load.Behind {
		x.note("%s win over loaded ones of the same keys, and so does what was deleted", what)
	} else {
		x.note("%s are replaced where loaded ones have the same keys, which nothing takes back", what)
	}
	return spec.Risky, nil
}

// lookAtTable finds what a table must not be or lack.
func (x *bulkLoad) lookAtTable(ctx context.Context) error {
	a := x.app
	if a.Status != "AVAILABLE" {
		x.block(a.Name, "it is %s", a.Status)
		return nil
	}
	if a.Duplicating {
		x.block(a.Name, "it is being duplicated: loaded rows would not be sent to the other cluster, and its servers may crash")
	}
	split, err := x.c.Split(ctx, a.Name)
	switch {
	case err != nil:
		return err
	case split != nil:
		x.block(a.Name, "it is being split: the input is for %s", commands.Plural(a.Partitions, "partition"))
	}
	switch allowed := a.Envs[behindEnv] == "true"; {
	case x.load.Behind && !allowed:
		x.block(a.Name, "--ingest_behind needs %s=true, which the table must have been created with: create %s -e %s=true", behindEnv, a.Name, behindEnv)
	case !x.load.Behind && allowed:
		x.note("the table allows --ingest_behind: without it loaded rows win over newer ones")
	}
	return nil
}

// lookAtOthers finds bulk loads that run already: servers take one at a time.
func (x *bulkLoad) lookAtOthers(ctx context.Context) error {
	apps, err := x.c.Apps(ctx, "available")
	if err != nil {
		return err
	}
	for _, a := range apps {
		if a.BulkLoading {
			x.block(a.Name, "it is being bulk loaded, and servers load one table at a time: query_bulk_load_status -a %s shows how far it is", a.Name)
		}
	}
	return nil
}

// lookAtReplicas finds partitions that would keep the bulk load waiting.
func (x *bulkLoad) lookAtReplicas(ctx context.Context) error {
	a, err := x.c.Partitions(ctx, x.app.Name)
	if err != nil {
		return ignoreNotReady(err)
	}
	short, first := 0, 0
	for _, p := range a.Partitions {
		if !isReady(p) && !p.Unborn {
			if short++; short == 1 {
				first = p.Index
			}
		}
	}
	if short > 0 {
		x.block(fmt.Sprintf("%s/%d", x.app.Name, first), "%s without all replicas, which ingesting needs: app %s -d shows them", commands.Plural(short, "partition"), x.app.Name)
	}
	return nil
}

// mostProblems bounds how many are named.
const mostProblems = 20

// lookAtInput reads the lists and looks at every file.
func (x *bulkLoad) lookAtInput(ctx context.Context) error {
	if x.store == nil {
		return nil
	}
	in, err := x.readInput(ctx)
	if err != nil {
		return err
	}
	x.input = in
	if len(in.Partitions) == 0 && len(in.Problems) > 0 {
		in.Problems[0].Why += x.elsewhere(ctx)
	}
	for i, p := range in.Problems {
		if i == mostProblems {
			x.block(x.from.String(), "%d more files are not as they should be", len(in.Problems)-i)
			break
		}
		x.block(at(x.from.Service, p.Path), "%s", p.Why)
	}
	return nil
}

// elsewhere names the folder of another cluster below the root that has an input for the table. It is a help where there is
// none: that the root cannot be listed is no error of its own.
func (x *bulkLoad) elsewhere(ctx context.Context) string {
	root := strings.Trim(x.load.Root, "/")
	for e, err := range x.store.List(ctx, root) {
		if err != nil {
			return ""
		}
		if !e.Dir || e.Name == x.load.Cluster {
			continue
		}
		info := path.Join(coldbackup.LoadDir(root, e.Name, x.app.Name), coldbackup.LoadInfoFile)
		if _, err := x.store.Stat(ctx, info); err == nil {
			return fmt.Sprintf("; there is one of cluster %s, which -c %s loads", shown(e.Name), shown(e.Name))
		}
	}
	return ""
}

func (x *bulkLoad) readInput(ctx context.Context) (*coldbackup.Input, error) {
	want := coldbackup.LoadInfo{AppID: x.app.ID, AppName: x.app.Name, PartitionCount: int32(x.app.Partitions)}
	return coldbackup.LoadInput(ctx, x.store, x.from.Path, want, x.load.Behind)
}

// lookAtRoom finds disks that the files would fill. What servers do not tell is a note.
func (x *bulkLoad) lookAtRoom(ctx context.Context) error {
	if x.input == nil {
		return nil
	}
	nodes, err := diskNodes(ctx, x.c, "")
	if err != nil {
		return err
	}
	for _, answer := range askDisks(ctx, x.c, nodes, x.app.Name) {
		if answer.err != nil {
			x.note("whether the disks of %s have room is not known: %v", answer.node, answer.err)
			continue
		}
		for _, d := range answer.disks {
			if why := x.noRoom(d); why != "" {
				x.block(d.Tag+" of "+answer.node, "%s", why)
			}
		}
	}
	return ctx.Err()
}

// noRoom says why a disk has no room for its share of the files, "" when it has.
func (x *bulkLoad) noRoom(d driver.Disk) string {
	var more int64
	for _, r := range d.Replicas {
		if r.AppID == x.app.ID && r.Partition < len(x.input.Partitions) {
			more += x.input.Partitions[r.Partition].Size
		}
	}
	return overfull(d, "the files take", more)
}

// checkStep reads the whole input before anything is sent.
func (x *bulkLoad) checkStep() spec.Step {
	return spec.Step{
		Text: "read every file of " + x.from.String(), Objects: []string{x.app.Name}, Class: spec.Read,
		Job: &spec.Job{Name: "check", Identity: x.identity(), Run: x.check},
	}
}

func (x *bulkLoad) check(ctx context.Context, w spec.Work) error {
	in, err := x.readInput(ctx)
	if err != nil {
		return err
	}
	x.input = in
	found := in.Problems
	if len(found) == 0 {
		files, size, _ := in.Totals()
		var done, bytes atomic.Int64
		found, err = coldbackup.CheckInput(ctx, x.store, in, checksAtOnce, func(n int64) error {
			w.Show(spec.Figures{Done: done.Add(1), Total: int64(files), Unit: "files", Bytes: bytes.Add(n), TotalBytes: size})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return x.refused(found)
}

// refused is the error of an input that is not as it should be; nil for one that is.
func (x *bulkLoad) refused(found []coldbackup.Problem) error {
	if len(found) == 0 {
		return nil
	}
	more := ""
	if n := len(found) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return spec.Errorf(spec.Refused, "%s: %s%s", at(x.from.Service, found[0].Path), found[0].Why, more).
		WithHint("make the input anew with split_backup; nothing was sent")
}

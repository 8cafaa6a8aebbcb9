package pegasus

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// shownParts is how many partitions that are under way are named.
const shownParts = 4

// show tells how far it is.
func (r *backupRun) show() {
	f := spec.Figures{Unit: "files", Parts: r.app.Partitions, TotalBytes: r.guess, Estimated: true}
	total, known := int64(0), true
	var files int
	files, f.Bytes = r.seen.sum()
	f.Done = int64(files)
	var under []string
	for i, p := range r.seen.parts {
		switch {
		case p.done:
			f.PartsDone++
		case p.files > 0 && p.percent() >= 0:
			under = append(under, fmt.Sprintf("%d: %d%%", i, p.percent()))
		case p.files > 0:
			under = append(under, fmt.Sprintf("%d: %s", i, commands.Plural(p.files, "file")))
		}
		total += p.total
		known = known && p.total > 0
	}
	if known && len(r.seen.parts) > 0 {
		f.TotalBytes, f.Estimated = total, false
	}
	f.TotalBytes = max(f.TotalBytes, f.Bytes)
	f.Held = r.held()
	r.w.Progress(f.Done, 0, f.Unit)
	r.w.Show(f)
	r.w.Detail("%s", r.phase(under))
}

// held is what keeps it back.
func (r *backupRun) held() string {
	switch {
	case r.quiet != nil:
		return r.quiet.Error()
	case r.state.Why != "":
		return "waits until no server uploads any more"
	case r.seen.away != "":
		return r.seen.away + " is not alive: when it was ended, the backup will never be complete"
	case r.unlimited != nil:
		return limitText(r.unlimited)
	}
	return ""
}

func limitText(err error) string { return "the limit could not be changed: " + err.Error() }

// phase says which of the two phases it is in, as far as that can be derived.
func (r *backupRun) phase(under []string) string {
	var up []string
	for _, u := range r.seen.uploading {
		up = append(up, fmt.Sprintf("%s sends a file of %s", u.endpoint, sizeText(u.largest)))
	}
	text := ""
	switch files, _ := r.seen.sum(); {
	case r.state.Why != "":
		text = "it has failed: " + r.state.Why
	case r.state.Ended:
		text = "it has ended, and is checked"
	case files == 0 && len(up) == 0:
		text = "phase 1 of 2 (derived): checkpoints are made"
	default:
		text = "phase 2 of 2 (derived): upload"
	}
	text = fmt.Sprintf("backup %d: %s", r.state.ID, text)
	if len(under) > 0 {
		more := ""
		if len(under) > shownParts {
			more, under = fmt.Sprintf(" and %d more", len(under)-shownParts), under[:shownParts]
		}
		text += "; partition " + strings.Join(under, ", ") + more
	}
	if len(up) > shownParts {
		up = append(up[:shownParts], fmt.Sprintf("%d more send", len(up)-shownParts))
	}
	if len(up) > 0 {
		text += "; " + strings.Join(up, ", ")
	}
	return text
}

func sizeText(n int64) string {
	const mebi = 1 << 20
	if n < mebi {
		return fmt.Sprintf("%d KiB", (n+1023)/1024)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/mebi)
}

// backupResult is what a backup came to.
type backupResult struct {
	id      int64
	status  string
	dir     string
	files   int
	size    int64
	sideCar bool
	checked string
}

// check reads the backup from the service and adds what Pegasus leaves out.
func (r *backupRun) check(ctx context.Context) error {
	r.result = backupResult{id: r.state.ID, status: "complete, say the servers", checked: "no"}
	if r.to.store == nil {
		r.w.Detail("backup %d is complete, say the servers; nothing of it was checked: %s", r.state.ID, r.to.unseen)
		return spec.Errorf(spec.AnsweredNo, "backup %d of %s is complete, say the servers, and was not checked: %s", r.state.ID, r.app.Name, r.to.unseen)
	}
	if r.state.Dir == "" {
		return spec.Errorf(spec.AnsweredNo, "backup %d of %s is complete, say the servers, and is not there: %s has no folder FOLDER/%d", r.state.ID, r.app.Name,
			at(r.to.service, r.to.place()), r.state.ID).WithHint("is %s here what it is for the servers? ls_backup %s:/ finds backups", r.to.service, r.to.service)
	}
	b, err := coldbackup.Load(ctx, r.to.store, r.state.Dir)
	if err != nil {
		return err
	}
	tables, err := tablesNamed(r.folder(), b)
	if err != nil {
		return err
	}
	t := tables[0]
	r.result.dir, r.result.checked = at(r.to.service, r.state.Dir), "lists and sizes"
	r.result.size, r.result.files = t.Size()
	if why := firstProblem(b, t); why != "" {
		r.result.status = "damaged"
		return spec.Errorf(spec.AnsweredNo, "backup %d of %s is complete, say the servers, and damaged: %s", b.ID, r.app.Name, why).
			WithHint("verify_backup %s tells all", r.result.dir)
	}
	r.result.status = "complete"
	if err := r.addSideCar(ctx, b); err != nil {
		return err
	}
	if r.verify {
		if err := r.readAll(ctx, b, t); err != nil {
			return err
		}
		r.result.checked = "every file"
	}
	r.w.Detail("backup %d is complete: %s, %s with %s", b.ID, r.result.dir, commands.Plural(r.result.files, "file"), sizeText(r.result.size))
	return nil
}

// addSideCar writes the checksums of the documents and the settings beside a backup that has none of them.
func (r *backupRun) addSideCar(ctx context.Context, b *coldbackup.Backup) error {
	if b.SideCar == nil {
		text, err := coldbackup.NewSideCar(b, map[string]map[string]string{r.folder(): r.state.Envs}).Encode()
		if err == nil {
			err = storage.WriteFile(ctx, r.to.store.Service, path.Join(b.Dir, coldbackup.SideCarFile), text)
		}
		if err != nil {
			return &spec.Error{Kind: spec.KindOf(err), Op: fmt.Sprintf("backup %d is complete; write %s", b.ID, coldbackup.SideCarFile), Err: err, Hint: spec.HintOf(err)}
		}
	}
	r.result.sideCar = true
	return nil
}

// readAll compares every file with its checksum.
func (r *backupRun) readAll(ctx context.Context, b *coldbackup.Backup, t *coldbackup.Table) error {
	return verifyTable(ctx, r.w, *r.to.store, b, t, func(c coldbackup.Checked) error {
		return spec.Errorf(spec.AnsweredNo, "backup %d of %s is not as it was written: %s: %s", b.ID, r.app.Name, at(r.to.service, c.Path), c.Why)
	})
}

// filesAtOnce is how many files of a backup are read at a time.
const filesAtOnce = 4

// verifyTable reads every file of a table of a backup; the first that is bad makes the error.
func verifyTable(ctx context.Context, w spec.Work, s blockStore, b *coldbackup.Backup, t *coldbackup.Table, wrong func(coldbackup.Checked) error) error {
	size, files := t.Size()
	f := spec.Figures{Total: int64(files), Unit: "files", TotalBytes: size}
	var first error
	err := coldbackup.Verify(ctx, s, b, []*coldbackup.Table{t}, filesAtOnce, func(c coldbackup.Checked) error {
		f.Done, f.Bytes = min(f.Done+1, f.Total), min(f.Bytes+c.Size, size)
		w.Show(f)
		if first == nil && (c.Verdict == coldbackup.Damaged || c.Verdict == coldbackup.Missing) {
			first = wrong(c)
		}
		return nil
	})
	if err == nil {
		err = first
	}
	return err
}

var backupResultColumns = []spec.Column{
	{Name: "backup_id", Kind: spec.Int},
	{Name: "app_name"},
	{Name: "app_id", Kind: spec.Int},
	{Name: "status"},
	{Name: "partition_count", Kind: spec.Int},
	{Name: "files", Kind: spec.Int},
	{Name: "size", Kind: spec.Size},
	{Name: "checked"},
	{Name: "side_car", Kind: spec.Bool},
	{Name: "path"},
}

// answer describes the backup, and says how a table is made of it.
func (x *tableBackup) answer() *spec.Table {
	r := x.result
	if r.id == 0 { // it was not followed
		r.id, r.status, r.checked = x.begun, "begun", "no"
	}
	t := spec.Record(backupResultColumns, r.id, x.app.Name, x.app.ID, r.status, x.app.Partitions, r.files, r.size, r.checked, r.sideCar, commands.Word(r.dir))
	t.Notes = func() []string {
		switch {
		case r.status == "begun":
			return []string{fmt.Sprintf("it is not followed: query_backup %s shows it, backup %s --follow %d follows it", x.app.Name, strings.TrimSpace(x.app.Name+" "+x.to.service+" "+x.to.path), r.id)}
		case r.status == "complete":
			return []string{"to make a table of it: " + x.restoreLine(r)}
		}
		return nil
	}
	return t
}

// restoreLine is what restores the backup.
func (x *tableBackup) restoreLine(r backupResult) string {
	root := path.Base(path.Dir(strings.TrimPrefix(r.dir, x.to.service+":/")))
	line := fmt.Sprintf("restore -c %s -a %s -i %d -t %s -b %s -n %s_restored", shown(root), x.app.Name, x.app.ID, strconv.FormatInt(r.id, 10), x.to.service, x.app.Name)
	if x.to.path != "" {
		line += " -r " + shown(x.to.path)
	}
	return line
}

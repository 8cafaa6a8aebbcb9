package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"shardsh/cluster/openmldb"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// Writer is what a restore asks of a driver.
type Writer interface {
	Reader
	Create(ctx context.Context, table openmldb.NewTable) error
	CopySink(table openmldb.TableName, o openmldb.CopySinkOptions) *openmldb.CopySink
}

// RestoreOptions say what becomes of a backup.
type RestoreOptions struct {
	What string // is being done, for errors
	// Target is the table to be created.
	Target openmldb.NewTable
	// Add puts the rows into a table of that name that is there, but those that it has.
	Add      bool
	Parallel int // how many files are held in memory
	Patience time.Duration
}

// restoreState is the journal of a Restore.
type restoreState struct {
	Version int
	// TableID is the table that is written to, 0 while it is being created.
	TableID uint32          `json:",omitempty"`
	Copy    json.RawMessage `json:",omitempty"` // as openmldb.CopyTable saved it
}

const restoreVersion = 1

// Restore puts the rows of a backup into a table, which it creates: with their times, and into each index those it had.
// The table must not be there, unless the journal says that this work creates it, or Add is set.
func Restore(
	ctx context.Context, d Writer, s storage.Service, dir string, m *Manifest, o RestoreOptions, w spec.Work,
) (transfer.Totals, error) {
	r := &restorer{}
	r.Inside = transfer.NewInside(w, &r.state.Copy, &r.state)
	found, err := w.Restore(&r.state)
	if err != nil {
		return transfer.Totals{}, err
	}
	if found && r.state.Version != restoreVersion {
		return transfer.Totals{}, spec.Errorf(spec.Failed, "the journal is of version %d", r.state.Version).WithHint("start a new restore")
	}
	if r.state.TableID == 0 {
		if err := r.create(ctx, d, m, o, found); err != nil {
			return transfer.Totals{}, err
		}
	}
	saved, err := newSaved(m)
	if err != nil {
		return transfer.Totals{}, err
	}
	src := NewSource(s, dir, m, o.Parallel)
	dst := d.CopySink(o.Target.TableName, openmldb.CopySinkOptions{TableID: r.state.TableID, Index: saved.places.first, Keep: o.Add})
	totals, err := openmldb.CopyTable(ctx, src, dst, transfer.CopyOptions{
		What: o.What, Into: fmt.Sprintf("%s with id %d", o.Target.TableName, r.state.TableID), Patience: o.Patience,
	}, r)
	if err != nil {
		return totals, err
	}
	stored, _ := m.Stored()
	if done := totals.Rows + totals.Kept + totals.Unsure; done != stored {
		return totals, spec.Errorf(spec.Failed, "%s: %d rows were put, and the backup has %d", o.What, done, stored)
	}
	w.Detail("%s", restored(totals))
	return totals, nil
}

// restored says in words what was done.
func restored(t transfer.Totals) string {
	text := fmt.Sprintf("%d rows put", t.Rows)
	if t.Kept > 0 {
		text += fmt.Sprintf(", %d were there", t.Kept)
	}
	if t.Unsure > 0 {
		text += fmt.Sprintf(", %d put or there, which cannot be told", t.Unsure)
	}
	if t.Retries > 0 {
		text += fmt.Sprintf(", %d retries", t.Retries)
	}
	return text
}

// restorer is the Work of the rows, inside of that of the restore.
type restorer struct {
	*transfer.Inside
	state restoreState
}

// Taken refuses a table that is there.
func Taken(name openmldb.TableName) error {
	return spec.Errorf(spec.Refused, "there is a table %s", name).
		WithHint("--as restores it under another name; --add puts the rows that it lacks into it; drop %s removes it", name)
}

// create sees to the table, and notes its id. begun says that a run before this one may have created it.
func (r *restorer) create(ctx context.Context, d Writer, m *Manifest, o RestoreOptions, begun bool) error {
	t, err := d.Describe(ctx, o.Target.TableName)
	there := err == nil
	if err != nil && spec.KindOf(err) != spec.NotFound {
		return err
	}
	if there && !begun && !o.Add {
		return Taken(o.Target.TableName)
	}
	if !begun {
		r.state = restoreState{Version: restoreVersion}
		if err := r.Work.Save(&r.state); err != nil {
			return err
		}
	}
	if !there {
		if t, err = createTable(ctx, d, o.Target); err != nil {
			return err
		}
	}
	if err := Fits(m, t); err != nil {
		return err
	}
	r.state.TableID = t.ID
	return r.Work.Save(&r.state)
}

func createTable(ctx context.Context, d Writer, want openmldb.NewTable) (*openmldb.Table, error) {
	cerr := d.Create(ctx, want)
	if cerr != nil && spec.KindOf(cerr) != spec.UnknownOutcome {
		return nil, cerr
	}
	t, err := d.Describe(ctx, want.TableName)
	if err != nil && cerr != nil {
		return nil, errors.Join(cerr, err)
	}
	return t, err
}

// Fits says why the rows of a backup cannot be put into a table, nil when they can.
func Fits(m *Manifest, t *openmldb.Table) error {
	was, err := m.Saved()
	if err != nil {
		return err
	}
	was.TableName = openmldb.TableName{DB: m.Table.DB, Name: m.Table.Name + " as it was"}
	if err := openmldb.SameLayout(was, t); err != nil {
		return err
	}
	for _, x := range was.Indexes {
		if err := openmldb.SameIndex(t, x); err != nil {
			return err
		}
	}
	for _, x := range t.Indexes {
		if !slices.ContainsFunc(was.Indexes, func(o openmldb.Index) bool { return o.Name == x.Name }) {
			return spec.Errorf(spec.Refused, "%s has an index %s, which the backup knows nothing of: rows would not be found by it", t.TableName, x.Name)
		}
	}
	return nil
}

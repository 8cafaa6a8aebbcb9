package openmldb

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"shardsh/cluster/openmldb/backup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

var backupPlaceArg = spec.Arg{
	Name: "backup", Kind: spec.ArgLocation, Help: "SERVICE:PATH of the backup's folder, or of one above it that holds no other backup",
}

// VerifyBackup reads a backup whole.
func VerifyBackup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "verify_backup",
		Systems: systems,
		Topic:   "storage", Offline: true,
		Summary: "read a backup of a table whole and compare it with its checksums",
		Long: "Reads every file that the manifest lists, and compares its size and SHA-256; compares the manifest with SHA256SUMS; decodes every row, counts them, and makes " +
			"sure that they add up to what each index of the table had. Shows the files that are not ok; the exit code is 7 when one is damaged or missing, when the backup " +
			"was not finished, or when there is a file that nothing lists. Every file is protected: sha256sum -c SHA256SUMS finds the same.",
		Args: []spec.Arg{backupPlaceArg},
		Flags: []spec.Flag{
			{Name: "all", Kind: spec.ArgBool, Help: "show files that are ok, too"},
			backupParallel,
		},
		Examples: []spec.Example{
			{Line: "verify_backup disk:/backup/demo_db.orders", Says: "whether it can be relied on", Setup: demoBackup},
		},
		SeeAlso: []string{"ls_backup", "restore", "backup"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			parallel, err := commands.Parallel(call, backupParallel.Name)
			if err != nil {
				return nil, err
			}
			s, l, err := commands.Locate(ctx, env, call, 0)
			if err != nil {
				return nil, err
			}
			v := &verification{s: s, l: l, parallel: parallel, all: call.Bool("all")}
			found, err := findBackups(ctx, s, l)
			if err == nil {
				err = v.pick(found)
			}
			if err != nil {
				return nil, err
			}
			return &spec.Table{
				Columns: []spec.Column{{Name: "path"}, {Name: "size", Kind: spec.Size}, {Name: "rows", Kind: spec.Int}, {Name: "verdict"}, {Name: "why"}},
				Rows:    func(yield func(spec.Row, error) bool) { v.run(ctx, yield) },
				Notes:   v.notes,
			}, nil
		},
	}
}

// findBackups finds the backups in a folder and below it; none is an error.
func findBackups(ctx context.Context, s storage.Service, l storage.Location) ([]backup.Found, error) {
	const most = 1000
	var all []backup.Found
	for f, err := range backup.List(ctx, s, l.Path) {
		if err != nil {
			return nil, err
		}
		if all = append(all, f); len(all) > most {
			return nil, spec.Errorf(spec.Usage, "%s holds more than %d backups", l, most).WithHint("name the folder of one")
		}
	}
	if all == nil {
		return nil, spec.Errorf(spec.NotFound, "%s holds no backup", l).WithHint("ls_backup %s:/ finds them", l.Service)
	}
	return all, nil
}

// severalBackups asks to choose among backups.
func severalBackups(l storage.Location, all []backup.Found) error {
	const shownAtMost = 5
	var names []string
	for _, f := range all[:min(len(all), shownAtMost)] {
		names = append(names, storage.Location{Service: l.Service, Path: f.Dir}.String())
	}
	return spec.Errorf(spec.Usage, "%s holds several backups", l).WithHint("name one of %s", strings.Join(names, ", "))
}

type verification struct {
	s        storage.Service
	l        storage.Location
	found    backup.Found
	parallel int
	all      bool

	files, bad int
	bytes      int64
	first      backup.Checked // that is bad
}

func (v *verification) pick(all []backup.Found) error {
	if len(all) > 1 {
		return severalBackups(v.l, all)
	}
	v.found = all[0]
	v.l.Path = v.found.Dir
	return nil
}

var errEnough = errors.New("nobody reads on")

func (v *verification) run(ctx context.Context, yield func(spec.Row, error) bool) {
	err := v.verify(ctx, func(c backup.Checked) error {
		v.files++
		v.bytes += c.Size
		verdict := "ok"
		switch {
		case c.Stray:
			verdict = "stray"
		case c.Why == "it is missing":
			verdict = "missing"
		case c.Why != "":
			verdict = "damaged"
		}
		if c.Why != "" {
			if v.bad == 0 {
				v.first = c
			}
			v.bad++
		} else if !v.all {
			return nil
		}
		row := spec.Row{storage.Location{Service: v.l.Service, Path: c.Path}.String(), c.Size, c.Rows, verdict, nil}
		if c.Rows < 0 {
			row[2] = nil
		}
		if c.Why != "" {
			row[4] = c.Why
		}
		if !yield(row, nil) {
			return errEnough
		}
		return nil
	})
	if err == nil && v.bad > 0 {
		more := ""
		if v.bad > 1 {
			more = fmt.Sprintf(" (and %d more)", v.bad-1)
		}
		err = spec.Errorf(spec.AnsweredNo, "the backup is not as it was written: %s: %s%s",
			storage.Location{Service: v.l.Service, Path: v.first.Path}, v.first.Why, more)
	}
	if err != nil && !errors.Is(err, errEnough) {
		yield(nil, err)
	}
}

// verify hands over the files, also where there is no manifest to go by.
func (v *verification) verify(ctx context.Context, each func(backup.Checked) error) error {
	if v.found.Manifest != nil {
		return backup.Verify(ctx, v.s, v.l.Path, v.found.Manifest, v.parallel, each)
	}
	name, why, ok := strings.Cut(v.found.Why, ": ")
	if !ok {
		name, why = backup.ManifestFile, "it is missing"
	}
	return each(backup.Checked{Path: path.Join(v.l.Path, name), Rows: -1, Why: why})
}

func (v *verification) notes() []string {
	return []string{fmt.Sprintf("%s with %d bytes were read, %d are bad", commands.Plural(v.files, "file"), v.bytes, v.bad)}
}

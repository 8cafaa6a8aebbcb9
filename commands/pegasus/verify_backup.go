package pegasus

import (
	"context"
	"errors"
	"fmt"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// VerifyBackup reads a backup whole.
func VerifyBackup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "verify_backup",
		Systems: systems,
		Topic:   "storage", Offline: true,
		Summary: "read a cold backup whole and compare it with its checksums",
		Long: "Reads every file that the backup lists and compares size and MD5; compares the documents with each other and with the folders; makes sure that every file " +
			"the databases need is listed. Shows the files that are not ok; the exit code is 7 when one is damaged or missing. Pegasus protects its documents by no checksum: " +
			"they are compared with what the service tells, or with the side-car that shardsh adds to its backups; those for which there is neither are well-formed, agree " +
			"with each other, and are shown as unprotected.",
		Args: []spec.Arg{backupArg},
		Flags: []spec.Flag{
			ofTable,
			{Name: "all", Kind: spec.ArgBool, Help: "show files that are ok, too"},
			{Name: "parallel", Kind: spec.ArgInt, Default: "4", Help: "how many files are read at once"},
		},
		Examples: []spec.Example{{Line: "verify_backup " + onebackup, Says: "whether it can be relied on", Setup: backupHere}},
		SeeAlso:  []string{"ls_backup", "get_backup", "rm_backup"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			parallel, err := commands.Parallel(call, "parallel")
			if err != nil {
				return nil, err
			}
			s, l, b, err := openBackup(ctx, env, call)
			if err != nil {
				return nil, err
			}
			tables, err := pickTables(call, b)
			if err != nil {
				return nil, err
			}
			v := &verification{s: s, service: l.Service, backup: b, tables: tables, parallel: parallel, all: call.Bool("all")}
			return &spec.Table{
				Columns: []spec.Column{{Name: "path"}, {Name: "size", Kind: spec.Size}, {Name: "verdict"}, {Name: "why"}},
				Rows:    func(yield func(spec.Row, error) bool) { v.run(ctx, yield) },
				Notes:   v.notes,
			}, nil
		},
	}
}

type verification struct {
	s        blockStore
	service  string
	backup   *coldbackup.Backup
	tables   []*coldbackup.Table
	parallel int
	all      bool

	files, unprotected, bad int
	bytes                   int64
	first                   coldbackup.Checked // that is bad
}

var errEnough = errors.New("nobody reads on")

func (v *verification) run(ctx context.Context, yield func(spec.Row, error) bool) {
	err := coldbackup.Verify(ctx, v.s, v.backup, v.tables, v.parallel, func(c coldbackup.Checked) error {
		v.files++
		v.bytes += c.Size
		switch c.Verdict {
		case coldbackup.Unprotected:
			v.unprotected++
		case coldbackup.Damaged, coldbackup.Missing:
			if v.bad == 0 || c.Path < v.first.Path {
				v.first = c
			}
			v.bad++
		}
		if c.Verdict == coldbackup.OK && !v.all {
			return nil
		}
		if !yield(spec.Row{at(v.service, c.Path), c.Size, string(c.Verdict), commands.Word(c.Why)}, nil) {
			return errEnough
		}
		return nil
	})
	if err == nil {
		err = v.verdict()
	}
	if err != nil && !errors.Is(err, errEnough) {
		yield(nil, err)
	}
}

func (v *verification) verdict() error {
	if v.bad == 0 && len(v.tables) > 0 {
		return nil
	}
	what := fmt.Sprintf("backup %d is not as it was written", v.backup.ID)
	if v.bad == 0 {
		return spec.Errorf(spec.AnsweredNo, "%s: it has no table", what)
	}
	more := ""
	if v.bad > 1 {
		more = fmt.Sprintf(" (and %d more)", v.bad-1)
	}
	return spec.Errorf(spec.AnsweredNo, "%s: %s: %s%s", what, at(v.service, v.first.Path), v.first.Why, more)
}

func (v *verification) notes() []string {
	notes := []string{fmt.Sprintf("%d files with %d bytes were read, %d are bad", v.files, v.bytes, v.bad)}
	if v.unprotected > 0 {
		notes = append(notes, fmt.Sprintf("%d files are unprotected: they agree with the others, and nothing has their checksum", v.unprotected))
	}
	return notes
}

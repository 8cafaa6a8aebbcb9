package pegasus

import (
	"context"
	"fmt"
	"path"
	"strings"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// RmBackup removes a backup.
func RmBackup(env commands.Env) spec.Command {
	return spec.Command{
		Name: "rm_backup", Aliases: []string{"delete_backup"},
		Systems: systems,
		Topic:   "storage", Offline: true,
		Summary: "remove a cold backup from a block service",
		Long: "Lists every file that it would remove, and asks for the place to be typed. Only the folder of one backup is removed, the one that is named like its id: never " +
			"a folder above it, and never one that is no backup. Broken and unfinished backups are removed, too; one that still runs writes on, and " +
			"must have ended first.",
		Args: []spec.Arg{{Name: "backup", Kind: spec.ArgLocation, Help: "SERVICE:PATH of the backup's own folder"}},
		Examples: []spec.Example{
			{Line: "rm_backup " + onebackup + " --yes=" + onebackup, Says: "a backup that is no longer needed", Setup: backupHere},
		},
		SeeAlso: []string{"ls_backup", "verify_backup", "fs rm"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			s, l, err := openBackups(ctx, env, call)
			if err != nil {
				return nil, err
			}
			b, err := coldbackup.Load(ctx, s, l.Path)
			if spec.KindOf(err) == spec.NotFound && err != nil {
				err = spec.Errorf(spec.NotFound, "%s is no backup", l).WithHint("ls_backup %s:/ finds them; fs rm removes anything else", l.Service)
			}
			if err != nil {
				return nil, err
			}
			return removeBackup(ctx, s, l, b)
		},
	}
}

func removeBackup(ctx context.Context, s blockStore, l storage.Location, b *coldbackup.Backup) (*spec.Plan, error) {
	plan := &spec.Plan{Title: fmt.Sprintf("remove backup %d of %s", b.ID, tableNames(b)), Name: l.String()}
	if len(b.Tables) == 0 {
		plan.Title = fmt.Sprintf("remove what there is of backup %d", b.ID)
	}
	var files int
	var size int64
	for e, err := range storage.Walk(ctx, s.Service, b.Dir) {
		switch {
		case err != nil:
			return nil, err
		case !strings.HasPrefix(e.Path, b.Dir+"/"):
			return nil, spec.Errorf(spec.Failed, "%s lists %s, which is not below it", l, e.Path)
		case e.Dir:
			continue
		}
		files++
		size += e.Size
		step := commands.RemoveFileStep(s.Service, l.Service, e)
		if path.Dir(e.Path) == b.Dir && e.Name == "backup_info" {
			plan.Steps = append([]spec.Step{step}, plan.Steps...) // what is left after a stop is no complete backup
			continue
		}
		plan.Steps = append(plan.Steps, step)
	}
	plan.Steps = append(plan.Steps, spec.Step{
		Text: "remove the empty folders", Objects: []string{l.String()}, Class: spec.Destroy,
		Check: func(ctx context.Context) (spec.State, error) {
			return commands.DoneWhenGone(ctx, s.Service, b.Dir, "it is gone")
		},
		Apply: func(ctx context.Context, _ spec.Report) error { return storage.RemoveEmpty(ctx, s.Service, b.Dir) },
	})
	plan.Notes = []string{fmt.Sprintf("%d files, %d bytes", files, size)}
	if !b.Complete() {
		plan.Notes = append(plan.Notes, "it never ended, or runs still: make sure that no server writes it any more (cold.backup.max.upload.file.size is 0 on every node)")
	}
	return plan, nil
}

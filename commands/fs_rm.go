package commands

import (
	"context"
	"fmt"

	"shardsh/commands/spec"
	"shardsh/storage"
)

// FSRm removes files of a block service.
func FSRm(env Env) spec.Command {
	return spec.Command{
		Name: "fs rm", Topic: "storage", Offline: true,
		Summary: "remove a file or directory of a block service",
		Long: "Lists everything that it would remove, and asks for the place to be typed as SERVICE:/PATH. What is removed is gone: block services keep no old " +
			"versions unless they are told to.",
		Args:  []spec.Arg{locationArg("place", "SERVICE:PATH")},
		Flags: []spec.Flag{{Name: "recursive", Short: "r", Kind: spec.ArgBool, Help: "a directory with all that is below it"}},
		Examples: []spec.Example{
			{Line: "fs rm disk:/exports/rows.json --yes=disk:/exports/rows.json", Says: "a file", Setup: putSetup},
			{Line: "fs rm -r disk:/exports --yes=disk:/exports", Says: "a directory", Setup: putSetup},
		},
		SeeAlso: []string{"fs ls", "fs copy"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return removePlan(ctx, env, call)
		},
	}
}

func removePlan(ctx context.Context, env Env, call *spec.Call) (*spec.Plan, error) {
	s, l, err := Locate(ctx, env, call, 0)
	if err != nil {
		return nil, err
	}
	if l.Path == "" {
		return nil, spec.Errorf(spec.Usage, "the root of %s is not removed", l.Service).WithHint("name what is below it: fs ls %s:/", l.Service)
	}
	top, err := s.Stat(ctx, l.Path)
	if err != nil {
		return nil, err
	}
	if top.Dir && !call.Bool("recursive") {
		return nil, spec.Errorf(spec.Usage, "%s is a directory", l).WithHint("fs rm -r %s removes it with all that is below it", l)
	}
	plan := &spec.Plan{Title: "remove " + l.String(), Name: l.String()}
	var files int
	var size int64
	for e, err := range storage.Walk(ctx, s, l.Path) {
		if err != nil {
			return nil, err
		}
		if e.Dir {
			continue
		}
		files++
		size += e.Size
		plan.Steps = append(plan.Steps, RemoveFileStep(s, l.Service, e))
	}
	if top.Dir {
		plan.Steps = append(plan.Steps, removeDirsStep(s, l))
		plan.Notes = []string{fmt.Sprintf("%s, %d bytes", Plural(files, "file"), size)}
	}
	return plan, nil
}

// RemoveFileStep removes a file of a block service.
func RemoveFileStep(s storage.Service, service string, e storage.Entry) spec.Step {
	at := storage.Location{Service: service, Path: e.Path}
	return spec.Step{
		Text: fmt.Sprintf("remove a file of %d bytes", e.Size), Objects: []string{at.String()}, Class: spec.Destroy,
		Check: func(ctx context.Context) (spec.State, error) { return DoneWhenGone(ctx, s, e.Path, "it is gone") },
		Apply: func(ctx context.Context, _ spec.Report) error { return s.Remove(ctx, e.Path) },
	}
}

// DoneWhenGone is the Check of a step that removes something of a block service.
func DoneWhenGone(ctx context.Context, s storage.Service, name, why string) (spec.State, error) {
	there, err := storage.Exists(ctx, s, name)
	if err != nil || there {
		return spec.State{}, err
	}
	return spec.State{Kind: spec.Done, Why: why}, nil
}

// removeDirsStep removes the directories that are left. Files that somebody wrote meanwhile keep theirs, and are named.
func removeDirsStep(s storage.Service, l storage.Location) spec.Step {
	return spec.Step{
		Text: "remove the empty directories", Objects: []string{l.String()}, Class: spec.Destroy,
		Check: func(ctx context.Context) (spec.State, error) { return DoneWhenGone(ctx, s, l.Path, "there are none") },
		Apply: func(ctx context.Context, _ spec.Report) error {
			return storage.RemoveEmpty(ctx, s, l.Path)
		},
	}
}

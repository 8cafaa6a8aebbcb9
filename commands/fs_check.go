package commands

import (
	"context"

	"shardsh/commands/spec"
	"shardsh/storage"
)

// FSCheck tries a block service.
func FSCheck(env Env) spec.Command {
	return spec.Command{
		Name: "fs check", Topic: "storage", Offline: true,
		Summary: "try a block service: write, list, read back and delete a small file",
		Long: "Writes a probe of 64 KiB into a directory of its own in the root of the service, lists it, reads it back, compares and deletes it. Where that fails it says in one " +
			"line what is wrong: the keys, the bucket, the rights, the clock, the name of the host, the certificate, the space; the exit code is 4 when the service could " +
			"not be reached, and 1 when it refused. In the end it is asked how much room it has, where it can tell. It is tried from this machine: a server may see another network.",
		Args:     []spec.Arg{{Name: "service", Kind: spec.ArgService, Help: "the name of a block service"}},
		Examples: []spec.Example{{Line: "fs check disk", Says: "whether the service disk can be used"}},
		SeeAlso:  []string{"block_services", "fs ls"},
		Change: func(_ context.Context, call *spec.Call) (*spec.Plan, error) {
			name := call.Arg(0)
			var steps []storage.CheckStep
			room := ""
			return &spec.Plan{
				Title: "check block service " + name,
				Steps: []spec.Step{{
					Text: "write, list, read and delete a probe", Objects: []string{name}, Class: spec.Alter,
					Apply: func(ctx context.Context, report spec.Report) error {
						s, err := env.Block(ctx, name)
						if err != nil {
							return err
						}
						steps, err = storage.Check(ctx, s)
						if err != nil && len(steps) > 0 {
							report.Detail("%s failed", steps[len(steps)-1].Step)
						}
						if err == nil {
							room = roomDetail(ctx, s)
						}
						return err
					},
				}},
				Answers: func() *spec.Table {
					var rows []spec.Row
					for _, st := range steps {
						rows = append(rows, spec.Row{st.Step, st.Detail})
					}
					if room != "" {
						rows = append(rows, spec.Row{"room", room})
					}
					return &spec.Table{Columns: spec.Columns("step", "detail"), Rows: spec.RowsOf(rows...)}
				},
			}, nil
		},
	}
}

// roomDetail says how much room a service has that can be used. Not to tell is no fault of it.
func roomDetail(ctx context.Context, s storage.Service) string {
	r, err := askRoom(ctx, s, "")
	if err != nil {
		return "not known: " + reasonText(err)
	}
	return freeText(r) + " of " + spec.SizeText(r.Total)
}

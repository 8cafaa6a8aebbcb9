package dummy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster/dummy"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// counting is a job that counts to a number, one Save a step, and waits where a file says so; then it counts again.
type counting struct {
	to          int64
	gate, began string
	stubborn    bool // it does not look at its context
}

// count is a word whose job takes as long as a test wants.
func count(env commands.Env) spec.Command {
	return spec.Command{
		Name: "dummy_count", Systems: []string{"dummy"}, Topic: "rows",
		Summary: "count to a number, and once more",
		Long:    "Counts. It changes nothing but a file.",
		Args:    []spec.Arg{{Name: "to", Kind: spec.ArgInt}},
		Flags: []spec.Flag{
			{Name: "gate", Kind: spec.ArgFile, Help: "holds how far to count; more is waited for"},
			{Name: "began", Kind: spec.ArgFile, Help: "gets a line with where each run began"},
			{Name: "source", Kind: spec.ArgFile, Help: "holds what the source is"},
			{Name: "max-rate", Kind: spec.ArgRate, Help: "a limit"},
			{Name: "stubborn", Kind: spec.ArgBool, Help: "go on although it is told to end"},
			{Name: "password", Secret: true, Help: "a secret"},
		},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			d, err := commands.Driver[*dummy.Driver](ctx, env, call)
			if err != nil {
				return nil, err
			}
			if _, err := d.Tables(ctx); err != nil {
				return nil, err
			}
			source, err := content(call.String("source"))
			if err != nil {
				return nil, err
			}
			c := counting{call.ArgInt(0), call.String("gate"), call.String("began"), call.Bool("stubborn")}
			identity := map[string]string{"source": source, "to": call.Arg(0)}
			step := func(name string) spec.Step {
				return spec.Step{
					Text: name + " to " + call.Arg(0), Objects: []string{"first"}, Class: spec.Risky,
					Job: &spec.Job{
						Name: name, Identity: identity, Rate: call.Rate("max-rate"), RateStep: spec.Rate{Bytes: 5e6},
						Run: func(ctx context.Context, w spec.Work) error { return c.run(ctx, name, w) },
					},
				}
			}
			return &spec.Plan{
				Title: "count to " + call.Arg(0), Name: "first", Notes: []string{"counting is slow"},
				Steps: []spec.Step{step("count"), step("recount")},
			}, nil
		},
	}
}

func content(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}

func (c counting) run(ctx context.Context, name string, w spec.Work) error {
	var n int64
	if _, err := w.Restore(&n); err != nil {
		return err
	}
	if err := c.begin(name, n); err != nil {
		return err
	}
	show := func() {
		w.Show(spec.Figures{
			Done: n, Total: c.to, Unit: "rows", Bytes: 100 * n, PartsDone: int(4 * n / c.to), Parts: 4,
			Counts: []spec.Count{{Name: "skipped", N: n / 10}}, Held: "limit " + w.Rate().String(),
		})
	}
	for ; n < c.to; n++ {
		if err := c.wait(ctx, name, n, show); err != nil {
			return err
		}
		show()
		if err := w.Save(n + 1); err != nil {
			return err
		}
	}
	show()
	w.Detail("%s is over", name)
	return nil
}

func (c counting) begin(name string, n int64) error {
	if c.began == "" {
		return nil
	}
	f, err := os.OpenFile(c.began, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, name, n)
	return errors.Join(err, f.Close())
}

// wait waits until the gate of the job is beyond n: "count 40" in the file lets it go to 40, and "panic" breaks it.
func (c counting) wait(ctx context.Context, name string, n int64, show func()) error {
	if c.stubborn {
		ctx = context.WithoutCancel(ctx)
	}
	for c.gate != "" {
		text, err := content(c.gate)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		which, number, _ := strings.Cut(text, " ")
		if which == "panic" {
			panic("counting is broken")
		}
		if open, err := strconv.ParseInt(number, 10, 64); err == nil && (which != name || n < open) {
			break
		}
		show()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
	return ctx.Err()
}

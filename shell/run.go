package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/systems"
	"shardsh/commands/spec"
	"shardsh/shell/line"
	"shardsh/shell/render"
	"shardsh/shell/term"
)

// errExit ends the loop: the words exit, quit and \q answer it.
var errExit = errors.New("exit")

// run executes the commands of one logical line and stops at the first that fails.
func (s *Shell) run(ctx context.Context, cmds []line.Command) error {
	for _, cmd := range cmds {
		if err := s.runOne(ctx, cmd); err != nil {
			return err
		}
	}
	return nil
}

// runOne executes one command under a context that Ctrl-C cancels. A second Ctrl-C stops waiting for it.
func (s *Shell) runOne(parent context.Context, cmd line.Command) error {
	abandoned := make(chan struct{})
	ctx, stop := term.Running(parent, func() { close(abandoned) })
	defer stop()
	done := make(chan error, 1)
	started := time.Now()
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- s.crashed(r)
			}
		}()
		done <- s.command(ctx, cmd)
	}()
	var err error
	select {
	case err = <-done:
	case <-abandoned:
		s.unwatchKeys() // the prompt reads again
		return spec.Errorf(spec.Interrupted, "stopped waiting for the command; it was cancelled and may still be ending")
	}
	errors.As(term.CauseOf(ctx), &s.ended)
	if err != nil && ctx.Err() != nil && parent.Err() == nil && spec.KindOf(err) != spec.UnknownOutcome {
		err = &spec.Error{Kind: spec.Interrupted, Op: "interrupted", Err: err, Hint: spec.HintOf(err)}
	}
	s.showTiming(time.Since(started))
	return err
}

// slowCommand is from when on a command's time is worth a line although nobody asked (redis-cli's habit).
const slowCommand = 500 * time.Millisecond

func (s *Shell) showTiming(took time.Duration) {
	if timing := s.option("timing").Value; timing == "on" || timing == "auto" && s.terminal != nil && took >= slowCommand {
		fmt.Fprintf(s.stderr, "(%.3f s)\n", took.Seconds())
	}
}

// command expands one command, finds its word and its sink, and carries it out.
func (s *Shell) command(ctx context.Context, cmd line.Command) error {
	if cmd.Shell != "" {
		return s.osShell(ctx, cmd.Shell)
	}
	words, err := s.expand(cmd.Words)
	if err != nil || len(words) == 0 {
		return err
	}
	call, x, err := s.resolve(words)
	if err != nil {
		return err
	}
	if err := s.discreet(call, words); err != nil {
		return err
	}
	if cmd.Vertical {
		x.Output = "vertical"
	} else if cmd.JSON {
		x.Output = "json"
	}
	out, err := s.openSink(ctx, cmd)
	if err != nil {
		return err
	}
	if cmd.Pipe != "" {
		ctx = context.WithValue(ctx, unwatched{}, true)
	}
	err = out.close(s.carryOut(ctx, call, x, out))
	for _, text := range out.after {
		fmt.Fprintln(s.stderr, render.Escape(text))
	}
	return err
}

func (s *Shell) expand(words []line.Word) ([]string, error) {
	out := make([]string, 0, len(words))
	for _, w := range words {
		text, err := w.Expand(s.lookup)
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

// carryOut is the road: Call → Table → renderer, or Call → Plan → confirm → apply → Table → renderer.
func (s *Shell) carryOut(ctx context.Context, call *spec.Call, x extras, out *sink) error {
	if endsInLine(call.Command) && len(call.Args) > 0 && !x.Help {
		if _, inner, err := s.resolve(call.Args); err == nil {
			x = inner.over(x)
		}
	}
	format, err := s.format(x)
	if err != nil {
		return err
	}
	if x.Help {
		return s.render(ctx, s.helpFor([]*spec.Command{call.Command}), x, format, out)
	}
	if x.Timeout > 0 {
		s.callTimeout.Store(int64(x.Timeout))
		defer s.callTimeout.Store(0)
	}
	t, err := s.answer(ctx, call, x)
	if call.Command.Change != nil {
		ctx = context.WithoutCancel(ctx) // what was done is shown, also after Ctrl-C
	}
	if t != nil {
		if werr := s.render(ctx, t, x, format, out); werr != nil && (err == nil || ExitCode(werr) == ExitPipe) {
			return werr
		}
	}
	return err
}

// answer runs the command. A change that went wrong answers both the outcomes of its steps and an error.
func (s *Shell) answer(ctx context.Context, call *spec.Call, x extras) (*spec.Table, error) {
	c := call.Command
	planOnly := x.Plan || s.flags.plan
	if call.Changes() && !planOnly {
		if err := s.mayChange(c.Name); err != nil {
			return nil, err
		}
	}
	if !c.Offline {
		if err := s.able(ctx, call); err != nil {
			return nil, err
		}
	}
	if c.Query != nil {
		if x.Background && c.Name != jobResumeName {
			return nil, noBackground(c)
		}
		ctx = context.WithValue(ctx, lineExtras{}, x)
		t, err := c.Query(ctx, call)
		return t, s.dependency(err)
	}
	p, err := c.Change(ctx, call)
	if err != nil {
		return nil, s.dependency(err)
	}
	s.secrets.hidePlan(p)
	if planOnly {
		return s.showPlan(call, x, p)
	}
	if p.Class() > spec.Read {
		if err := s.mayChange(c.Name); err != nil {
			return nil, err
		}
	}
	return s.apply(ctx, call, x, p)
}

// lineExtras is the key of the extras of the line in the context of its Query: a word that runs another line hands them on.
type lineExtras struct{}

// able checks that a cluster is chosen and has the abilities the command needs. It dials nothing of the store's.
func (s *Shell) able(ctx context.Context, call *spec.Call) error {
	d, err := s.Open(ctx, call.Cluster)
	if err != nil {
		return err
	}
	for _, need := range call.Command.Needs {
		for _, a := range cluster.Abilities() {
			if a.Name == need && !a.Has(d) {
				return cluster.NotAble(s.session.system(), a, systems.All())
			}
		}
	}
	return nil
}

// format answers the format of one result: the line's own, then the session's.
func (s *Shell) format(x extras) (string, error) {
	name := x.Output
	if name == "" {
		name = s.option("output").Value
	}
	if !render.Known(name) {
		err := spec.Errorf(spec.Usage, "no format is called %q", name)
		return "", err.WithHint("formats: %s", strings.Join(formatNames(), ", "))
	}
	return name, nil
}

// render writes a table to its sink.
func (s *Shell) render(ctx context.Context, t *spec.Table, x extras, format string, out *sink) error {
	if t.Text != "" {
		if !slices.Contains([]string{"json", "jsonl", "yaml", "csv", "tsv"}, format) {
			_, err := io.WriteString(out, t.Text)
			return err
		}
		t = spec.Record(spec.Columns("text"), t.Text)
	}
	stats, err := render.Write(ctx, out, s.stderr, t, render.Options{
		Format: format, Terminal: out.terminal, Width: out.width(), Color: out.terminal && s.color && !out.plain,
		Filter: x.Filter, Sort: x.Sort, Columns: x.Columns, Raw: x.Raw || s.option("bytes").Bool(), EscapeAll: s.option("escape_all").Bool(),
	})
	if err == nil && out.terminal && !t.Single && len(t.More) == 0 && t.Notes == nil && s.terminal != nil {
		out.after = append(out.after, fmt.Sprintf("(%d %s)", stats.Rows, plural(stats.Rows, "row")))
	}
	for _, section := range append([]*spec.Table{t}, t.More...) {
		if section.Notes == nil || ExitCode(err) == ExitPipe {
			continue
		}
		out.after = append(out.after, section.Notes()...)
	}
	return err
}

func plural(n int64, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// unseen marks the context of what the shell does by itself: nobody asked for it, so it is not traced.
type unseen struct{}

// trace prints one call on the wire, when tracing is on.
func (s *Shell) trace(ctx context.Context, t cluster.Trace) {
	if s.tracing.Load() && ctx.Value(unseen{}) == nil {
		fmt.Fprintf(s.stderr, "trace %s %s %.1fms %s\n", t.Peer, t.Method, float64(t.Took.Microseconds())/1000, render.Escape(t.Code))
	}
}

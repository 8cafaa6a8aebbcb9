package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"shardsh/commands/spec"
	"shardsh/shell/line"
	"shardsh/shell/render"
	"shardsh/shell/term"
)

// maxDepth bounds source inside source.
const maxDepth = 16

func sourceWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "source", Topic: "shell", Offline: true,
		Summary: "run the lines of a file",
		Long:    "Runs a script in this session: it may change the cluster, the table and variables. It stops at the first line that fails.",
		Args:    []spec.Arg{{Name: "file", Kind: spec.ArgFile, Help: "lines as one would type them"}},
		Flags: []spec.Flag{
			{Name: "step", Kind: spec.ArgBool, Help: "show each line and ask before it runs; needs a terminal, and goes on after a failure"},
		},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			if s.depth >= maxDepth {
				return nil, spec.Errorf(spec.Usage, "scripts source each other more than %d deep", maxDepth)
			}
			f, err := os.Open(call.Arg(0))
			if err != nil {
				return nil, spec.Errorf(spec.Usage, "open the script: %w", err)
			}
			defer f.Close()
			s.depth++
			defer func() { s.depth-- }()
			if call.Bool("step") {
				return nil, s.step(ctx, f)
			}
			return nil, s.script(ctx, f, call.Arg(0))
		},
	}
}

// step runs the lines of a file one by one, each after it was agreed to at the terminal.
func (s *Shell) step(ctx context.Context, file io.Reader) error {
	if s.terminal == nil {
		return spec.Errorf(spec.Usage, "source --step needs a terminal")
	}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, line.Limit)
	before := s.reader
	defer func() { s.reader = before }()
	s.reader = term.NewStepper(func() (string, error) {
		if !lines.Scan() {
			return "", errors.Join(lines.Err(), io.EOF)
		}
		return lines.Text(), nil
	}, before)
	return errors.Join(s.loop(ctx), lines.Err())
}

// How often wait asks again.
const (
	waitFirst = 100 * time.Millisecond
	waitMost  = 2 * time.Second
	// waitRows bounds the result a condition is evaluated on.
	waitRows = 100_000
)

func waitWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "wait", Topic: "shell", Offline: true,
		Summary: "run a command again and again until its result satisfies an expression",
		Long: "The expression sees rows (a list), count, and the columns of a single record; any(rows, .state == \"x\") and " +
			"all(rows, …) look into the rows. Only commands that change nothing can be waited for. A row or a cluster that " +
			"is not there yet is waited for, too.",
		Flags: []spec.Flag{
			{Name: "within", Kind: spec.ArgDuration, Default: "60s", Help: "give up after this long (exit 7)"},
			{Name: "until", Required: true, Help: "the expression"},
		},
		Args: []spec.Arg{{Name: "command", Kind: spec.ArgLine, Repeated: true, Help: "a word that only reads, with its arguments"}},
		Examples: []spec.Example{
			{Line: "wait --until 'all(rows, .is_alive)' showtable TableA", Says: "until every replica is alive"},
			{Line: "wait --within 5s --until 'count >= 2' ls", Says: "until there are two tables"},
		},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			cond, err := render.CompileCondition(call.String("until"))
			if err != nil {
				return nil, err
			}
			inner, x, err := s.resolve(call.Args)
			if err != nil {
				return nil, err
			}
			if inner.Changes() {
				return nil, spec.Errorf(spec.Usage, "wait: %s changes something; only reading words can be waited for", inner.Command.Name)
			}
			return s.waitUntil(ctx, call, cond, inner, x)
		},
	}
}

func (s *Shell) waitUntil(ctx context.Context, call *spec.Call, cond *render.Condition, inner *spec.Call, x extras) (*spec.Table, error) {
	within := call.Duration("within")
	deadline, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	started := time.Now()
	report := s.newReport("wait for " + call.String("until"))
	defer report.end()
	for pause := waitFirst; ; pause = min(pause*2, waitMost) {
		t, snapshot, err := s.look(deadline, inner, x)
		if err == nil {
			var yes bool
			if yes, err = cond.Eval(snapshot); yes {
				return t, nil
			}
			if err != nil {
				return nil, err
			}
		} else if k := spec.KindOf(err); k != spec.NotFound && k != spec.Unavailable && deadline.Err() == nil {
			return nil, err
		}
		report.Progress(int64(time.Since(started).Seconds()), int64(within.Seconds()), "s")
		select {
		case <-time.After(pause):
		case <-deadline.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			no := spec.Errorf(spec.AnsweredNo, "wait: not true within %s: %s", within, call.String("until"))
			if err != nil {
				no = spec.Errorf(spec.AnsweredNo, "%w (last answer: %w)", no, err)
			}
			return nil, no
		}
	}
}

// look runs the command once and answers its result twice: to be shown, and to be looked into.
func (s *Shell) look(ctx context.Context, inner *spec.Call, x extras) (*spec.Table, *render.Snapshot, error) {
	t, err := s.answer(ctx, inner, x)
	if err != nil && (t == nil || spec.KindOf(err) != spec.AnsweredNo) {
		return nil, nil, err
	}
	if t == nil {
		return nil, nil, spec.Errorf(spec.Usage, "wait: %s answers nothing that could be looked at", inner.Command.Name)
	}
	for _, section := range append([]*spec.Table{t}, t.More...) {
		if err := hold(section); err != nil {
			return nil, nil, err
		}
	}
	snapshot, err := render.Collect(t, waitRows)
	return t, snapshot, err
}

// hold reads the rows of a table into memory, so that they can be ranged over again.
func hold(t *spec.Table) error {
	if t.Rows == nil {
		return nil
	}
	var rows []spec.Row
	for row, err := range t.Rows {
		if err != nil {
			return err
		}
		if rows = append(rows, row); len(rows) > waitRows {
			return spec.Errorf(spec.Usage, "wait: the result has more than %d rows", waitRows)
		}
	}
	t.Rows = spec.RowsOf(rows...)
	return nil
}

func holdsWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "holds", Topic: "shell", Offline: true,
		Summary: "list settings that plans keep at another value, or that a killed shell left so",
		Long:    "A plan may keep a setting at another value while it runs. What it was is on disk before it is changed, so that a killed shell loses nothing.",
		SeeAlso: []string{"holds restore"},
		Examples: []spec.Example{
			{Line: "holds", Says: "nothing, unless a plan is running or a shell was killed"},
		},
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			all, err := s.holds.list()
			if err != nil {
				return nil, err
			}
			var rows []spec.Row
			for _, l := range all {
				state := "left behind"
				switch {
				case l.active:
					state = "in force"
				case l.Kept:
					state = "kept on purpose"
				}
				rows = append(rows, spec.Row{l.Setting, l.Cluster, l.Was, l.During, state, l.Time, l.User, int64(l.PID), l.Line, l.Restore})
			}
			cols := spec.Columns("setting", "cluster", "was", "during", "state", "since", "user", "pid", "line", "restore")
			cols[5].Kind, cols[7].Kind = spec.Time, spec.Int
			return &spec.Table{Columns: cols, Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

func holdsRestoreWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "holds restore", Topic: "shell", Offline: true,
		Summary: "put back what a killed shell left at another value",
		Long:    "Runs, for each hold whose shell is gone, the line that puts the setting back, on the cluster it was taken on.",
		SeeAlso: []string{"holds"},
		Change: func(context.Context, *spec.Call) (*spec.Plan, error) {
			all, err := s.holds.list()
			if err != nil {
				return nil, err
			}
			p := &spec.Plan{Title: "put back the settings left by killed shells"}
			for _, l := range all {
				if !l.active {
					p.Steps = append(p.Steps, s.restoreStep(l))
				}
			}
			return p, nil
		},
	}
}

func (s *Shell) restoreStep(l left) spec.Step {
	return spec.Step{
		Text: fmt.Sprintf("put %s back to %s: %s", l.Setting, l.Was, l.Restore), Objects: []string{l.Cluster}, Class: spec.Risky,
		Apply: func(ctx context.Context, _ spec.Report) error {
			if err := s.restoreHold(ctx, l); err != nil {
				return err
			}
			return l.remove()
		},
	}
}

// restoreHold runs the line that puts a setting back, on the cluster it was taken on.
func (s *Shell) restoreHold(ctx context.Context, l left) error {
	words, err := plainWords(l.Restore)
	if err != nil {
		return err
	}
	if l.Cluster != "" {
		back := s.session.aside()
		defer back()
		if err := s.choose(l.Cluster); err != nil {
			return err
		}
	}
	call, _, err := s.resolve(words)
	if err != nil {
		return err
	}
	call.Line = l.Restore
	yes := ""
	_, err = s.answer(ctx, call, extras{Yes: &yes})
	return err
}

// plainWords splits a recorded line that holds one command without variables.
func plainWords(text string) ([]string, error) {
	cmds, err := line.Parse(text)
	if err != nil {
		return nil, err
	}
	var words []string
	for _, cmd := range cmds {
		for _, w := range cmd.Words {
			word, ok := w.Literal()
			if !ok {
				return nil, spec.Errorf(spec.Usage, "%q holds a variable", text)
			}
			words = append(words, word)
		}
	}
	if len(cmds) != 1 || len(words) == 0 {
		return nil, spec.Errorf(spec.Usage, "%q is not one command", text)
	}
	return words, nil
}

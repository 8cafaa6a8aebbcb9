package shell

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"shardsh/commands/spec"
	"shardsh/shell/line"
	"shardsh/shell/render"
)

func watchWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "watch", Topic: "shell", Offline: true,
		Summary: "run a reading command again and again, changed cells marked",
		Long:    "On a terminal the screen is redrawn, and cells that changed since the last time stand out. Ctrl-C ends it. Elsewhere one result follows the other.",
		Flags: []spec.Flag{
			{Name: "interval", Short: "n", Kind: spec.ArgDuration, Default: "2s", Help: "time between two runs"},
			{Name: "times", Kind: spec.ArgInt, Default: "0", Help: "stop after so many runs; 0 goes on until Ctrl-C"},
		},
		Args:     []spec.Arg{{Name: "command", Kind: spec.ArgLine, Repeated: true, Help: "a word that only reads, with its arguments"}},
		Examples: []spec.Example{{Line: "watch -n 1 --times 2 nodes", Says: "the nodes, twice, a second apart"}},
		SeeAlso:  []string{"wait"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			inner, x, err := s.resolve(call.Args)
			if err != nil {
				return nil, err
			}
			if inner.Changes() || inner.Command.Offline && endsInLine(inner.Command) {
				return nil, spec.Errorf(spec.Usage, "watch: %s is not a word that only reads", inner.Command.Name)
			}
			inner.Line = s.secrets.hide(line.QuoteAll(call.Args))
			return nil, s.watch(ctx, call, inner, x)
		},
	}
}

// watch redraws the result of a command. An error is shown in its place, and tried again: what one watches may be down.
func (s *Shell) watch(ctx context.Context, call, inner *spec.Call, x extras) error {
	format, err := s.format(x)
	if err != nil {
		return err
	}
	screen := s.terminal != nil && s.outTerminal && !s.dumb
	before := ""
	for n := int64(1); ; n++ {
		var text strings.Builder
		out := &sink{Writer: s.stdout, terminal: s.outTerminal, width: s.width}
		if screen {
			out = &sink{Writer: &text, terminal: true, width: s.width, plain: true}
		}
		t, err := s.answer(ctx, inner, x)
		if err == nil && t != nil {
			err = s.render(ctx, t, x, format, out)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !screen {
			return err
		}
		if screen {
			s.redraw(call, inner, mark(text.String(), before), err)
			before = text.String()
		}
		if n == call.Int("times") {
			return nil
		}
		select {
		case <-time.After(call.Duration("interval")):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// redraw clears the screen and shows as much of a result as fits.
func (s *Shell) redraw(call, inner *spec.Call, text string, err error) {
	head := fmt.Sprintf("every %s: %s — %s, Ctrl-C ends", call.Duration("interval"), inner.Line, time.Now().Format(time.TimeOnly))
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if err != nil {
		lines = append([]string{render.Escape(s.secrets.hide(err.Error()))}, lines...)
	}
	if room := s.terminal.Height() - 2; len(lines) > room && room > 1 {
		more := len(lines) - room + 1
		lines = append(lines[:room-1], fmt.Sprintf("… %d more lines", more))
	}
	fmt.Fprintf(s.stdout, "\x1b[H\x1b[2J%s\n%s\n", render.Escape(head), strings.Join(lines, "\n"))
}

// field is a run of text in a line of a table: what stands between two blanks or more, or borders.
var field = regexp.MustCompile(`[^ |+](?:[^|]?[^ |])*`)

// mark puts the fields that differ from the same line before in reverse video.
func mark(text, before string) string {
	if before == "" {
		return text
	}
	old := strings.Split(before, "\n")
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		var was []string
		if i < len(old) {
			was = field.FindAllString(old[i], -1)
		}
		n := 0
		lines[i] = field.ReplaceAllStringFunc(l, func(now string) string {
			n++
			if n <= len(was) && was[n-1] == now || strings.Trim(now, "-") == "" {
				return now
			}
			return "\x1b[7m" + now + "\x1b[27m"
		})
	}
	return strings.Join(lines, "\n")
}

func editWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "edit", Topic: "shell", Offline: true,
		Summary: "write lines in $EDITOR and run them",
		Long:    "Opens the editor on the last line of the history, or on a file. What is saved is run like a script when the editor ends; an empty file runs nothing.",
		Args:    []spec.Arg{{Name: "file", Kind: spec.ArgFile, Optional: true, Help: "a file to change and run, instead of the last line"}},
		SeeAlso: []string{"source", "history"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			if s.terminal == nil {
				return nil, spec.Errorf(spec.Usage, "edit needs a terminal").WithHint("source FILE runs a script")
			}
			return nil, s.edit(ctx, call.Arg(0))
		},
	}
}

func (s *Shell) edit(ctx context.Context, name string) error {
	if name == "" {
		dir, err := os.MkdirTemp("", "shardsh")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		name = filepath.Join(dir, "lines.txt")
		last := ""
		if lines := s.history.recent(); len(lines) > 0 {
			last = lines[len(lines)-1] + "\n"
		}
		if err := os.WriteFile(name, []byte(last), 0o600); err != nil {
			return err
		}
	}
	editor := os.Getenv("VISUAL")
	if editor == "" {
		editor = os.Getenv("EDITOR")
	}
	if editor == "" {
		editor = "vi"
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", editor+` "$1"`, "sh", name)
	if os.Getenv("ComSpec") != "" {
		cmd = exec.CommandContext(ctx, editor, name)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, s.stdout, s.stderr.w
	if err := cmd.Run(); err != nil {
		return &spec.Error{Kind: spec.Failed, Op: "edit with " + editor, Err: err, Hint: "set EDITOR; nothing was run"}
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.script(ctx, f, "edit")
}

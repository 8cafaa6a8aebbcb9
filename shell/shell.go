package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"shardsh/commands/spec"
	"shardsh/shell/config"
	"shardsh/shell/line"
	"shardsh/shell/render"
	"shardsh/shell/term"
)

// Shell is one running program: its configuration, vocabulary, session, and where its output goes.
type Shell struct {
	conf    *config.Config
	flags   flags
	words   *vocabulary
	session *session
	sandbox *launcher
	audit   *auditLog
	holds   *holds
	jobs    *jobs
	history *history
	secrets *secrets
	live    *liveValues
	version string
	getenv  func(string) string
	mode    string // "interactive", "script", "command": for the audit log

	reader      term.LineReader
	terminal    *term.Terminal // nil unless interactive
	keyboard    keyboard
	stdout      io.Writer
	stderr      *lockedWriter
	outTerminal bool
	errTerminal bool
	errFile     *os.File
	color       bool
	dumb        bool // the terminal understands no escape sequences

	callTimeout atomic.Int64 // --timeout of the running command, 0 when it has none
	tracing     atomic.Bool
	lineNumber  int
	depth       int // of source and wait, to bound recursion
	planned     []plannedLine
	changed     bool              // the last line changed something
	ended       *term.SignalError // what ended a command, and is to end the program; nil for none
	lastDone    *doneChange
}

// lockedWriter lets traces, progress and errors share standard error without mixing their lines.
type lockedWriter struct {
	mu   sync.Mutex
	w    io.Writer
	hide func(string) string // takes secrets out of what is written
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	text := l.hide(string(p))
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := io.WriteString(l.w, text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// width of the terminal that shows the results, 0 when there is none.
func (s *Shell) width() int {
	if s.terminal != nil {
		return s.terminal.Width()
	}
	return 0
}

// interactive reads lines at the terminal until the exit word or Ctrl-D.
func (s *Shell) interactive(ctx context.Context) error {
	s.banner()
	s.interruptedJobs()
	return s.loop(ctx)
}

// loop runs the lines of the reader, going on after one that fails, until the exit word or the end.
func (s *Shell) loop(ctx context.Context) error {
	var pending string
	for ctx.Err() == nil {
		if pending == "" {
			s.notices()
		}
		prompt := term.Prompt{Text: s.prompt(), Color: s.promptColor(), Continuation: pending != ""}
		if pending != "" {
			prompt.Text = "...> "
		}
		text, err := s.reader.ReadLine(prompt)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, term.ErrInterrupted):
			pending = ""
			continue
		case err != nil:
			return err
		}
		pending += text
		cmds, err := line.Parse(pending)
		if errors.Is(err, line.ErrIncomplete) {
			pending += "\n"
			continue
		}
		if err == nil {
			err = s.remembered(ctx, pending, cmds)
		} else {
			s.history.add(s, pending, err)
		}
		pending = ""
		if errors.Is(err, errExit) {
			return nil
		}
		if err != nil {
			s.complain("", err)
		}
	}
	return ctx.Err()
}

// remembered runs the commands of a typed line and puts it into the history.
func (s *Shell) remembered(ctx context.Context, text string, cmds []line.Command) error {
	if len(cmds) == 0 {
		return nil
	}
	s.lineNumber++
	s.changed = false
	err := s.run(ctx, cmds)
	s.history.add(s, text, err)
	s.live.refresh()
	return err
}

// script runs lines until the first failure, whose code is the script's; with --keep-going it runs all of them.
func (s *Shell) script(ctx context.Context, r io.Reader, name string) error {
	scanner := line.NewScanner(r, name)
	var first error
	for ctx.Err() == nil {
		cmds, err := scanner.Next()
		if errors.Is(err, io.EOF) {
			return first
		}
		broken := err != nil
		where := "" // what the scanner says names file and line itself
		if err == nil && len(cmds) > 0 {
			where = firstWord(cmds[0])
			if name != "" { // not the text of -e or of the arguments, which everybody sees
				where = fmt.Sprintf("%s:%d: %s", name, cmds[0].Line, where)
			}
			s.lineNumber = cmds[0].Line
			err = s.run(ctx, cmds)
		}
		switch {
		case errors.Is(err, errExit):
			return first
		case err == nil:
			continue
		case first == nil:
			first = err
		}
		s.complain(where, err)
		if broken || !s.option("keep_going").Bool() || spec.KindOf(err) == spec.Interrupted || ExitCode(err) == ExitPipe {
			return shown{first}
		}
		first = shown{first}
	}
	return errors.Join(first, ctx.Err())
}

// shown wraps an error that was printed already, so that it is only turned into an exit code.
type shown struct{ error }

func (e shown) Unwrap() error { return e.error }

// complain prints an error once, in the form the output asks for.
func (s *Shell) complain(where string, err error) {
	if errors.As(err, &shown{}) {
		return
	}
	name := s.option("output").Value
	printError(s.stderr, where, err, s.mode != "interactive" && (name == "json" || name == "jsonl"))
}

// crashed turns a panic of a command into an error, so that the terminal is restored and the shell lives.
func (s *Shell) crashed(r any) error {
	err := spec.Errorf(spec.Failed, "internal error: %v", r)
	if s.option("trace").Bool() {
		fmt.Fprintf(s.stderr, "%s\n", render.Escape(string(debug.Stack())))
	}
	return err.WithHint("this is a bug in shardsh; option trace on shows where")
}

// prompt is what stands before the line: `[sandbox] onebox TableA>>> `.
func (s *Shell) prompt() string {
	name, table := s.session.where()
	t := s.session.target()
	text := "shardsh> "
	if t.system.Prompt != nil {
		text = t.system.Prompt(name, table)
	}
	if node := s.session.on(); node != "" {
		text = "[" + node + "] " + text
	}
	for _, state := range s.live.state(s.changed) {
		text = "[" + state + "] " + text
	}
	if s.readOnly() != "" {
		text = "[read-only] " + text
	}
	if t.sandbox || t.settings["sandbox"] != "" {
		text = "[sandbox] " + text
	}
	return render.Escape(text)
}

func (s *Shell) promptColor() string {
	t := s.session.target()
	if c := t.settings["colour"]; c != "" {
		return c
	}
	return t.settings["color"]
}

// banner greets with one short screen. It starts nothing and waits for nothing.
func (s *Shell) banner() {
	name, _ := s.session.where()
	fmt.Fprintf(s.stderr, "shardsh %s\n", s.version)
	if t := s.session.target(); t.sandbox {
		end := "gone when the shell ends"
		if !t.own {
			end = "served by another process"
		}
		fmt.Fprintf(s.stderr, "%s is a sandbox: a small %s on this machine, %s.\n", name, t.system.Title, end)
	}
	var known []string
	for _, c := range s.conf.Clusters() {
		known = append(known, render.Escape(c.Name))
	}
	fmt.Fprintf(s.stderr, "clusters: %s\n", strings.Join(known, " "))
	fmt.Fprintln(s.stderr, "try:      ls · use TableA · help")
}

// firstWord names a command in messages.
func firstWord(c line.Command) string {
	if len(c.Words) == 0 {
		return "!"
	}
	text, ok := c.Words[0].Literal()
	if !ok {
		return c.Text
	}
	return text
}

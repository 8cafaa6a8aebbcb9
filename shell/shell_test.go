package shell

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
	"shardsh/shell/config"
	"shardsh/shell/term"
)

// bench is a shell without a cluster whose words a test defines.
type bench struct {
	*Shell
	t        *testing.T
	out, err *bytes.Buffer
	dir      string
}

func newBench(t *testing.T, words ...spec.Command) *bench {
	t.Helper()
	dir := t.TempDir()
	conf, _, err := config.Load(config.Options{
		Env: func(string) string { return "" }, WorkDir: dir, Flags: map[string]string{"output": "plain", "cluster": ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, out: &bytes.Buffer{}, err: &bytes.Buffer{}, dir: dir}
	s := &Shell{
		conf: conf, session: newSession(), holds: &holds{dir: filepath.Join(dir, "holds")}, jobs: &jobs{dir: filepath.Join(dir, "jobs")}, stdout: b.out,
		mode: "script", history: newHistory(dir, 100), secrets: &secrets{},
		sandbox: newLauncher(sandbox.LaunchOptions{StateDir: dir}), version: "test",
	}
	s.stderr, s.audit = &lockedWriter{w: b.err, hide: s.secrets.hide}, newAuditLog(dir, s.secrets.hide)
	s.words = newVocabulary(append(words, builtins(s)...))
	s.live = newLiveValues(s)
	b.Shell = s
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// run runs a script and answers its exit code.
func (b *bench) run(script string) int {
	b.t.Helper()
	return ExitCode(b.script(context.Background(), strings.NewReader(script), "test"))
}

func (b *bench) want(script string, code int) {
	b.t.Helper()
	b.err.Reset()
	b.out.Reset()
	if got := b.run(script); got != code {
		b.t.Fatalf("%q: exit %d, want %d\nstdout: %s\nstderr: %s", script, got, code, b.out, b.err)
	}
}

func (b *bench) wantText(text string) {
	b.t.Helper()
	if all := b.out.String() + b.err.String(); !strings.Contains(all, text) {
		b.t.Fatalf("%q is not in:\n%s", text, all)
	}
}

// query is a word that answers one row with its arguments.
func query(name string, flags ...spec.Flag) spec.Command {
	return spec.Command{
		Name: name, Offline: true, Topic: "shell", Flags: flags, Args: []spec.Arg{{Name: "x", Optional: true, Repeated: true}},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			cols := []spec.Column{{Name: "n", Kind: spec.Int}, {Name: "args", Kind: spec.List}}
			return &spec.Table{Columns: cols, Rows: spec.RowsOf(spec.Row{int64(len(call.Args)), call.Args})}, nil
		},
	}
}

// change is a word that answers the given plan.
func change(name string, plan func() *spec.Plan) spec.Command {
	return spec.Command{
		Name: name, Offline: true, Topic: "shell", Args: []spec.Arg{{Name: "x", Optional: true, Repeated: true}},
		Flags:  []spec.Flag{{Name: "password", Secret: true}},
		Change: func(context.Context, *spec.Call) (*spec.Plan, error) { return plan(), nil },
	}
}

func TestScriptStopsAtTheFirstFailure(t *testing.T) {
	b := newBench(t, query("ok"))
	b.want("ok 1\nnope\nok 2\n", ExitUsage)
	if strings.Contains(b.out.String(), "[2]") {
		t.Fatalf("the line after the failure ran: %s", b.out)
	}
	b.wantText("test:2: nope: unknown command")
	b.session.options["keep_going"] = "true"
	b.want("ok 1\nnope\nok 2\n", ExitUsage)
	b.wantText("[2]")
}

func TestUnterminatedQuoteNamesItsLine(t *testing.T) {
	b := newBench(t, query("ok"))
	b.want("ok 1\nok \"2\n", ExitUsage)
	b.wantText("test:2")
}

func TestVariablesAreNeverSplit(t *testing.T) {
	b := newBench(t, query("ok"))
	b.want("let v 'a b; nope'\nok $v \"${v}\" '{{v}}'\n", ExitDone)
	b.wantText("3")
	b.want("ok $missing\n", ExitUsage)
	b.wantText("missing")
}

func TestFlagsAsOperatorsTypeThem(t *testing.T) {
	b := newBench(t, query("ok", spec.Flag{Name: "data_dir"}, spec.Flag{Name: "lookup", Short: "l"}))
	for _, text := range []string{"ok --data_dir x", "ok -data-dir=x", "ok --data-dir x -lookup y", "ok -l y"} {
		b.want(text+"\n", ExitDone)
		b.wantText("0")
	}
	b.want("ok --data_dri x\n", ExitUsage)
	b.wantText("did you mean --data_dir")
}

func TestHelpOfACommand(t *testing.T) {
	b := newBench(t, query("ok"))
	b.want("ok --help\nhelp ok\nok -h\n", ExitDone)
	if n := strings.Count(b.out.String(), "ok"); n < 3 {
		t.Fatalf("help printed %d times: %s", n, b.out)
	}
}

func TestRedirectionAppearsWholeOrNotAtAll(t *testing.T) {
	broken := spec.Command{
		Name: "broken", Offline: true, Topic: "shell",
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			return &spec.Table{Columns: spec.Columns("a"), Rows: func(yield func(spec.Row, error) bool) {
				if yield(spec.Row{"first"}, nil) {
					yield(nil, errors.New("the stream broke"))
				}
			}}, nil
		},
	}
	b := newBench(t, query("ok"), broken)
	name := filepath.Join(b.dir, "out.txt")
	b.want("ok 1 > "+name+"\n", ExitDone)
	before, err := os.ReadFile(name)
	if err != nil || len(before) == 0 {
		t.Fatalf("%q %v", before, err)
	}
	b.want("broken > "+name+"\n", ExitFailed)
	after, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(before, after) {
		t.Fatalf("a broken result replaced the file: %q %v", after, err)
	}
	left, _ := filepath.Glob(filepath.Join(b.dir, ".out*"))
	if len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestPipeIntoACommand(t *testing.T) {
	b := newBench(t, query("ok"))
	b.want("ok 1 2 | tr 0-9 x\n", ExitDone)
	b.wantText("x")
	b.want("ok 1 | exit 3\n", ExitFailed)
}

func TestJSONErrorsAreJSON(t *testing.T) {
	b := newBench(t)
	b.session.options["output"] = "json"
	b.want("nope\n", ExitUsage)
	b.wantText(`"message_type":"error"`)
}

func TestSourceIsBounded(t *testing.T) {
	b := newBench(t)
	name := filepath.Join(b.dir, "self.txt")
	if err := os.WriteFile(name, []byte("source "+name+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.want("source "+name+"\n", ExitUsage)
}

// answers is a terminal that answers questions and has no lines.
type answers struct{ list []string }

func (a *answers) ReadLine(term.Prompt) (string, error) { return "", io.EOF }
func (a *answers) Confirm(string) (string, error) {
	if len(a.list) == 0 {
		return "", term.ErrNoTerminal
	}
	first := a.list[0]
	a.list = a.list[1:]
	return first, nil
}
func (a *answers) ReadSecret(string) (string, error) { return "", term.ErrNoTerminal }
func (a *answers) Close() error                      { return nil }

package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"shardsh/cluster/sandbox"
	"shardsh/cluster/systems"
	"shardsh/commands/spec"
	"shardsh/shell/config"
	"shardsh/shell/line"
	"shardsh/shell/term"
)

// Program is what main hands over: its arguments and streams.
type Program struct {
	Args    []string // without the program's name
	Stdin   *os.File
	Stdout  *os.File
	Stderr  *os.File
	Getenv  func(string) string
	Version string
	// Sandbox lists the clusters of the emulators that this build links; none in the lean one.
	Sandbox []sandbox.Cluster
}

// flags are the program's own.
type flags struct {
	config, cluster string
	settings        map[string]string // those that are settings of config.ini too, by their names there
	yes             *string
	force, plan     bool
	planFile        string
	version, help   bool
	interactive     bool
	lets            []string
	sources         []source
	command         []string
}

// source is one -e or -f, in the order given.
type source struct {
	text string
	file bool
}

// sourceFlag collects -e and -f into one ordered list.
type sourceFlag struct {
	list *[]source
	file bool
}

func (f sourceFlag) String() string { return "" }
func (f sourceFlag) Type() string {
	if f.file {
		return "file"
	}
	return "line"
}

func (f sourceFlag) Set(v string) error {
	*f.list = append(*f.list, source{text: v, file: f.file})
	return nil
}

func programFlags(f *flags) *pflag.FlagSet {
	set := pflag.NewFlagSet("shardsh", pflag.ContinueOnError)
	set.SetInterspersed(false)
	set.SortFlags = false
	set.SetOutput(io.Discard)
	set.StringVar(&f.config, "config", "", "read this config.ini `file`")
	set.StringVar(&f.cluster, "cluster", "", "open this cluster: a `name` from config.ini, or an address")
	set.VarP(sourceFlag{&f.sources, false}, "exec", "e", "run this line; may be repeated")
	set.VarP(sourceFlag{&f.sources, true}, "file", "f", "run the lines of this file, - for standard input; may be repeated")
	set.StringP("output", "o", "", "`format` of results: "+strings.Join(formatNames(), " "))
	set.String("yes", "", "confirm: --yes for risky changes, --yes=`NAME` for destructive ones")
	set.Lookup("yes").NoOptDefVal = yesWithoutName
	set.BoolVar(&f.force, "force", false, "turn what blocks a plan into steps to be confirmed by name")
	set.String("plan", "", "show what changes would do, and change nothing; --plan=`FILE` writes the plan for apply")
	set.Lookup("plan").NoOptDefVal = yesWithoutName
	set.Bool("read-only", false, "refuse every change")
	set.String("timeout", "", "how long to wait for one answer on the wire, a `duration`")
	set.String("wait", "", "how long to wait for what a change caused, a `duration`")
	set.Bool("keep-going", false, "run a script to its end; the first failure is still its exit code")
	set.StringArrayVar(&f.lets, "let", nil, "define a variable: `k=v`")
	set.String("color", "auto", "`when`: auto, always or never")
	set.Bool("trace", false, "show every call on the wire on stderr")
	set.BoolVarP(&f.interactive, "interactive", "i", false, "open the prompt after the lines given, or fail without a terminal")
	set.BoolVar(&f.version, "version", false, "print the version")
	set.BoolVarP(&f.help, "help", "h", false, "print this help")
	return set
}

func parseProgram(args []string) (flags, *pflag.FlagSet, error) {
	var f flags
	set := programFlags(&f)
	if err := set.Parse(args); err != nil {
		return f, set, spec.Errorf(spec.Usage, "%w", err).WithHint("shardsh --help")
	}
	f.settings = map[string]string{}
	for _, k := range config.Keys() {
		if p := set.Lookup(strings.ReplaceAll(k.Name, "_", "-")); p != nil && p.Changed && k.Name != "cluster" {
			f.settings[k.Name] = p.Value.String()
		}
	}
	if p := set.Lookup("plan"); p.Changed {
		f.plan, f.planFile = true, strings.TrimPrefix(p.Value.String(), yesWithoutName)
	}
	if p := set.Lookup("yes"); p.Changed {
		name := strings.TrimPrefix(p.Value.String(), yesWithoutName)
		f.yes = &name
	}
	f.command = set.Args()
	return f, set, nil
}

// Main runs the program and answers its exit code. Nothing below it ends the process.
func Main(p Program) int {
	f, set, err := parseProgram(p.Args)
	asJSON := f.settings["output"] == "json" || f.settings["output"] == "jsonl"
	fail := func(err error) int {
		if !errors.As(err, &shown{}) {
			printError(p.Stderr, "shardsh", err, asJSON)
		}
		return ExitCode(err)
	}
	switch {
	case err != nil:
		return fail(err)
	case f.version:
		fmt.Fprintln(p.Stdout, "shardsh", p.Version)
		return ExitDone
	case f.help:
		set.Lookup("yes").NoOptDefVal, set.Lookup("plan").NoOptDefVal = "", "" // they have no text that could be shown
		fmt.Fprintf(p.Stdout, "usage: shardsh [flags] [COMMAND ARG…]\n       shardsh sandbox [flags] [NAME…]\n\n"+
			"Without a command: the prompt on a terminal, else the lines of standard input.\n\n%s\n"+
			"help (inside) lists the commands; shardsh help COMMAND explains one.\n", set.FlagUsages())
		return ExitDone
	}
	ctx, stop := untilSignal()
	defer stop()
	s, err := newShell(p, f)
	if err != nil {
		return fail(err)
	}
	err = s.main(ctx, p)
	err = errors.Join(err, s.close())
	ended := s.ended // a command may have heard of the signal before ctx did
	if ended != nil || errors.As(context.Cause(ctx), &ended) || errors.As(err, &ended) {
		if number, ok := ended.Signal.(syscall.Signal); ok {
			return exitSignal + int(number)
		}
	}
	if err != nil {
		return fail(err)
	}
	return ExitDone
}

// untilSignal answers a context that SIGTERM and SIGHUP end, with a *term.SignalError as its cause.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if sig, ok := <-signals; ok {
			cancel(&term.SignalError{Signal: sig})
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		<-done
		cancel(nil)
	}
}

// main chooses the mode: what was asked for on the command line, else the prompt, else standard input.
func (s *Shell) main(ctx context.Context, p Program) error {
	tty := term.IsTerminal(p.Stdin) && term.IsTerminal(p.Stdout)
	asked := len(s.flags.sources) > 0 || len(s.flags.command) > 0
	if s.flags.interactive && !tty {
		return spec.Errorf(spec.Usage, "-i needs a terminal on standard input and output")
	}
	if !tty || asked && !s.flags.interactive {
		// At the prompt Ctrl-C belongs to the line or the command; a script ends on it.
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
	}
	if asked {
		s.mode = "command"
		defer s.keyboard.handOver(nil)
		if err := s.runAsked(ctx, p.Stdin); err != nil || !s.flags.interactive {
			return err
		}
	}
	switch {
	case tty:
		return s.openTerminal(ctx, p)
	case term.IsTerminal(p.Stdin):
		return spec.Errorf(spec.Usage, "nothing to run, and standard output is not a terminal").
			WithHint("shardsh -e LINE, shardsh < FILE or shardsh COMMAND")
	}
	s.mode = "script"
	return s.script(ctx, p.Stdin, "stdin")
}

// runAsked runs -e and -f in their order, or the command of the arguments.
func (s *Shell) runAsked(ctx context.Context, stdin io.Reader) error {
	for _, src := range s.flags.sources {
		r, name, lines := io.Reader(strings.NewReader(src.text)), "", ctx
		if src.file {
			name = src.text
			f, err := openScript(src.text, stdin)
			if err != nil {
				return err
			}
			defer f.Close()
			r = f
			if name == "-" {
				lines = context.WithValue(ctx, unwatched{}, true)
			}
		}
		if err := s.script(lines, r, name); err != nil {
			return err
		}
	}
	if len(s.flags.command) == 0 {
		return nil
	}
	return s.script(ctx, strings.NewReader(line.QuoteAll(s.flags.command)), "")
}

func openScript(name string, stdin io.Reader) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(stdin), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, spec.Errorf(spec.Usage, "open the script: %w", err)
	}
	return f, nil
}

// openTerminal runs the prompt.
func (s *Shell) openTerminal(ctx context.Context, p Program) error {
	t, err := term.NewTerminal(term.Options{
		In: p.Stdin, Out: p.Stdout, Assistant: s.assistant(), Color: s.color, Dumb: s.dumb,
	})
	if err != nil {
		return spec.Errorf(spec.Usage, "open the prompt: %w", err)
	}
	s.terminal, s.reader, s.mode = t, t, "interactive"
	defer t.Close()
	s.keyboard.handOver(t)
	if s.session.target().own {
		s.sandbox.start()
	}
	s.live.onChange(t.Wake)
	return s.interactive(ctx)
}

// newShell reads the configuration and builds the shell. It opens nothing.
func newShell(p Program, f flags) (*Shell, error) {
	work, err := os.Getwd()
	if err != nil {
		work = ""
	}
	conf, warnings, err := config.Load(config.Options{
		Path: f.config, Env: p.Getenv, WorkDir: work, Builtin: builtinClusters(p.Sandbox), Services: builtinServices(p.Sandbox), Sections: systemSections(),
		Flags: f.settings,
	})
	if err != nil {
		return nil, err
	}
	dir, err := stateDir(conf.Shell("state").Value, p.Getenv)
	if err != nil {
		return nil, err
	}
	s := &Shell{
		conf: conf, flags: f, session: newSession(), version: p.Version, getenv: p.Getenv, holds: &holds{dir: dir + "/holds"}, jobs: &jobs{dir: filepath.Join(dir, "jobs")},
		keyboard: keyboard{stdin: p.Stdin}, stdout: p.Stdout, errFile: p.Stderr, secrets: &secrets{},
		outTerminal: term.IsTerminal(p.Stdout), errTerminal: term.IsTerminal(p.Stderr), mode: "script",
	}
	s.stderr = &lockedWriter{w: p.Stderr, hide: s.secrets.hide}
	s.holds.own = func(name string) bool {
		c, ok := conf.Cluster(name)
		return ok && c.Sandbox && c.Address == ""
	}
	s.audit = newAuditLog(dir, s.secrets.hide)
	s.history = newHistory(dir, int(conf.Shell("history").Int()))
	s.dumb = p.Getenv("TERM") == "dumb" || p.Getenv("TERM") == ""
	s.color = useColor(conf.Shell("color").Value, p.Getenv, s.outTerminal)
	executable := ""
	if len(p.Sandbox) > 0 {
		if executable, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	s.sandbox = newLauncher(sandbox.LaunchOptions{
		Executable: executable, StateDir: dir, Compat: conf.Shell("sandbox_compat").Value,
		ProcessPerNode: conf.Shell("process_per_node").Bool(),
	})
	s.words = newVocabulary(append(Words(s), builtins(s)...))
	s.live = newLiveValues(s)
	s.tracing.Store(s.option("trace").Bool())
	for _, w := range warnings {
		fmt.Fprintf(s.stderr, "warning: %s\n", w)
	}
	return s, s.start()
}

// start applies --let and chooses the first cluster.
func (s *Shell) start() error {
	for _, l := range s.flags.lets {
		name, value, ok := strings.Cut(l, "=")
		if !ok || !line.IsName(name) {
			return spec.Errorf(spec.Usage, "--let %q is not name=value", l)
		}
		s.session.vars[name] = value
		if spec.SecretName(name) {
			s.secrets.learn(value)
		}
	}
	if s.flags.cluster != "" {
		return s.choose(s.flags.cluster)
	}
	name := s.conf.Shell("cluster")
	if name.Value == "" {
		return nil
	}
	if _, ok := s.conf.Cluster(name.Value); !ok && name.Source == "default" {
		return nil // built without the sandbox
	}
	return s.choose(name.Value)
}

func (s *Shell) close() error {
	s.live.close()
	err := errors.Join(s.closeAll(), s.audit.close(), s.sandbox.close())
	return err
}

// builtinClusters are the sandbox's, under their names and aliases.
func builtinClusters(linked []sandbox.Cluster) []config.Cluster {
	var all []config.Cluster
	for _, c := range linked {
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			all = append(all, config.Cluster{Name: name, System: c.System, Sandbox: true, Source: "built-in"})
		}
	}
	return all
}

// systemSections names the section of config.ini of each system: `[pegasus.clusters]`.
func systemSections() map[string]string {
	sections := map[string]string{}
	for _, sys := range systems.All() {
		sections[sys.Name+".clusters"] = sys.Name
	}
	return sections
}

// useColor follows --color, then NO_COLOR, TERM and CLICOLOR_FORCE (no-color.org, bixense.com/clicolors).
func useColor(flag string, getenv func(string) string, terminal bool) bool {
	switch {
	case flag != "auto":
		return flag == "always"
	case getenv("CLICOLOR_FORCE") == "1":
		return true
	case getenv("NO_COLOR") != "", getenv("TERM") == "dumb", getenv("TERM") == "":
		return false
	}
	return terminal
}

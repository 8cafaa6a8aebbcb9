package shell

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"shardsh/commands/spec"
)

// extras are the flags that every command takes besides its own.
type extras struct {
	Output, Filter, Sort string
	Columns              []string
	Raw                  bool
	Yes                  *string // nil: not given; "": --yes; a name: --yes=NAME
	Force, Plan          bool
	PlanFile             string // --plan=FILE
	Wait                 time.Duration
	WaitSet              bool
	Timeout              time.Duration
	Help                 bool
	Background           bool
}

// extraFlags documents them, and is what the parser declares from.
var extraFlags = []spec.Flag{
	{Name: "output", Help: "format of this result (see: help formats)"},
	{Name: "filter", Help: "keep rows where the expression is true: 'partitions > 8 && name startsWith \"T\"'"},
	{Name: "sort", Help: "sort by columns: name, or -name for descending, several joined by commas"},
	{Name: "columns", Help: "show these columns, in this order"},
	{Name: "raw", Kind: spec.ArgBool, Help: "sizes, durations and times as machines write them"},
	{Name: "yes", Help: "confirm: --yes for risky changes, --yes=NAME for destructive ones"},
	{Name: "force", Kind: spec.ArgBool, Help: "turn what blocks the plan into steps to be confirmed by name"},
	{Name: "plan", Kind: spec.ArgFile, Help: "show what would be done, and do nothing; --plan=FILE writes it for apply"},
	{Name: "wait", Kind: spec.ArgDuration, Help: "how long to wait for what a change caused"},
	{Name: "no-wait", Kind: spec.ArgBool, Help: "do not wait for what a change caused"},
	{Name: "timeout", Kind: spec.ArgDuration, Help: "how long to wait for one answer on the wire"},
	{Name: "background", Kind: spec.ArgBool, Help: "have another process run the job, and go on here"},
	{Name: "help", Kind: spec.ArgBool, Help: "show the help of the command"},
}

// collector gathers the values of one flag; pflag calls Set for each occurrence.
type collector struct {
	flag   spec.Flag
	values []string
}

func (c *collector) String() string     { return strings.Join(c.values, ",") }
func (c *collector) Type() string       { return "value" }
func (c *collector) Set(v string) error { c.values = append(c.values, v); return nil }

// parsed is a line after flags and arguments were told apart.
type parsed struct {
	args  []string
	flags map[string][]string
}

// parseFlags separates a command's flags from its arguments.
func parseFlags(c *spec.Command, words []string) (parsed, error) {
	set := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	set.SetInterspersed(!c.FlagsFirst && !endsInLine(c))
	collectors := map[string]*collector{}
	declare := func(f spec.Flag) {
		if collectors[f.Key()] != nil {
			return // the command's own flag of that name wins
		}
		col := &collector{flag: f}
		collectors[f.Key()] = col
		name := canonical(f.Key())
		if f.Name == "" {
			name = "-" + f.Short // pflag wants a long name; this one cannot be typed
		}
		p := set.VarPF(col, name, f.Short, f.Help)
		if f.Kind == spec.ArgBool {
			p.NoOptDefVal = "true"
		}
		if f.Name == "yes" || f.Name == "plan" && f.Kind == spec.ArgFile {
			p.NoOptDefVal = yesWithoutName
		}
	}
	for _, f := range c.Flags {
		declare(f)
	}
	for _, f := range extraFlags {
		declare(f)
	}
	if err := set.Parse(normalizeFlags(c, words)); err != nil {
		return parsed{}, flagError(c, err)
	}
	if err := misplaced(c, words, set); err != nil {
		return parsed{}, err
	}
	out := parsed{args: set.Args(), flags: map[string][]string{}}
	for key, col := range collectors {
		if len(col.values) > 0 {
			out.flags[key] = col.values
		}
	}
	return out, nil
}

// misplaced refuses a flag behind the arguments of a command that takes what it finds there for data: it would be
// written as a key or a value.
func misplaced(c *spec.Command, words []string, set *pflag.FlagSet) error {
	if !c.FlagsFirst || slices.Contains(words, "--") {
		return nil
	}
	for _, a := range set.Args() {
		if strings.HasPrefix(a, "--") && set.Lookup(flagName(a)) != nil {
			e := spec.Errorf(spec.Usage, "%s comes behind what it is about", a)
			e.Op = c.Name
			return e.WithHint("flags of %s stand before its first argument; after a -- there, %s is data", c.Name, a)
		}
	}
	return nil
}

// canonical is a flag's name with hyphens between its words, however it was declared or typed.
func canonical(name string) string { return strings.ReplaceAll(name, "_", "-") }

// yesWithoutName marks `--yes` given without a name; no table can be called so.
const yesWithoutName = "\x00yes"

// endsInLine tells a command whose arguments end in another command, which keeps its own flags.
func endsInLine(c *spec.Command) bool {
	return len(c.Args) > 0 && c.Args[len(c.Args)-1].Kind == spec.ArgLine
}

// normalizeFlags rewrites what operators type into what pflag reads: `-lookup x` and `--data_dir x` become `--lookup`
// and `--data-dir`, `-h` becomes --help where the command does not declare it.
func normalizeFlags(c *spec.Command, words []string) []string {
	long, short := map[string]bool{}, map[string]bool{}
	for _, f := range append(slices.Clone(c.Flags), extraFlags...) {
		if f.Name != "" {
			long[canonical(f.Name)] = true
		}
		short[f.Short] = f.Short != ""
	}
	out := make([]string, 0, len(words))
	for i, w := range words {
		name := flagName(w)
		_, value, has := strings.Cut(w, "=")
		switch {
		case w == "--" || (c.FlagsFirst && !strings.HasPrefix(w, "-")):
			return append(out, words[i:]...)
		case name != "" && long[name] && (strings.HasPrefix(w, "--") || len(name) > 1):
			w = "--" + name
			if has {
				w += "=" + value
			}
		case w == "-h" && !short["h"]:
			w = "--help"
		}
		out = append(out, w)
	}
	return out
}

// flagError rewords pflag's errors and adds what was probably meant.
func flagError(c *spec.Command, err error) error {
	text := strings.TrimSuffix(err.Error(), ": ")
	usage := &spec.Error{Kind: spec.Usage, Op: c.Name, Err: fmt.Errorf("%s", text)}
	var long []string
	for _, f := range append(slices.Clone(c.Flags), extraFlags...) {
		if f.Name != "" {
			long = append(long, f.Name)
		}
	}
	if _, name, ok := strings.Cut(text, "unknown flag: --"); ok {
		if near := append(spec.Suggest(name, long), sharePrefix(name, long)...); len(near) > 0 {
			return usage.WithHint("did you mean --%s?", near[0])
		}
	}
	return usage.WithHint("usage: %s", c.Usage())
}

// sharePrefix answers the names that begin as word does: who types --partitions means --partition-count.
func sharePrefix(word string, among []string) []string {
	const enough = 4
	var out []string
	for _, name := range among {
		if len(word) >= enough && strings.HasPrefix(name, word[:enough]) {
			out = append(out, name)
		}
	}
	return out
}

// takeExtras moves the flags every command has out of the parsed line.
func takeExtras(c *spec.Command, p parsed) (extras, error) {
	own := map[string]bool{}
	for _, f := range c.Flags {
		own[f.Key()] = true
	}
	var x extras
	take := func(name string) (string, bool) {
		values := p.flags[name]
		if own[name] || len(values) == 0 {
			return "", false
		}
		delete(p.flags, name)
		return values[len(values)-1], true
	}
	for _, f := range extraFlags {
		value, ok := take(f.Name)
		if !ok {
			continue
		}
		if err := validate(f.Kind, nil, "--"+f.Name, value); err != nil {
			return x, err
		}
		x.put(f.Name, value)
	}
	return x, nil
}

func (x *extras) put(name, value string) {
	switch name {
	case "output":
		x.Output = value
	case "filter":
		x.Filter = value
	case "sort":
		x.Sort = value
	case "columns":
		x.Columns = strings.Split(value, ",")
	case "raw":
		x.Raw, _ = strconv.ParseBool(value)
	case "yes":
		value = strings.TrimPrefix(value, yesWithoutName)
		x.Yes = &value
	case "force":
		x.Force, _ = strconv.ParseBool(value)
	case "plan":
		x.Plan, x.PlanFile = true, strings.TrimPrefix(value, yesWithoutName)
	case "wait":
		x.Wait, _ = spec.ParseDuration(value, time.Second)
		x.WaitSet = true
	case "no-wait":
		if on, _ := strconv.ParseBool(value); on {
			x.Wait, x.WaitSet = -1, true
		}
	case "timeout":
		x.Timeout, _ = spec.ParseDuration(value, time.Second)
	case "background":
		x.Background, _ = strconv.ParseBool(value)
	case "help":
		x.Help, _ = strconv.ParseBool(value)
	}
}

// over answers the flags of a command inside another's line: what it does not say is said by the outer one.
func (x extras) over(outer extras) extras {
	outer.Output = cmp.Or(x.Output, outer.Output)
	outer.Filter = cmp.Or(x.Filter, outer.Filter)
	outer.Sort = cmp.Or(x.Sort, outer.Sort)
	outer.Raw = x.Raw || outer.Raw
	if len(x.Columns) > 0 {
		outer.Columns = x.Columns
	}
	return outer
}

// resolve turns the words of a line into a Call of one command.
func (s *Shell) resolve(words []string) (*spec.Call, extras, error) {
	if node, rest, ok := s.aimed(words); ok {
		call, x, err := s.resolve(rest)
		if call != nil {
			call.Node = node
		}
		return call, x, err
	}
	if len(words) == 0 {
		return nil, extras{}, spec.Errorf(spec.Usage, "there is no command")
	}
	found, n := s.words.lookup(words)
	if len(found) == 0 {
		return nil, extras{}, s.words.unknownWord(words[0], s.session.system())
	}
	c, err := choose(found, words[n:], s.session.system(), s.blockNames)
	if err != nil {
		return nil, extras{}, err
	}
	p, err := parseFlags(c, words[n:])
	if err != nil {
		return nil, extras{}, err
	}
	x, err := takeExtras(c, p)
	if err != nil || x.Help {
		return &spec.Call{Command: c}, x, err
	}
	call := &spec.Call{
		Command: c, Args: p.args, Flags: p.flags, Cluster: s.session.cluster, Table: s.session.table, Node: s.session.node,
		Wait: s.waitFor(x), Force: x.Force || s.flags.force,
	}
	s.secrets.learn(call.Secrets()...) // before anything is said about them
	if err := checkCall(c, p); err != nil {
		return nil, x, err
	}
	return call, x, nil
}

// checkCall validates arguments and flags against the description.
func checkCall(c *spec.Command, p parsed) error {
	usage := func(format string, args ...any) error {
		e := spec.Errorf(spec.Usage, format, args...)
		e.Op = c.Name
		return e.WithHint("usage: %s", c.Usage())
	}
	for i, a := range c.Args {
		if i >= len(p.args) {
			if a.Optional {
				break
			}
			return usage("%s is missing", a.Name)
		}
		last := i
		if a.Repeated {
			last = len(p.args) - 1
		}
		for _, v := range p.args[i : last+1] {
			if err := validate(a.Kind, a.Values, a.Name, v); err != nil {
				return usage("%w", err)
			}
		}
	}
	if n := len(c.Args); len(p.args) > n && (n == 0 || !c.Args[n-1].Repeated && c.Args[n-1].Kind != spec.ArgLine) {
		return usage("%q is one argument too many", p.args[n])
	}
	for _, f := range c.Flags {
		values, given := p.flags[f.Key()]
		if f.Required && !given {
			return usage("%s is missing", f.Label())
		}
		if len(values) > 1 && !f.Repeated {
			return usage("%s is given twice", f.Label())
		}
		for _, v := range values {
			if err := validate(f.Kind, f.Values, f.Label(), v); err != nil {
				return usage("%w", err)
			}
		}
	}
	return nil
}

// validate checks one value against its declared kind.
func validate(kind spec.ArgKind, values []string, name, value string) error {
	var err error
	switch kind {
	case spec.ArgPartition:
		if n, e := strconv.ParseInt(value, 10, 32); e != nil || n < -1 {
			err = fmt.Errorf("%s: %q is no partition; they count from 0", name, value)
		}
	case spec.ArgInt:
		if _, e := strconv.ParseInt(value, 10, 64); e != nil {
			err = fmt.Errorf("%s: %q is not a whole number", name, value)
		}
	case spec.ArgBool:
		if _, e := strconv.ParseBool(value); e != nil {
			err = fmt.Errorf("%s: %q is neither true nor false", name, value)
		}
	case spec.ArgDuration:
		if _, e := spec.ParseDuration(value, time.Second); e != nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
	case spec.ArgMillis:
		if _, e := spec.ParseDuration(value, time.Millisecond); e != nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
	case spec.ArgRate:
		if _, e := spec.ParseRate(value); e != nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
	case spec.ArgEnum:
		if !slices.Contains(values, value) {
			err = fmt.Errorf("%s: %q is none of %s", name, value, strings.Join(values, ", "))
		}
	case spec.ArgPair:
		for _, pair := range strings.Split(value, ",") {
			if k, _, ok := strings.Cut(pair, "="); !ok || k == "" {
				err = fmt.Errorf("%s: %q is not k=v", name, pair)
			}
		}
	case spec.ArgText, spec.ArgBytes, spec.ArgTable, spec.ArgDatabase, spec.ArgEndpoint, spec.ArgDisk, spec.ArgCluster, spec.ArgSetting, spec.ArgFile,
		spec.ArgService, spec.ArgLocation,
		spec.ArgCommand, spec.ArgJob, spec.ArgLine:
	}
	if err != nil {
		return spec.Errorf(spec.Usage, "%w", err)
	}
	return nil
}

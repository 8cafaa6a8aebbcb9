package shell

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"shardsh/commands/spec"
	"shardsh/shell/config"
	"shardsh/shell/line"
	"shardsh/shell/render"
	"shardsh/shell/term"
)

// assistant implements term.Assistant from the vocabulary and cached names. It never blocks, dials or asks.
type assistant struct{ shell *Shell }

func (s *Shell) assistant() term.Assistant { return assistant{s} }

// History implements term.Assistant.
func (a assistant) History() []string { return a.shell.history.recent() }

// candidate is a possible completion before it is quoted.
type candidate struct{ text, help string }

// Complete implements term.Assistant.
func (a assistant) Complete(text string, pos int) term.Completions {
	p := line.Complete(text, pos)
	out := term.Completions{Start: p.Start}
	if p.AfterPipe {
		return out
	}
	found, pending := a.candidates(p.Words, p.Current)
	out.Pending = pending
	for _, c := range found {
		if !strings.HasPrefix(c.text, p.Current) {
			continue
		}
		out.Items = append(out.Items, term.Item{Text: line.Quote(c.text), Show: render.Escape(c.text), Help: c.help})
	}
	return out
}

func (a assistant) candidates(words []string, current string) ([]candidate, bool) {
	if len(words) == 0 {
		return a.commandNames(""), false
	}
	found, n := a.shell.words.lookup(words)
	var second []candidate
	if len(words) == 1 {
		second = a.commandNames(words[0] + " ")
	}
	if len(found) == 0 {
		return second, false
	}
	rest, pending := a.arguments(found, n, words, current)
	return append(second, rest...), pending
}

// arguments lists what may follow a command's name.
func (a assistant) arguments(found []*spec.Command, n int, words []string, current string) ([]candidate, bool) {
	c, err := choose(found, words[n:], a.shell.session.system(), a.shell.blockNames)
	if err != nil {
		return nil, false
	}
	rest := words[n:]
	if len(rest) > 0 {
		if f, ok := findFlag(c, rest[len(rest)-1]); ok && f.Kind != spec.ArgBool && f.Name != "yes" && f.Name != "plan" {
			return a.values(f.Kind, slices.Concat(f.Values, f.Offers), f.Name)
		}
	}
	if strings.HasPrefix(current, "-") {
		return flagNames(c), false
	}
	i := countArgs(c, rest)
	if len(c.Args) == 0 {
		return nil, false
	}
	arg := c.Args[min(i, len(c.Args)-1)]
	if i >= len(c.Args) && !arg.Repeated && arg.Kind != spec.ArgLine {
		return nil, false
	}
	if c.Name == "option" && i == 1 {
		return optionValues(rest[0]), false
	}
	if arg.Kind == spec.ArgLine {
		return a.candidates(rest[len(rest)-max(i-len(c.Args)+1, 0):], current)
	}
	if len(rest) > 0 {
		if after, known := arg.Follow[rest[len(rest)-1]]; known && i > 0 {
			return a.values(spec.ArgText, after, "")
		}
	}
	return a.values(arg.Kind, slices.Concat(arg.Values, arg.Offers), arg.Name)
}

// commandNames lists words that exist on the current system; with a prefix, the second words of two-word names.
func (a assistant) commandNames(prefix string) []candidate {
	var out []candidate
	system := a.shell.session.system()
	for _, name := range a.shell.words.names(system) {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		found := a.shell.words.byName[name]
		first, _, two := strings.Cut(rest, " ")
		help := found[0].Summary
		if two {
			help = ""
		}
		if len(out) > 0 && out[len(out)-1].text == first {
			continue
		}
		out = append(out, candidate{first, help})
	}
	return out
}

func findFlag(c *spec.Command, word string) (spec.Flag, bool) {
	name := flagName(word)
	if name == "" || strings.Contains(word, "=") {
		return spec.Flag{}, false
	}
	for _, f := range append(slices.Clone(c.Flags), extraFlags...) {
		if canonical(f.Name) == name || (f.Short == name && f.Short != "") {
			return f, true
		}
	}
	return spec.Flag{}, false
}

// countArgs tells how many of the words are arguments.
func countArgs(c *spec.Command, words []string) int {
	n := 0
	for i := 0; i < len(words); i++ {
		f, ok := findFlag(c, words[i])
		switch {
		case ok && f.Kind != spec.ArgBool && f.Name != "yes" && f.Name != "plan":
			i++
		case flagName(words[i]) != "" && n == 0:
		default:
			n++
		}
	}
	return n
}

func flagNames(c *spec.Command) []candidate {
	var out []candidate
	for _, f := range append(slices.Clone(c.Flags), extraFlags...) {
		out = append(out, candidate{f.Label(), f.Help})
	}
	return out
}

// values lists what a value of a kind may be.
func (a assistant) values(kind spec.ArgKind, enum []string, name string) ([]candidate, bool) {
	plain := func(texts []string) []candidate {
		var out []candidate
		for _, t := range texts {
			out = append(out, candidate{text: t})
		}
		return out
	}
	switch {
	case len(enum) > 0:
		return plain(enum), false
	case name == "output":
		return plain(formatNames()), false
	}
	switch kind {
	case spec.ArgTable, spec.ArgDatabase, spec.ArgEndpoint, spec.ArgPartition:
		texts, pending := a.shell.live.get(kind)
		return plain(texts), pending
	case spec.ArgDisk:
		return plain(a.shell.live.disks()), false
	case spec.ArgCluster:
		var out []candidate
		for _, c := range a.shell.conf.Clusters() {
			out = append(out, candidate{c.Name, c.System})
		}
		return out, false
	case spec.ArgService, spec.ArgLocation:
		var out []candidate
		for _, b := range a.shell.conf.BlockServices() {
			if kind == spec.ArgLocation {
				b.Name += ":"
			}
			out = append(out, candidate{b.Name, b.Type})
		}
		return out, false
	case spec.ArgCommand:
		return a.commandNames(""), false
	case spec.ArgJob:
		return plain(a.shell.jobs.ids()), false
	case spec.ArgBool:
		return plain([]string{"false", "true"}), false
	case spec.ArgFile, spec.ArgText, spec.ArgBytes, spec.ArgInt, spec.ArgDuration, spec.ArgMillis, spec.ArgEnum,
		spec.ArgSetting, spec.ArgPair, spec.ArgRate, spec.ArgLine:
	}
	if kind == spec.ArgFile {
		return plain(fileNames()), false
	}
	return nil, false
}

// optionValues lists what a setting of the shell may be.
func optionValues(name string) []candidate {
	var out []candidate
	for _, k := range config.Keys() {
		if k.Name != name {
			continue
		}
		values := k.Values
		if k.Kind == spec.ArgBool {
			values = []string{"on", "off"}
		}
		for _, v := range values {
			out = append(out, candidate{text: v})
		}
	}
	return out
}

// fileNames lists the working directory: enough for `source` and `-f`, without walking anything.
func fileNames() []string {
	entries, err := os.ReadDir(".")
	if err != nil || len(entries) > 1000 {
		return nil
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !e.IsDir() {
			names = append(names, filepath.ToSlash(e.Name()))
		}
	}
	return names
}

// spanStyles maps the splitter's spans to colours.
var spanStyles = map[line.SpanKind]term.Style{
	line.SpanWord: term.StylePlain, line.SpanFlag: term.StyleFlag, line.SpanString: term.StyleString,
	line.SpanVariable: term.StyleVariable, line.SpanComment: term.StyleComment, line.SpanOperator: term.StyleOperator,
	line.SpanError: term.StyleError,
}

// Spans implements term.Assistant: known commands and errors are told apart while one types.
func (a assistant) Spans(text string) []term.Span {
	if !a.shell.option("highlight").Bool() {
		return nil
	}
	var out []term.Span
	atCommand := true
	for _, sp := range line.Spans(text) {
		style := spanStyles[sp.Kind]
		switch {
		case sp.Kind == line.SpanOperator:
			atCommand = true
		case sp.Kind == line.SpanWord && atCommand:
			atCommand = false
			word := text[sp.Start:sp.End]
			style = term.StyleError
			if len(a.prefixed(word)) > 0 {
				style = term.StyleCommand
			}
		}
		out = append(out, term.Span{Start: sp.Start, End: sp.End, Style: style})
	}
	return out
}

// prefixed lists the words of which text is the beginning.
func (a assistant) prefixed(text string) []string {
	var out []string
	for _, name := range a.shell.words.names("") {
		if first, _, _ := strings.Cut(name, " "); first == text || strings.HasPrefix(name, text) {
			out = append(out, name)
		}
	}
	return out
}

// Hint implements term.Assistant: the arguments still to come.
func (a assistant) Hint(text string) string {
	p := line.Complete(text, len(text))
	if p.AfterPipe || len(p.Words) == 0 || p.Current != "" || !strings.HasSuffix(text, " ") {
		return ""
	}
	found, n := a.shell.words.lookup(p.Words)
	if len(found) == 0 {
		return ""
	}
	c, err := choose(found, p.Words[n:], a.shell.session.system(), a.shell.blockNames)
	if err != nil {
		return ""
	}
	i := countArgs(c, p.Words[n:])
	if i >= len(c.Args) {
		return ""
	}
	rest := *c
	rest.Args = c.Args[i:]
	rest.Name = ""
	if i > 0 || len(p.Words) > n {
		rest.Flags = nil
	}
	return strings.TrimSpace(rest.Usage())
}

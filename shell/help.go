package shell

import (
	"context"
	"slices"
	"strings"

	"shardsh/cluster/systems"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/shell/render"
)

func helpWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "help", Topic: "shell", Offline: true,
		Summary: "list the commands, or explain one",
		Long:    "Without a name, the words of the current store. The current cluster's word comes first where several stores share a name.",
		Args:    []spec.Arg{{Name: "command", Kind: spec.ArgCommand, Optional: true, Repeated: true, Help: "a word, of one or two parts"}},
		Flags:   []spec.Flag{{Name: "all", Short: "a", Kind: spec.ArgBool, Help: "the words of every store"}},
		Examples: []spec.Example{
			{Line: "help", Says: "the words one can use now"},
			{Line: "help showtable", Says: "what showtable takes, does and answers"},
		},
		SeeAlso: []string{"help matrix", "help formats", "help exit-codes"},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			if len(call.Args) == 0 {
				return s.overview(call.Bool("all")), nil
			}
			found, n := s.words.lookup(call.Args)
			if len(found) == 0 || n != len(call.Args) {
				return nil, s.words.unknownWord(strings.Join(call.Args, " "), s.session.system())
			}
			return s.helpFor(found), nil
		},
	}
}

// overview lists words by topic.
func (s *Shell) overview(all bool) *spec.Table {
	var rows []spec.Row
	for _, topic := range spec.Topics {
		for _, c := range s.words.all {
			if c.Topic == topic && (all || s.session.system() == "" || c.Matches(s.session.system())) {
				rows = append(rows, spec.Row{topic, c.Name, c.Summary})
			}
		}
	}
	return &spec.Table{
		Columns: spec.Columns("topic", "command", "summary"), Rows: spec.RowsOf(rows...),
		Notes: func() []string { return []string{"help COMMAND explains one; every command takes --help"} },
	}
}

// helpFor explains one word: the current system's descriptor first.
func (s *Shell) helpFor(found []*spec.Command) *spec.Table {
	found = slices.Clone(found)
	system := s.session.system()
	slices.SortStableFunc(found, func(a, b *spec.Command) int {
		rank := func(c *spec.Command) int {
			if len(c.Systems) > 0 && slices.Contains(c.Systems, system) {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	first := helpOne(found[0])
	for _, c := range found[1:] {
		other := helpOne(c)
		first.More = append(append(first.More, other), other.More...)
		other.More = nil
	}
	return first
}

func helpOne(c *spec.Command) *spec.Table {
	changes := "nothing"
	switch {
	case c.Reads != nil:
		changes = "that depends on its arguments: what changes something is a plan, which the shell applies (--plan shows it)"
	case c.Change != nil:
		changes = "yes: it answers a plan, which the shell applies (--plan shows it)"
	}
	t := spec.Record(spec.Columns("usage", "summary", "description", "aliases", "systems", "changes", "see_also"),
		c.Usage(), c.Summary, commands.Word(c.Long), commands.Word(strings.Join(c.Aliases, ", ")), commands.Word(strings.Join(c.Systems, ", ")), changes,
		commands.Word(strings.Join(c.SeeAlso, ", ")))
	t.Section = strings.ReplaceAll(c.Name, " ", "_")
	var args, own, examples []spec.Row
	for _, a := range c.Args {
		args = append(args, spec.Row{a.Name, a.Kind.String(), !a.Optional, commands.Word(a.Help), commands.Word(strings.Join(a.Values, ", "))})
	}
	for _, f := range c.Flags {
		letter := ""
		if f.Short != "" {
			letter = "-" + f.Short
		}
		long := ""
		if f.Name != "" {
			long = "--" + f.Name
		}
		kind := f.Kind.String()
		switch {
		case f.Kind == spec.ArgBool:
			kind = ""
		case len(f.Values) > 0:
			kind = strings.Join(f.Values, "|")
		}
		own = append(own, spec.Row{commands.Word(letter), commands.Word(long), commands.Word(kind), commands.Word(f.Default), commands.Word(f.Help)})
	}
	for _, e := range c.Examples {
		examples = append(examples, spec.Row{e.Line, commands.Word(e.Says)})
	}
	argColumns := spec.Columns("argument", "kind", "required", "help", "values")
	argColumns[2].Kind = spec.Bool
	for _, more := range []*spec.Table{
		{Section: "arguments", Columns: argColumns, Rows: spec.RowsOf(args...)},
		{Section: "flags", Columns: spec.Columns("short", "long", "value", "default", "help"), Rows: spec.RowsOf(own...)},
		{Section: "examples", Columns: spec.Columns("line", "says"), Rows: spec.RowsOf(examples...)},
	} {
		if n := map[string]int{"arguments": len(args), "flags": len(own), "examples": len(examples)}[more.Section]; n > 0 {
			t.More = append(t.More, more)
		}
	}
	return t
}

func matrixWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "help matrix", Topic: "shell", Offline: true,
		Summary:  "which store has which word",
		Examples: []spec.Example{{Line: "help matrix", Says: "one row per word, one column per store"}},
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			return s.matrix(), nil
		},
	}
}

// matrix is generated from the descriptors and the drivers' abilities.
func (s *Shell) matrix() *spec.Table {
	all := systems.All()
	cols := spec.Columns("topic", "command")
	for _, sys := range all {
		cols = append(cols, spec.Column{Name: sys.Name, Kind: spec.Bool})
	}
	var rows []spec.Row
	for _, topic := range spec.Topics {
		var names []string
		for _, c := range s.words.all {
			if c.Topic == topic && !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
		for _, name := range names {
			row := spec.Row{topic, name}
			for _, sys := range all {
				row = append(row, s.words.has(name, sys))
			}
			rows = append(rows, row)
		}
	}
	return &spec.Table{Columns: cols, Rows: spec.RowsOf(rows...)}
}

func exitCodesWord() spec.Command {
	return spec.Command{
		Name: "help exit-codes", Topic: "shell", Offline: true,
		Summary:  "what the exit codes of the program mean",
		Long:     "A script ends at its first failure, with that code; --keep-going runs it to the end and keeps the code.",
		Examples: []spec.Example{{Line: "help exit-codes", Says: "the table of codes"}},
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			var rows []spec.Row
			for _, e := range exitMeanings {
				rows = append(rows, spec.Row{int64(e.Code), e.Means})
			}
			return &spec.Table{Columns: []spec.Column{{Name: "code", Kind: spec.Int}, {Name: "means"}}, Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

func formatsWord() spec.Command {
	return spec.Command{
		Name: "help formats", Topic: "shell", Offline: true,
		Summary:  "the formats results can be written in",
		Long:     "Chosen by -o for the program, option output for the session, --output for one command, and \\G (vertical) or \\J (json) at the end of a line.",
		Examples: []spec.Example{{Line: "help formats", Says: "the names for --output"}},
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			var rows []spec.Row
			for _, f := range render.Formats() {
				rows = append(rows, spec.Row{f.Name, f.Help})
			}
			return &spec.Table{Columns: spec.Columns("format", "help"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

package shell

import (
	"context"
	"time"

	"shardsh/commands/spec"
)

// Two words of Pegasus's own shell for settings that this shell calls by another name or in another unit.

func escapeAllWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "escape_all", Systems: []string{"pegasus"}, Topic: "shell", Offline: true,
		Summary: "write every byte of keys and values as \\xHH, or show whether that is so",
		Long:    "The same as option escape_all. Without a value it shows the one that holds.",
		Args:    []spec.Arg{{Name: "true|false", Kind: spec.ArgBool, Optional: true, Help: "the new value"}},
		Examples: []spec.Example{
			{Line: "escape_all true", Says: "every byte is escaped from now on"},
			{Line: "escape_all", Says: "whether it is so"},
		},
		SeeAlso: []string{"option"},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			if len(call.Args) > 0 {
				if err := s.setOption("escape_all", call.Arg(0)); err != nil {
					return nil, err
				}
			}
			v := s.option("escape_all")
			return spec.Record([]spec.Column{{Name: "escape_all", Kind: spec.Bool}, {Name: "source"}}, v.Bool(), v.Source), nil
		},
	}
}

func timeoutWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "timeout", Systems: []string{"pegasus"}, Topic: "shell", Offline: true,
		Summary: "change how long one call to a server may take, or show it",
		Long: "The same as option timeout, but a bare number is milliseconds, as in the store's own shell. Without a value it shows " +
			"the one that holds for the current cluster. --timeout changes it for one line, -t of the scans for one scan.",
		Args: []spec.Arg{{Name: "ms", Kind: spec.ArgMillis, Optional: true, Help: "milliseconds, or 20s, 1m"}},
		Examples: []spec.Example{
			{Line: "timeout 20000", Says: "calls may take 20 seconds"},
			{Line: "timeout", Says: "how long they may take"},
		},
		SeeAlso: []string{"option"},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			if len(call.Args) > 0 {
				each, err := spec.ParseDuration(call.Arg(0), time.Millisecond)
				if err != nil {
					return nil, err
				}
				if each <= 0 {
					return nil, spec.Errorf(spec.Usage, "%s is no time to wait for an answer", each)
				}
				if err := s.setOption("timeout", each.String()); err != nil {
					return nil, err
				}
			}
			return spec.Record([]spec.Column{{Name: "timeout", Kind: spec.Duration}}, s.timeout(s.session.target())), nil
		},
	}
}

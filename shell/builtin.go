package shell

import (
	"context"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// builtins lists the words that touch the loop itself. They are described like every other word, so that help,
// completion and validation know them.
func builtins(s *Shell) []spec.Command {
	return []spec.Command{
		clustersWord(s), clusterWord(s), useWord(s),
		letWord(s), optionWord(s), onOffWord(s, "timing", "show how long each command took"),
		onOffWord(s, "trace", "show every call on the wire on stderr"),
		escapeAllWord(s), timeoutWord(s), useDatabaseWord(s), onWord(s), openmldbWord(s),
		sourceWord(s), editWord(s), waitWord(s), watchWord(s), historyWord(s), configShowWord(s),
		holdsWord(s), holdsRestoreWord(s), applyWord(s), undoWord(s),
		jobsWord(s), jobShowWord(s), jobRateWord(s), jobCancelWord(s), jobResumeWord(s), jobRemoveWord(s),
		helpWord(s), matrixWord(s), exitCodesWord(), formatsWord(), completionWord(s), versionWord(s), exitWord(),
		sandboxListWord(s), sandboxKillWord(s), sandboxStartWord(s), sandboxStopWord(s), sandboxPauseWord(s),
		sandboxSlowWord(s), sandboxFillWord(s), sandboxPartitionWord(s), sandboxHealWord(s), sandboxLoseWord(s), sandboxThrottleWord(s),
		sandboxBreakWord(s),
	}
}

// whereRecord is what words that move the session answer.
func (s *Shell) whereRecord() *spec.Table {
	name, table := s.session.where()
	return spec.Record(spec.Columns("system", "cluster", "table"), commands.Word(s.session.system()), commands.Word(name), commands.Word(table))
}

func exitWord() spec.Command {
	return spec.Command{
		Name: "exit", Aliases: []string{"quit", `\q`}, Topic: "shell", Offline: true,
		Summary: "leave the shell",
		Query:   func(context.Context, *spec.Call) (*spec.Table, error) { return nil, errExit },
	}
}

func versionWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "version", Topic: "shell", Offline: true,
		Summary:  "show the version of the program",
		Examples: []spec.Example{{Line: "version", Says: "the version of this program"}},
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			return spec.Record(spec.Columns("program", "version"), "shardsh", s.version), nil
		},
	}
}

// SystemExample is an example and the store it is meant for, "" for any.
type SystemExample struct {
	spec.Example
	System string
}

// Examples lists the examples of every word, for the tests that run them.
func Examples() []SystemExample {
	s := &Shell{session: newSession()}
	var all []SystemExample
	for _, c := range append(Words(s), builtins(s)...) {
		for _, e := range c.Examples {
			x := SystemExample{Example: e}
			if len(c.Systems) > 0 {
				x.System = c.Systems[0]
			}
			all = append(all, x)
		}
	}
	return all
}

package commands

import "shardsh/commands/spec"

// Words lists the words that every store has.
func Words(env Env) []spec.Command {
	return []spec.Command{
		Doctor(env),
		ShowTable(env),
		ShowTablet(env),
	}
}

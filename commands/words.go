package commands

import "shardsh/commands/spec"

// Words lists the words that every store has.
func Words(env Env) []spec.Command {
	return []spec.Command{
		Doctor(env),
		ShowTable(env),
		ShowTablet(env),
		BlockServices(env),
		FSCheck(env),
		FSLs(env),
		FSStat(env),
		FSCat(env),
		FSGet(env),
		FSPut(env),
		FSCopy(env),
		FSRm(env),
	}
}

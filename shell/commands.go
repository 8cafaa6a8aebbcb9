package shell

import (
	"shardsh/commands"
	"shardsh/commands/openmldb"
	"shardsh/commands/pegasus"
	"shardsh/commands/spec"
)

// Words lists every word of every store, in the order of help. A new family of words is one line here.
func Words(env commands.Env) []spec.Command {
	var all []spec.Command
	all = append(all, commands.Words(env)...)
	all = append(all, pegasus.Words(env)...)
	all = append(all, openmldb.Words(env)...)
	return all
}

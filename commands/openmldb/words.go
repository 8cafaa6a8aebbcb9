// Package openmldb holds the words that only OpenMLDB has, with the names, arguments and columns its operators know.
package openmldb

import (
	"shardsh/commands"
	"shardsh/commands/spec"
)

// systems is where these words exist.
var systems = []string{"openmldb"}

// Words lists the words of OpenMLDB.
func Words(env commands.Env) []spec.Command {
	return []spec.Command{
		ShowTable(env),
		ShowOpStatus(env),
	}
}

// Package pegasus holds the words that only Apache Pegasus has, with the names, options and columns its operators know.
package pegasus

import (
	"shardsh/commands"
	"shardsh/commands/spec"
)

// systems is where these words exist.
var systems = []string{"pegasus"}

// Words lists the words of Pegasus.
func Words(env commands.Env) []spec.Command {
	return []spec.Command{
		ClusterInfo(env),
		Nodes(env),
		ServerInfo(env),
		Ls(env),
		App(env),
		Create(env),
		Drop(env),
		GetAppEnvs(env),
		SetAppEnvs(env),
		DelAppEnvs(env),
		Set(env),
		Get(env),
		Del(env),
		Exist(env),
		TTL(env),
		Scan(env),
		CountData(env),
		Hash(env),
	}
}

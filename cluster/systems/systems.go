// Package systems lists the stores. It stands apart from package cluster because the drivers import that one.
package systems

import (
	"shardsh/cluster"
	"shardsh/cluster/openmldb"
	"shardsh/cluster/pegasus"
)

// All lists the systems, in the order they are tried for an address and shown in the matrix.
func All() []cluster.System {
	return []cluster.System{
		pegasus.System(),
		openmldb.System(),
	}
}

// Find returns the system of that name.
func Find(name string) (cluster.System, bool) {
	for _, s := range All() {
		if s.Name == name {
			return s, true
		}
	}
	return cluster.System{}, false
}

package sandbox

import (
	"testing"

	clusters "shardsh/cluster"
	"shardsh/cluster/clustertest"
	"shardsh/cluster/pegasus"
)

// The driver keeps the contract of all drivers, on a cluster as real as it gets.
func TestConformance(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	u.healthy("TableA")
	clustertest.Run(t, clustertest.Suite{
		System:  pegasus.System(),
		Address: u.metas,
		Elsewhere: []func(string) string{
			func(server string) string { return server },
		},
		Malformed: []string{"", "host", "host:", ":1", "host:0", "host:1,", "zk://host:1/root"},
		NewTable:  clusters.NewTable{Name: "made", Partitions: 4, Replicas: 3},
		Settings:  map[string]string{"business.info": "a, b", "default_ttl": "60"},
	})
}

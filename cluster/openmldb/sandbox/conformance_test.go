package sandbox

import (
	"testing"

	clusters "shardsh/cluster"
	"shardsh/cluster/clustertest"
	"shardsh/cluster/openmldb"
)

// The driver keeps the contract of all drivers, on a cluster as real as it gets.
func TestConformance(t *testing.T) {
	c := run(t, "", nil)
	newUser(t, c).becomesWhole()
	clustertest.Run(t, clustertest.Suite{
		System:  openmldb.System(),
		Address: c.Address(),
		Elsewhere: []func(string) string{
			func(server string) string { return "ns://" + server },
			func(server string) string { return "zk://" + server + "/openmldb" },
		},
		Malformed: []string{"", "127.0.0.1:6527", "ns://", "zk://127.0.0.1:2181", "ns://host:0", "zk://host:1/a b"},
		NewTable: clusters.NewTable{Name: "made", Partitions: 4, Replicas: 2, Settings: map[string]string{
			"columns": "card:string,at:timestamp", "index": "card:at", "ttl": "latest:2", "db": "demo_db",
		}},
	})
}

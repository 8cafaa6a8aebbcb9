package sandbox

import (
	"testing"

	"google.golang.org/protobuf/proto"

	clusters "shardsh/cluster"
	"shardsh/cluster/clustertest"
	driver "shardsh/cluster/openmldb"
	"shardsh/cluster/openmldb/pb/ns"
)

// The driver keeps the contract of all drivers, on a cluster as real as it gets.
func TestConformance(t *testing.T) {
	u := newUser(t, run(t, "", nil))
	u.becomesWhole()
	u.order("CreateDatabase", &ns.CreateDatabaseRequest{Db: proto.String("db")})
	clustertest.Run(t, clustertest.Suite{
		System:  driver.System(),
		Address: u.c.Address(),
		Elsewhere: []func(string) string{
			func(server string) string { return "ns://" + server },
			func(server string) string { return "zk://" + server + "/openmldb" },
		},
		Malformed: []string{"", "127.0.0.1:6527", "ns://", "zk://127.0.0.1:2181", "ns://host:0", "zk://host:1/a b"},
		NewTable: clusters.NewTable{Name: "made", Partitions: 2, Replicas: 2, Settings: map[string]string{
			"columns": "card:string,at:timestamp", "index": "card:at", "ttl": "latest:2", "db": "db",
		}},
	})
}

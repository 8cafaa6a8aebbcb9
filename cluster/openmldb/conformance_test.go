package openmldb

import (
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster"
	"shardsh/cluster/clustertest"
	"shardsh/cluster/openmldb/pb/ns"
)

// keepTables has the nameserver of a box create and drop tables.
func (b *box) keepTables() {
	var mu sync.Mutex
	tables := []*ns.TableInfo{b.info}
	var endpoints []string
	for _, s := range b.tablets {
		endpoints = append(endpoints, s.endpoint)
	}
	named := func(name, db string) func(*ns.TableInfo) bool {
		return func(info *ns.TableInfo) bool { return info.GetName() == name && info.GetDb() == db }
	}
	answering(b.ns, "ShowTable", func(q *ns.ShowTableRequest, a *ns.ShowTableResponse) {
		mu.Lock()
		defer mu.Unlock()
		a.Code = proto.Int32(0)
		for _, info := range tables {
			if q.Name == nil || named(q.GetName(), q.GetDb())(info) {
				a.TableInfo = append(a.TableInfo, proto.CloneOf(info))
			}
		}
	})
	answering(b.ns, "CreateTable", func(q *ns.CreateTableRequest, a *ns.GeneralResponse) {
		mu.Lock()
		defer mu.Unlock()
		asked := q.GetTableInfo()
		if slices.ContainsFunc(tables, named(asked.GetName(), asked.GetDb())) {
			refuse(a, codeTableExists, "table already exists")
			return
		}
		made := flowInfo(int(asked.GetPartitionNum()), endpoints[:asked.GetReplicaNum()]...)
		made.Name, made.Db, made.Tid = asked.Name, asked.Db, proto.Uint32(uint32(10+len(tables)))
		tables = append(tables, made)
		a.Code = proto.Int32(0)
	})
	answering(b.ns, "DropTable", func(q *ns.DropTableRequest, a *ns.GeneralResponse) {
		mu.Lock()
		defer mu.Unlock()
		at := slices.IndexFunc(tables, named(q.GetName(), q.GetDb()))
		if at < 0 {
			refuse(a, codeNoTable, "table does not exist!")
			return
		}
		tables = slices.Delete(tables, at, at+1)
		a.Code = proto.Int32(0)
	})
}

// The driver keeps the contract of all drivers.
func TestConformance(t *testing.T) {
	b := newBox(t, 4)
	b.keepTables()
	b.change(func(info *ns.TableInfo) { info.Db = proto.String("db") })
	clustertest.Run(t, clustertest.Suite{
		System:  System(),
		Address: schemeNS + b.ns.endpoint,
		Elsewhere: []func(string) string{
			func(server string) string { return schemeNS + server },
			func(server string) string { return schemeZK + server + "/openmldb" },
		},
		Malformed: []string{"", "127.0.0.1:6527", "ns://", "zk://127.0.0.1:2181", "ns://host:0", "zk://host:1/a b"},
		NewTable: cluster.NewTable{Name: "made", Partitions: 2, Replicas: 2, Settings: map[string]string{
			"columns": "card:string,at:timestamp", "index": "card:at", "ttl": "latest:2", "db": "db",
		}},
	})
}

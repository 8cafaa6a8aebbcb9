package line

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// operatorLines are lines that operators of the stores already know, as they paste them.
var operatorLines = map[string]string{
	">>> use TableA": "use TableA",
	">>> copy_data -c ClusterB -a TableB -t 10000":                                            "copy_data -c ClusterB -a TableB -t 10000",
	"remote_command -t replica-server  nfs.max_send_rate_megabytes 50":                        "remote_command -t replica-server nfs.max_send_rate_megabytes 50",
	"remote_command -t replica-server  nfs.max_send_rate_megabytes_per_disk 100":              "remote_command -t replica-server nfs.max_send_rate_megabytes_per_disk 100",
	"backup 3 hdfs_zjy /user/pegasus/backup":                                                  "",
	"restore -c ClusterA -a single -i 4 -t 1742888751127 -b hdfs_zjy -r /user/pegasus/backup": "",
	">>> use TableB": "use TableB",
	">>> set_app_envs rocksdb.usage_scenario bulk_load":                                                                   "set_app_envs rocksdb.usage_scenario bulk_load",
	">>> start_bulk_load -a TableB -c ClusterB -p hdfs_zjy -r /user/pegasus/split":                                        "start_bulk_load -a TableB -c ClusterB -p hdfs_zjy -r /user/pegasus/split",
	"create TableB -p 64 -e rocksdb.allow_ingest_behind=true":                                                             "",
	">>> start_bulk_load -a TableB -c ClusterB -p hdfs_zjy -r /user/pegasus/split --ingest_behind":                        "start_bulk_load -a TableB -c ClusterB -p hdfs_zjy -r /user/pegasus/split --ingest_behind",
	">>> set_app_envs replica.deny_client_request reconfig*all":                                                           "set_app_envs replica.deny_client_request reconfig*all",
	"./bin/openmldb --zk_cluster=172.27.128.31:8090,172.27.128.32:8090 --zk_root_path=/openmldb_cluster --role=ns_client": "",
	"> confget":                                            "confget",
	"> confset auto_failover false":                        "confset auto_failover false",
	">confget":                                             "confget",
	"confset auto_failover true":                           "",
	"> showtable":                                          "showtable",
	">showtable":                                           "showtable",
	"> showtablet":                                         "showtablet",
	"> showopstatus":                                       "showopstatus",
	"> offlineendpoint 172.27.128.32:8541":                 "offlineendpoint 172.27.128.32:8541",
	"> recoverendpoint 172.27.128.32:8541":                 "recoverendpoint 172.27.128.32:8541",
	"changeleader table_name pid":                          "",
	"recovertable table_name pid endpoint":                 "",
	"updatetablealive t1 * 172.27.2.52:9991 no":            "",
	"updatetablealive table_name pid 172.27.2.52:9991 yes": "",
	"loadtable test 1 1 144000 8":                          "",
	"gettablestatus 1 1":                                   "",
	"backup -lookup lookuplist -ns namespace -table table_name -data_dir backup -type kv,hash,set,zset,list -qps 100": "",
	"backup -lookup lookuplist -ns namespace -table table_name -data_dir backup -type all -qps 100":                   "",
	"restore -lookup lookuplist -data restore -ns namespace -table table_name -qps 1000":                              "",
	"POST /synceronly?enable=true": "",
	"ETCDCTL_API=3 ./etcdctl make-mirror ${targetMasterIP}:2370 --endpoints=${sourceMasterIP}:2370": "ETCDCTL_API=3 ./etcdctl make-mirror ⟨targetMasterIP⟩:2370 --endpoints=⟨sourceMasterIP⟩:2370",
	"./etcdctl --endpoints=http://${targetMasterIP}:2370 del /server --prefix":                      "./etcdctl --endpoints=http://⟨targetMasterIP⟩:2370 del /server --prefix",
	"scp -r root@sourcePsIP:/export/vdb root@targetPsIP:/export/vdb":                                "",
	"./milvus-backup create -n my_backup":                                                           "",
	"./milvus-backup list":                                                                          "",
	"./milvus-backup get -n my_backup":                                                              "",
	"./milvus-backup restore -n my_backup -s _recover":                                              "",
	"./milvus-backup restore -n my_backup -r":                                                       "",
	"./milvus-backup --help":                                                                        "",
	".milvus-backup server run -p 8090":                                                             "",
}

// TestOperatorLines: each line is one command; the words are those separated by blanks ("" means as they stand).
func TestOperatorLines(t *testing.T) {
	for src, want := range operatorLines {
		if want == "" {
			want = src
		}
		got, err := Parse(src)
		if err != nil || len(got) != 1 {
			t.Errorf("Parse(%q): %v, %v", src, shapesOf(got), err)
			continue
		}
		if diff := cmp.Diff(shape{Words: strings.Fields(want)}, shapeOf(got[0])); diff != "" {
			t.Errorf("Parse(%q): -want +got\n%s", src, diff)
		}
	}
}

func TestPastedDocument(t *testing.T) {
	src := `curl -XPOST -d '{"partition_ids":[1],"node_id":1,"method":0}' http://127.0.0.1:8817/partitions/change_member`
	got, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	want := words("curl", "-XPOST", "-d", `{"partition_ids":[1],"node_id":1,"method":0}`, "http://127.0.0.1:8817/partitions/change_member")
	if diff := cmp.Diff(want, shapeOf(got[0])); diff != "" {
		t.Error(diff)
	}
}

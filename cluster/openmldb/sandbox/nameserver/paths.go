package nameserver

import (
	"strconv"
	"time"

	"shardsh/cluster/openmldb/pb/ns"
)

// paths are the nodes of a cluster in the coordination tree.
type paths struct {
	leader, lock          string
	nodes, sdk            string
	tid, term, notify     string
	tables, dbTables, dbs string
	opIndex, ops          string
	auto, globals         string
	procedures, functions string
	zone, replicas        string
}

func (s *Server) paths() paths {
	root := s.config.Tree.Root()
	return paths{
		leader: root + "/leader", lock: root + "/leader/lock_request",
		nodes: root + "/nodes", sdk: root + "/map/sdkendpoints",
		tid: root + "/table/table_index", term: root + "/table/term", notify: root + "/table/notify",
		tables: root + "/table/table_data", dbTables: root + "/table/db_table_data", dbs: root + "/db",
		opIndex: root + "/op/op_index", ops: root + "/op/op_data",
		auto: root + "/config/auto_failover", globals: root + "/notify/global_variable",
		procedures: root + "/store_procedure/db_sp_data", functions: root + "/data/function",
		zone: root + "/cluster/follower", replicas: root + "/cluster/replica",
	}
}

// table is where a table stands: by its name, or by its id when it is in a database.
func (p paths) table(t *ns.TableInfo) string {
	if t.GetDb() == "" {
		return p.tables + "/" + t.GetName()
	}
	return p.dbTables + "/" + strconv.FormatUint(uint64(t.GetTid()), 10)
}

func (p paths) op(id uint64) string { return p.ops + "/" + strconv.FormatUint(id, 10) }

// times are the store's timers, divided.
type times struct {
	heartbeat time.Duration // a tablet that is offline for longer is failed over (tablet_heartbeat_timeout, shipped 60 s)
	check     time.Duration // between looks at whether it is (tablet_offline_check_interval)
	tasks     time.Duration // between questions for the states of tasks (get_task_status_interval)
	status    time.Duration // between questions for the states of partitions
	keepAlive time.Duration // between looks at whether there is a session (zk_keep_alive_check_interval)
	rpc       time.Duration // a call to a tablet (request_timeout_ms)
}

// leastRPC bounds calls from below: a slow machine must not fail what a real one does at once.
const leastRPC = 5 * time.Second

func timesOf(factor int) times {
	by := func(d time.Duration) time.Duration { return d / time.Duration(max(factor, 1)) }
	return times{
		heartbeat: by(60 * time.Second), check: by(time.Second), tasks: by(2 * time.Second), status: by(2 * time.Second),
		keepAlive: by(15 * time.Second), rpc: max(by(20*time.Second), leastRPC),
	}
}

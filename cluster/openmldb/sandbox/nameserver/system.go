package nameserver

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
)

// systemReplicas is how many replicas the hidden tables have (system_table_replica_num, as shipped). With fewer tablets
// they are not made, and a real cluster does not start.
const systemReplicas = 2

// systemTable is one of the tables that the nameserver makes for the SQL layer, which reads them when a client starts.
type systemTable struct {
	db, name string
	columns  string // "name type, …"
	indexes  string // "column+column, …"
	rows     [][]any
}

func systemTables() []systemTable {
	return []systemTable{
		{
			db: internalDB, name: "JOB_INFO",
			columns: "id int, job_type string, state string, start_time timestamp, end_time timestamp, parameter string, cluster string, application_id string, error string",
			indexes: "id",
		},
		{
			db: internalDB, name: "PRE_AGG_META_INFO",
			columns: "aggr_table string, aggr_db string, base_db string, base_table string, aggr_func string, aggr_col string, partition_cols string, order_by_col string, bucket_size string, filter_col string",
			indexes: "aggr_table, base_db+base_table+aggr_func+aggr_col+partition_cols+order_by_col+filter_col",
		},
		{
			db: internalDB, name: "USER",
			columns: "Host string, User string, authentication_string string, password_last_changed timestamp, password_expired_time bigint, create_time timestamp, update_time timestamp, account_type int, privileges string, extra_info string",
			indexes: "Host+User",
			rows:    [][]any{{"%", "root", "1e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", nil, nil, nil, nil, nil, nil, nil}},
		},
		{
			db: informationDB, name: "GLOBAL_VARIABLES",
			columns: "Variable_name string, Variable_value string",
			indexes: "Variable_name",
			rows: [][]any{
				{"execute_mode", "offline"}, {"enable_trace", "false"}, {"sync_job", "false"}, {"job_timeout", "20000"},
			},
		},
		{
			db: informationDB, name: "DEPLOY_RESPONSE_TIME",
			columns: "DEPLOY_NAME string, TIME string, COUNT bigint, TOTAL string",
			indexes: "DEPLOY_NAME+TIME",
		},
	}
}

// info is the table as the nameserver has it.
func (s systemTable) info() (*ns.TableInfo, error) {
	t := &ns.TableInfo{
		Name: &s.name, Db: &s.db, PartitionNum: proto.Uint32(1), ReplicaNum: proto.Uint32(systemReplicas), SegCnt: proto.Uint32(segments),
	}
	for column := range strings.SplitSeq(s.columns, ", ") {
		name, text, _ := strings.Cut(column, " ")
		kind, known := wire.ParseType(text)
		if !known {
			return nil, fmt.Errorf("%s has a column of type %s", s.name, text)
		}
		t.ColumnDesc = append(t.ColumnDesc, &common.ColumnDesc{Name: &name, DataType: kind.Enum()})
	}
	for index := range strings.SplitSeq(s.indexes, ", ") {
		t.ColumnKey = append(t.ColumnKey, &common.ColumnKey{
			IndexName: proto.String("INDEX_" + strings.ReplaceAll(index, "+", "_")), ColName: strings.Split(index, "+"),
			Ttl: &common.TTLSt{TtlType: types.TTLType_kLatestTime.Enum(), LatTtl: proto.Uint64(1)},
		})
	}
	return t, nil
}

// Settled says whether a leading nameserver has made everything that a cluster begins with.
func (s *Server) Settled() bool {
	l := s.leading()
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled || !s.config.SystemTables
}

// makeSystemTables makes what is missing of the hidden databases and tables, once there are tablets for them.
func (l *lead) makeSystemTables() {
	l.mu.Lock()
	for _, db := range []string{internalDB, informationDB, preAggDB} {
		if err := l.makeDatabase(db, true); err != nil {
			l.log("make database %s: %v", db, err)
		}
	}
	l.mu.Unlock()
	for _, s := range systemTables() {
		for !l.makeSystemTable(s) {
			if !l.sleep(l.ctx, l.times.check) {
				return
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled = true
}

// makeSystemTable is false when it shall be tried again.
func (l *lead) makeSystemTable(s systemTable) bool {
	l.mu.Lock()
	there := l.tables[tableName{s.db, s.name}] != nil
	tablets := len(l.healthyOnes())
	l.mu.Unlock()
	if there || tablets < systemReplicas {
		return there
	}
	t, err := s.info()
	if err == nil {
		err = l.make(l.ctx, t, true)
	}
	for _, row := range s.rows {
		if err == nil {
			err = l.put(t, row)
		}
	}
	if err != nil {
		l.log("make table %s.%s: %v", s.db, s.name, err)
	}
	return err == nil
}

// put writes a row of a table with one partition.
func (l *lead) put(t *ns.TableInfo, row []any) error {
	schema, at := schemaOf(t)
	value, err := schema.Encode(row)
	if err != nil {
		return err
	}
	q := &api.PutRequest{Tid: t.Tid, Pid: proto.Uint32(0), Value: value, Time: proto.Int64(time.Now().UnixMilli())}
	for i, k := range t.GetColumnKey() {
		q.Dimensions = append(q.Dimensions, &api.Dimension{Key: proto.String(keyText(k, row, at)), Idx: proto.Uint32(uint32(i))})
	}
	return l.call(l.ctx, leaderOf(partition(t, 0)), "Put", q, &api.PutResponse{})
}

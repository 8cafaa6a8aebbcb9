package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/pb/types"
	"shardsh/cluster/openmldb/wire"
)

// filledFile says in a cluster's directory that its first content was made.
const filledFile = "filled"

// demoDB is the database of the table that is not the documents'.
const demoDB = "demo_db"

// When the first rows were written: the time of a row in OpenMLDB's documents.
const firstRow = 1528872944000

// fill makes the first content, once: `flow`, the table of the documents on failover, which has no database; and a table
// with a column of every common type. The second cluster has the database alone.
func (c *cluster) fill(ctx context.Context) error {
	marker := filepath.Join(c.dir, filledFile)
	if _, err := os.Stat(marker); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	u := c.client()
	defer u.close()
	db := &ns.CreateDatabaseRequest{Db: proto.String(demoDB), IfNotExists: proto.Bool(true)}
	if err := u.lead(ctx, "CreateDatabase", db, &ns.GeneralResponse{}); err != nil {
		return err
	}
	samples := []sample{flow(c.tabletAt), orders()}
	if c.name == second {
		samples = nil
	}
	for _, t := range samples {
		if err := u.create(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", t.info.GetName(), err)
		}
	}
	if err := u.synced(ctx); err != nil {
		return err
	}
	return os.WriteFile(marker, nil, 0o600)
}

// sample is a table with rows.
type sample struct {
	info *ns.TableInfo
	rows [][]any
}

type column struct {
	name string
	kind types.DataType
}

func table(db, name string, partitions, replicas uint32, columns []column, keys ...*common.ColumnKey) *ns.TableInfo {
	t := &ns.TableInfo{Db: &db, Name: &name, PartitionNum: &partitions, ReplicaNum: &replicas, ColumnKey: keys}
	for _, c := range columns {
		t.ColumnDesc = append(t.ColumnDesc, &common.ColumnDesc{Name: &c.name, DataType: c.kind.Enum()})
	}
	return t
}

func key(name, ts string, columns ...string) *common.ColumnKey {
	k := &common.ColumnKey{
		IndexName: &name, ColName: columns,
		Ttl: &common.TTLSt{TtlType: types.TTLType_kAbsoluteTime.Enum(), AbsTtl: proto.Uint64(0)},
	}
	if ts != "" {
		k.TsName = &ts
	}
	return k
}

// flow has 300 rows: 30 cards, 10 payments each, a minute apart. Its replicas stand as in the documents' session.
func flow(tabletAt []string) sample {
	s := sample{info: table("", "flow", 2, tablets, []column{
		{"card", types.DataType_kString},
		{"mcc", types.DataType_kString},
		{"amount", types.DataType_kDouble},
		{"ts", types.DataType_kTimestamp},
	}, key("card", "ts", "card"), key("mcc", "ts", "mcc"))}
	for pid, order := range [][]int{{1, 2, 0}, {2, 0, 1}} { // the first one leads
		p := &ns.TablePartition{Pid: proto.Uint32(uint32(pid))}
		for i, t := range order {
			p.PartitionMeta = append(p.PartitionMeta, &ns.PartitionMeta{Endpoint: &tabletAt[t], IsLeader: proto.Bool(i == 0)})
		}
		s.info.TablePartition = append(s.info.TablePartition, p)
	}
	for i := range 300 {
		s.rows = append(s.rows, []any{
			fmt.Sprintf("card%d", i%30), fmt.Sprintf("mcc%d", i%7), float64(i%100) + 0.25, int64(firstRow + 60_000*i),
		})
	}
	return s
}

// orders has 40 rows, a few with NULL.
func orders() sample {
	s := sample{info: table(demoDB, "orders", 4, 2, []column{
		{"id", types.DataType_kBigInt},
		{"customer", types.DataType_kString},
		{"item", types.DataType_kVarchar},
		{"quantity", types.DataType_kInt},
		{"rating", types.DataType_kSmallInt},
		{"weight", types.DataType_kFloat},
		{"total", types.DataType_kDouble},
		{"paid", types.DataType_kBool},
		{"day", types.DataType_kDate},
		{"created", types.DataType_kTimestamp},
	}, key("id", "created", "id"), key("customer", "created", "customer"))}
	items := []string{"lamp", "chair", "desk", "shelf", ""}
	for i := range 40 {
		row := []any{
			int64(1000 + i), fmt.Sprintf("customer%d", i%8), items[i%len(items)], int32(1 + i%5), int16(i % 6), float32(i) / 4,
			float64(i*1995) / 100, i%3 != 0,
			wire.Date{Year: 2024, Month: 1 + i%12, Day: 1 + i%28},
			int64(firstRow + 3_600_000*i),
		}
		if i%10 == 9 {
			row[2], row[4] = nil, nil
		}
		s.rows = append(s.rows, row)
	}
	return s
}

// create makes a table and puts its rows, those of one partition one after the other.
func (u *client) create(ctx context.Context, s sample) error {
	q := &ns.CreateTableRequest{TableInfo: s.info, CreateIfNotExist: proto.Bool(true)}
	if err := u.lead(ctx, "CreateTable", q, &ns.GeneralResponse{}); err != nil {
		return err
	}
	var a ns.ShowTableResponse
	if err := u.lead(ctx, "ShowTable", &ns.ShowTableRequest{Name: s.info.Name, Db: s.info.Db}, &a); err != nil {
		return err
	}
	if len(a.GetTableInfo()) != 1 {
		return errors.New("it is not there after it was created")
	}
	t := a.GetTableInfo()[0]
	for _, row := range s.rows {
		if err := u.put(ctx, t, row); err != nil {
			return err
		}
	}
	return nil
}

// put writes a row: to every partition that one of its keys belongs to, with the keys that do.
func (u *client) put(ctx context.Context, t *ns.TableInfo, row []any) error {
	schema, at := wire.Schema{}, map[string]int{}
	for i, c := range t.GetColumnDesc() {
		schema.Columns = append(schema.Columns, wire.Column{Name: c.GetName(), Type: c.GetDataType()})
		at[c.GetName()] = i
	}
	value, err := schema.Encode(row)
	if err != nil {
		return err
	}
	byPid := map[uint32][]*api.Dimension{}
	for i, k := range t.GetColumnKey() {
		texts := make([]string, len(k.GetColName()))
		for j, c := range k.GetColName() {
			texts[j] = wire.KeyText(row[at[c]])
		}
		text := wire.JoinKey(texts)
		pid := wire.PartitionOf(text, t.GetPartitionNum())
		byPid[pid] = append(byPid[pid], &api.Dimension{Key: &text, Idx: proto.Uint32(uint32(i))})
	}
	for pid, dimensions := range byPid {
		for _, p := range t.GetTablePartition() {
			for _, m := range p.GetPartitionMeta() {
				if p.GetPid() != pid || !m.GetIsLeader() {
					continue
				}
				q := &api.PutRequest{Tid: t.Tid, Pid: &pid, Value: value, Dimensions: dimensions, Time: proto.Int64(firstRow)}
				if err := u.tablet(ctx, m.GetEndpoint(), "Put", q, &api.PutResponse{}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// synced waits until every follower has what its leader has now, and the nameserver knows it.
func (u *client) synced(ctx context.Context) error {
	has := map[string]uint64{}
	for i, at := range u.c.tabletAt {
		if !u.c.runs(-1, i) {
			continue // a spare one
		}
		statuses, err := u.statuses(ctx, at)
		if err != nil {
			return err
		}
		for _, s := range statuses {
			if s.GetMode() == api.TableMode_kTableLeader {
				has[idOf(s.GetTid(), s.GetPid())] = s.GetOffset()
			}
		}
	}
	var err error
	waited := u.c.await(ctx, "followers to have what their leaders have", func() bool {
		var tables []*ns.TableInfo
		if tables, err = u.tables(ctx); err != nil {
			return true
		}
		for _, t := range tables {
			for _, p := range t.GetTablePartition() {
				for _, m := range p.GetPartitionMeta() {
					if m.Offset == nil || m.GetOffset() != has[idOf(t.GetTid(), p.GetPid())] {
						return false
					}
				}
			}
		}
		return true
	})
	return errors.Join(err, waited)
}

package nameserver

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/wire"
)

// traversed is how many rows a page of a traversal has.
const traversed = 500

// schemaOf is a table's rows' schema, and where each column is.
func schemaOf(t *ns.TableInfo) (wire.Schema, map[string]int) {
	s, at := wire.Schema{Versions: map[uint8]int{}}, map[string]int{}
	for _, columns := range [][]*common.ColumnDesc{t.GetColumnDesc(), t.GetAddedColumnDesc()} {
		for _, c := range columns {
			at[c.GetName()] = len(s.Columns)
			s.Columns = append(s.Columns, wire.Column{Name: c.GetName(), Type: c.GetDataType()})
		}
	}
	for _, v := range t.GetSchemaVersions() {
		s.Versions[uint8(v.GetId())] = int(v.GetFieldCount())
	}
	return s, at
}

// keyText is the text of a row's key in an index.
func keyText(k *common.ColumnKey, row []any, at map[string]int) string {
	parts := make([]string, len(k.GetColName()))
	for i, c := range k.GetColName() {
		parts[i] = wire.KeyText(row[at[c]])
	}
	return wire.JoinKey(parts)
}

// fillIndexes reads every row by the first index and puts it into the new ones, each time into the partition that its
// key there belongs to.
func (y *layout) fillIndexes(ctx context.Context, keys []*common.ColumnKey) error {
	t := y.now()
	schema, at := schemaOf(t)
	places := make([]uint32, len(keys)) // of the new indexes among all
	all := proto.CloneOf(t)
	for i, k := range keys {
		putIndex(all, k)
		for place, other := range all.GetColumnKey() {
			if other.GetIndexName() == k.GetIndexName() {
				places[i] = uint32(place)
			}
		}
	}
	for _, p := range t.GetTablePartition() {
		for row, err := range y.rows(ctx, t, p) {
			if err != nil {
				return err
			}
			values, err := schema.Decode(row.Row)
			if err != nil {
				return fmt.Errorf("a row of partition %d: %w", p.GetPid(), err)
			}
			for i, k := range keys {
				key := keyText(k, values, at)
				pid := wire.PartitionOf(key, t.GetPartitionNum())
				if len(t.GetPartitionKey()) > 0 {
					pid = p.GetPid()
				}
				q := &api.PutRequest{
					Tid: &y.tid, Pid: &pid, Value: row.Row, Time: proto.Int64(int64(row.Time)),
					Dimensions: []*api.Dimension{{Key: &key, Idx: &places[i]}},
				}
				if err := y.l.call(ctx, leaderOf(partition(t, pid)), "Put", q, &api.PutResponse{}); err != nil {
					return fmt.Errorf("put into partition %d: %w", pid, err)
				}
			}
		}
	}
	return nil
}

// rows reads a partition by its first index.
func (y *layout) rows(ctx context.Context, t *ns.TableInfo, p *ns.TablePartition) func(func(wire.Pair, error) bool) {
	return func(yield func(wire.Pair, error) bool) {
		q := &api.TraverseRequest{
			Tid: &y.tid, Pid: p.Pid, IdxName: t.GetColumnKey()[0].IndexName, Limit: proto.Uint32(traversed),
		}
		for {
			var a api.TraverseResponse
			err := y.l.call(ctx, leaderOf(p), "Traverse", q, &a)
			var pairs []wire.Pair
			if err == nil {
				pairs, err = wire.TraversePairs(a.GetPairs())
			}
			if err != nil {
				yield(wire.Pair{}, fmt.Errorf("read partition %d: %w", p.GetPid(), err))
				return
			}
			for _, pair := range pairs {
				if !yield(pair, nil) {
					return
				}
			}
			if a.GetIsFinish() || len(pairs) == 0 {
				return
			}
			q.Pk, q.Ts, q.TsPos = a.Pk, a.Ts, a.TsPos
		}
	}
}

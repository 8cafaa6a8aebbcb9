package tablet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/wire"
)

// callTimeout bounds a call to another tablet (request_timeout_ms).
const callTimeout = 20 * time.Second

// twin is the place of a row in another index.
type twin struct {
	dimension
	ts     uint64
	tsName *string
}

// deleteElsewhere removes the rows that a delete is about from the other indexes, wherever their keys are.
func (t *Tablet) deleteElsewhere(ctx context.Context, p *partition, e *entry) error {
	p.mu.RLock()
	meta := p.meta
	twins, err := p.twins(e)
	p.mu.RUnlock()
	if err != nil || len(twins) == 0 {
		return err
	}
	table, err := t.tableInfo(meta)
	if err != nil {
		return err
	}
	for _, w := range twins {
		pid := wire.PartitionOf(w.key, uint32(len(table.GetTablePartition())))
		q := &api.DeleteRequest{
			Tid: &p.id.tid, Pid: &pid, Dimensions: []*api.Dimension{{Key: &w.key, Idx: &w.idx}}, Ts: &w.ts,
			TsName: w.tsName, EnableDecodeValue: proto.Bool(false),
		}
		if w.ts > 1 {
			q.EndTs = proto.Uint64(w.ts - 1)
		}
		var a api.GeneralResponse
		if err := t.call(ctx, leaderOf(table, pid), "Delete", q, &a); err != nil || a.GetCode() != codeOK {
			return fmt.Errorf("delete failed. key %s pid %d msg: %w", w.key, pid, errors.Join(err, textError(a.GetMsg())))
		}
	}
	return nil
}

// twins finds where the rows that a delete is about stand in other indexes. A delete of times is about the rows of the
// first index that its column orders; the other indexes of that column are reached by the entry itself.
func (p *partition) twins(e *entry) (all []twin, err error) {
	var own *index
	keys := []string{}
	if len(e.dims) > 0 {
		own, _ = p.indexAt(e.dims[0].idx)
		keys = append(keys, e.dims[0].key)
	} else {
		for _, x := range p.indexes {
			if x.state == indexReady && e.tsName != nil && x.tsName == *e.tsName {
				own = x
				break
			}
		}
		if own == nil {
			return nil, nil
		}
		for key := range own.keys {
			keys = append(keys, key)
		}
	}
	from := uint64(math.MaxUint64)
	if e.hasTS {
		from = e.ts
	}
	for _, key := range keys {
		for at, row := range own.under(key, from) {
			if e.endTS != nil && at.ts <= *e.endTS {
				break
			}
			if all, err = p.appendTwins(all, own, row, len(e.dims) == 0); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func (p *partition) appendTwins(all []twin, own *index, row *entry, skipTime bool) ([]twin, error) {
	s := p.schemas[row.value[1]]
	if s == nil {
		return nil, errors.New("invalid schema version")
	}
	values, err := s.Decode(row.value)
	if err != nil {
		return nil, errors.New("get key failed")
	}
	for i, x := range p.indexes {
		if x == own || x.state != indexReady || skipTime && x.tsName == own.tsName {
			continue
		}
		w := twin{dimension: dimension{idx: uint32(i)}}
		if w.ts, err = p.time(x, row); err != nil {
			return nil, errors.New("get ts value failed")
		}
		if x.tsName != "" {
			w.tsName = &x.tsName
		}
		if w.key, err = keyOf(s, x, values); err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, nil
}

// keyOf is the text of a row's key in an index.
func keyOf(s *schema, x *index, values []any) (string, error) {
	texts := make([]string, len(x.columns))
	for i, name := range x.columns {
		found := false
		for c, column := range s.Columns {
			if column.Name == name {
				texts[i], found = wire.KeyText(values[c]), true
			}
		}
		if !found {
			return "", errors.New("get key failed")
		}
	}
	return wire.JoinKey(texts), nil
}

// tableInfo reads what the nameserver keeps of a table.
func (t *Tablet) tableInfo(m *api.TableMeta) (*ns.TableInfo, error) {
	path := fmt.Sprintf("%s/table/db_table_data/%d", t.c.Tree.Root(), m.GetTid())
	if m.GetDb() == "" {
		path = fmt.Sprintf("%s/table/table_data/%s", t.c.Tree.Root(), m.GetName())
	}
	s := t.member.current()
	if s == nil {
		return nil, errors.New("no TableHandler")
	}
	data, _, err := s.Get(path)
	if err != nil {
		return nil, fmt.Errorf("no TableHandler: %w", err)
	}
	table := &ns.TableInfo{}
	if err := proto.Unmarshal(data, table); err != nil {
		return nil, fmt.Errorf("no TableHandler: %w", err)
	}
	if len(table.GetTablePartition()) == 0 {
		return nil, errors.New("no TableHandler: the table has no partition")
	}
	return table, nil
}

// leaderOf is the endpoint of a partition's leader, "" when there is none.
func leaderOf(table *ns.TableInfo, pid uint32) string {
	for _, p := range table.GetTablePartition() {
		for _, r := range p.GetPartitionMeta() {
			if p.GetPid() == pid && r.GetIsLeader() && r.GetIsAlive() {
				return r.GetEndpoint()
			}
		}
	}
	return ""
}

func textError(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

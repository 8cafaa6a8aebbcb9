package openmldb

import (
	"slices"

	"shardsh/cluster/openmldb/wire"
	"shardsh/commands/spec"
)

// RowPlaces say where a row is put that is not to be in all indexes.
type RowPlaces struct {
	// Index is the one that it was read by: CopyRow.Key is its key there as it stands, whatever the values are.
	Index Index
	// Names are the indexes it is put into.
	Names []string
}

// Entry is where a row stands in an index.
type Entry struct {
	Index     int // among Table.Indexes
	Partition uint32
	Key       string
	Time      uint64
}

// Entries works out where a row that was read by an index stands in all indexes of the table. It was put at CopyRow.Time
// as far as that can be known. An index that orders rows by a column has no entry for a row without a time there: tablets
// do not take it.
func (t *Table) Entries(row CopyRow, values []any, read Index) ([]Entry, error) {
	op := "place a row of table " + t.TableName.String()
	together := len(t.PartitionKey) > 0
	var home uint32
	if together {
		key, err := t.keyOf(op, t.PartitionKey, values)
		if err != nil {
			return nil, err
		}
		home = wire.PartitionOf(key, uint32(len(t.Parts)))
	}
	all := make([]Entry, 0, len(t.Indexes))
	for i, x := range t.Indexes {
		e := Entry{Index: i, Partition: home, Key: row.Key, Time: row.Time}
		if x.Name != read.Name {
			var err error
			if e.Key, err = t.keyOf(op, x.Columns, values); err != nil {
				return nil, err
			}
			if at := t.column(x.TimeColumn); at >= 0 {
				ms, ok := values[at].(int64)
				if !ok || ms < 0 {
					continue
				}
				e.Time = uint64(ms)
			} else if x.TimeColumn != "" {
				return nil, spec.Errorf(spec.Failed, "%s: the table has no column %s, which orders its rows", op, x.TimeColumn)
			}
		}
		if !together {
			e.Partition = wire.PartitionOf(e.Key, uint32(len(t.Parts)))
		}
		all = append(all, e)
	}
	return all, nil
}

// Key is the text of the key that the values of a row have in an index.
func (t *Table) Key(x Index, values []any) (string, error) {
	return t.keyOf("place a row of table "+t.TableName.String(), x.Columns, values)
}

// Plain is the schema of CopyRow.Value: all columns, as version 1; any of them may be NULL.
func (t *Table) Plain() *wire.Schema {
	s := &wire.Schema{Version: 1, Columns: slices.Clone(t.Schema.Columns)}
	for i := range s.Columns {
		s.Columns[i].NotNull = false // columns that were added later are NULL in older rows
	}
	return s
}

package backup

import (
	"fmt"
	"strings"

	"shardsh/cluster/openmldb"
)

// places tell into which indexes a row of a backup is put.
type places struct {
	table *openmldb.Table
	first openmldb.Index // the one that was read first
	own   []map[int]bool // partitions that are stored by themselves, by index
	known map[string]*openmldb.RowPlaces
	alone map[string]*openmldb.RowPlaces
}

func newPlaces(m *Manifest, t *openmldb.Table) (places, error) {
	p := places{table: t, known: map[string]*openmldb.RowPlaces{}, alone: map[string]*openmldb.RowPlaces{}}
	for i, x := range m.Indexes {
		own := map[int]bool{}
		for _, n := range x.Own {
			own[n] = true
		}
		p.own = append(p.own, own)
		p.alone[x.Name] = &openmldb.RowPlaces{Index: t.Indexes[i], Names: []string{x.Name}}
		if x.Name == m.ReadBy {
			p.first = t.Indexes[i]
		}
	}
	if p.first.Name == "" {
		return p, fmt.Errorf("there is no index %s, by which rows were read", m.ReadBy)
	}
	return p, nil
}

// of answers where a row goes that is stored for an index. It may be called by one goroutine at a time.
func (p *places) of(index string, r openmldb.CopyRow, values []any) (*openmldb.RowPlaces, error) {
	if index != p.first.Name {
		return p.alone[index], nil
	}
	entries, err := p.table.Entries(r, values, p.first)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name := p.table.Indexes[e.Index].Name; name == index || !p.own[e.Index][int(e.Partition)] {
			names = append(names, name)
		}
	}
	id := strings.Join(names, "\x00")
	if p.known[id] == nil {
		p.known[id] = &openmldb.RowPlaces{Index: p.first, Names: names}
	}
	return p.known[id], nil
}

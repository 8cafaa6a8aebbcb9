package openmldb

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// copying is what copying and comparing rows asks of a cluster.
type copying interface {
	client
	CopySource(table driver.TableName, o driver.CopySourceOptions) *driver.CopySource
	CopySink(table driver.TableName, o driver.CopySinkOptions) *driver.CopySink
}

var _ copying = (*driver.Driver)(nil)

// Flags of the words that read whole tables.
var (
	callTimeFlag = spec.Flag{Name: "timeout-ms", Short: "t", Kind: spec.ArgMillis, Help: "how long each call to a server may take, instead of `option timeout`"}
	indexFlag    = spec.Flag{Name: "index", Kind: spec.ArgText, Help: "the index to read by, instead of the one that rows stay in longest"}
	fromFlag     = spec.Flag{Name: "from", Kind: spec.ArgText, Help: "only rows of this time and later: milliseconds, or 2024-05-17T12:00:00Z"}
	toFlag       = spec.Flag{Name: "to", Kind: spec.ArgText, Help: "only rows before this time"}
	somePartFlag = spec.Flag{Name: "partitions", Kind: spec.ArgText, Help: "only these partitions of the table: 0,3,5 or 1-5"}
)

// twoTables are the flags that name another table.
var twoTables = []spec.Flag{
	{Name: "target-cluster-name", Short: "c", Kind: spec.ArgCluster, Required: true, Help: "the cluster of the other table, by name or address"},
	{Name: "target-table-name", Short: "a", Kind: spec.ArgTable, Required: true, Help: "the other table: name, in the database that the first one is in, or db/name"},
}

// copySide is a table of a copy or a comparison.
type copySide struct {
	c       copying
	cluster string
	name    driver.TableName
	table   *driver.Table // nil where it is still to be created
}

func (s copySide) String() string { return fmt.Sprintf("%s of %s", s.name, s.cluster) }

// identity tells a table from another of its name.
func (s copySide) identity() string {
	text := s.cluster + ":" + s.name.String()
	if s.table != nil {
		text += fmt.Sprintf(", id %d", s.table.ID)
	}
	return text
}

// selection is which rows of the first table are meant.
type selection struct {
	index      driver.Index
	sure       bool // no row is in another index only
	partitions []int
	chosen     string // the partitions as the line has them
	from, to   time.Time
	each       time.Duration
}

func (s *selection) source(side copySide, partitions bool) *driver.CopySource {
	o := driver.CopySourceOptions{Index: s.index.Name, From: millis(s.from), To: millis(s.to)}
	if side.table != nil {
		o.TableID = side.table.ID
	}
	if partitions {
		o.Partitions = s.partitions
	}
	return side.c.CopySource(side.name, o)
}

func millis(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMilli(), 0))
}

// text says which rows they are, "" for all.
func (s *selection) text() string {
	text := ""
	if !s.from.IsZero() {
		text += ", rows from " + s.from.UTC().Format(time.RFC3339Nano)
	}
	if !s.to.IsZero() {
		text += ", rows before " + s.to.UTC().Format(time.RFC3339Nano)
	}
	if s.chosen != "" {
		text += ", partitions " + s.chosen
	}
	return text
}

func (s *selection) identity() map[string]string {
	return map[string]string{
		"index": s.index.Name, "partitions": s.chosen, "times": fmt.Sprintf("%d to %d", millis(s.from), millis(s.to)),
	}
}

// readSelection reads the flags of a line that need no cluster.
func readSelection(line *spec.Call) (*selection, error) {
	s := &selection{each: line.Duration(callTimeFlag.Name)}
	if line.Has(somePartFlag.Name) {
		s.chosen = line.String(somePartFlag.Name)
	}
	if s.each < 0 || s.each == 0 && line.Has(callTimeFlag.Name) {
		return nil, spec.Errorf(spec.Usage, "%s is no time to wait for an answer", s.each)
	}
	var err error
	if s.from, err = parseTime(line.String(fromFlag.Name)); err != nil {
		return nil, err
	}
	if s.to, err = parseTime(line.String(toFlag.Name)); err != nil {
		return nil, err
	}
	if !s.to.IsZero() && !s.from.Before(s.to) {
		return nil, spec.Errorf(spec.Usage, "--from is not before --to: no row is meant")
	}
	return s, nil
}

// of chooses among the rows of a table.
func (s *selection) of(t *driver.Table, indexName string) (err error) {
	if indexName == "" {
		s.index, s.sure, err = driver.FullestIndex(t)
	} else if s.index, err = index(t, indexName); err == nil {
		s.sure = driver.Fullest(t, s.index)
	}
	if err != nil || s.chosen == "" {
		return err
	}
	pids, err := parsePIDs(s.chosen, len(t.Parts))
	for _, p := range pids {
		s.partitions = append(s.partitions, int(p))
	}
	return err
}

// indexNote says which index is read, and what that means.
func (s *selection) indexNote(t *driver.Table) string {
	text := fmt.Sprintf("rows are read by index %s of %s", s.index.Name, t.TableName)
	if s.sure {
		if s.index.TTL.String() == "0min" {
			return text + ", from which none expires"
		}
		return text + fmt.Sprintf(", whose TTL is %s: they expire from no index later", s.index.TTL)
	}
	var others []string
	for _, x := range t.Indexes {
		if x.Name != s.index.Name {
			others = append(others, fmt.Sprintf("%s (%s)", x.Name, x.TTL))
		}
	}
	return text + fmt.Sprintf(" (%s): rows that have expired from it and not from %s are left out; --index reads another one", s.index.TTL, strings.Join(others, ", "))
}

// openFirst opens the call's cluster and its first argument.
func openFirst(ctx context.Context, env commands.Env, line *spec.Call) (copySide, error) {
	c, err := commands.Driver[copying](ctx, env, line)
	if err != nil {
		return copySide{}, err
	}
	t, err := findTable(ctx, c, line, line.Arg(0))
	if err != nil {
		return copySide{}, err
	}
	return copySide{c: c, cluster: line.Cluster, name: t.TableName, table: t}, nil
}

// openSecond opens the other table; that it is not there is no error yet.
func openSecond(ctx context.Context, env commands.Env, line *spec.Call, first copySide) (copySide, error) {
	s := copySide{cluster: line.String("target-cluster-name")}
	var err error
	if s.c, err = commands.Peer[copying](ctx, env, s.cluster, "OpenMLDB"); err != nil {
		return s, err
	}
	text := line.String("target-table-name")
	s.name = driver.TableName{DB: first.name.DB, Name: text}
	if db, name, ok := strings.Cut(text, "/"); ok {
		s.name = driver.TableName{DB: db, Name: name}
	}
	if err := checkName(s.name.Name); err != nil {
		return s, err
	}
	if s.name.Internal() {
		return s, spec.Errorf(spec.Refused, "%s is one of the store's own tables", s.name)
	}
	_, s.table, err = look(ctx, s.c, s.name)
	if err == nil && s.table != nil && sameTable(first.table, s.table) {
		return s, spec.Errorf(spec.Usage, "%s is the same table", s)
	}
	return s, err
}

// sameTable says that two tables are one, maybe of a cluster that goes by two names.
func sameTable(a, b *driver.Table) bool {
	if a.ID != b.ID || a.TableName != b.TableName || len(a.Parts) != len(b.Parts) {
		return false
	}
	for i := range a.Parts {
		x, _ := a.Parts[i].Leader()
		y, _ := b.Parts[i].Leader()
		if x.Endpoint != y.Endpoint {
			return false
		}
	}
	return true
}

// size is about how many bytes the table has, as the leaders of its partitions reported them: in memory, or on disk where
// its rows are there. It is -1 when a partition's is not known.
func (s copySide) size() int64 {
	all := int64(0)
	for i := range s.table.Parts {
		r, ok := s.table.Parts[i].Leader()
		bytes := r.Memory
		if s.table.Storage == "kSSD" || s.table.Storage == "kHDD" {
			bytes = r.Disk
		}
		if !ok || bytes == nil {
			return -1
		}
		all += int64(min(*bytes, math.MaxInt64/uint64(len(s.table.Parts))))
	}
	return all
}

// state says how a table is, and about how much it has.
func (s copySide) state(partitions []int) string {
	dead, rows, size := 0, int64(0), int64(0)
	chosen := map[int]bool{}
	for _, p := range partitions {
		chosen[p] = true
	}
	for i := range s.table.Parts {
		if _, ok := s.table.Parts[i].Leader(); !ok {
			dead++
		}
		if partitions == nil || chosen[i] {
			n, bytes := s.table.Guess(i)
			rows, size = rows+n, size+bytes
		}
	}
	text := fmt.Sprintf("%s has %s", s, commands.Plural(len(s.table.Parts), "partition"))
	if dead > 0 {
		text += fmt.Sprintf(", %d without a leader, which will be waited for", dead)
	}
	which := ""
	if partitions != nil {
		which = " in the partitions chosen"
	}
	return text + fmt.Sprintf(", about %s%s, %d MB", commands.Rows(rows), which, size>>20)
}

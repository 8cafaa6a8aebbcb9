package openmldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/wire"
	"shardsh/commands/spec"
)

// Databases lists the databases, without the internal ones.
func (d *Driver) Databases(ctx context.Context) ([]string, error) {
	a := &ns.ShowDatabaseResponse{}
	_, err := d.lookUp(ctx, "list the databases", "ShowDatabase", &ns.GeneralRequest{}, a)
	return a.GetDb(), err
}

// UseDatabase says whether a database exists: NotFound when it does not.
func (d *Driver) UseDatabase(ctx context.Context, db string) error {
	_, err := d.lookUp(ctx, "use database "+db, "UseDatabase", &ns.UseDatabaseRequest{Db: proto.String(db)}, &ns.GeneralResponse{})
	return err
}

// CreateDatabase creates a database. One that is there already is an error unless ifNotExists is set.
func (d *Driver) CreateDatabase(ctx context.Context, db string, ifNotExists bool) error {
	if db == "" {
		return spec.Errorf(spec.Usage, "a database has a name")
	}
	q := &ns.CreateDatabaseRequest{Db: proto.String(db), IfNotExists: proto.Bool(ifNotExists)}
	return d.change(ctx, "create database "+db, "CreateDatabase", q)
}

// DropDatabase drops a database that is empty.
func (d *Driver) DropDatabase(ctx context.Context, db string) error {
	return d.change(ctx, "drop database "+db, "DropDatabase", &ns.DropDatabaseRequest{Db: proto.String(db)})
}

// show asks for tables: one, or all when the name is empty.
func (d *Driver) show(ctx context.Context, op string, table TableName) ([]Table, string, error) {
	q := &ns.ShowTableRequest{ShowAll: proto.Bool(table.Name == "")}
	if table.Name != "" {
		q.Name, q.Db = proto.String(table.Name), proto.String(table.DB)
	}
	a := &ns.ShowTableResponse{}
	who, err := d.lookUp(ctx, op, "ShowTable", q, a)
	if err != nil {
		return nil, who, err
	}
	var all []Table
	for _, info := range a.GetTableInfo() {
		t, err := tableOf(info)
		if err != nil {
			return nil, who, malformed(op, who, "%w", err)
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(a, b Table) int { return cmp.Compare(a.ID, b.ID) })
	return all, who, nil
}

// Describe answers what the nameserver has of a table.
func (d *Driver) Describe(ctx context.Context, table TableName) (*Table, error) {
	return d.describe(ctx, "describe table "+table.String(), table)
}

func (d *Driver) describe(ctx context.Context, op string, table TableName) (*Table, error) {
	all, who, err := d.show(ctx, op, table)
	if err != nil {
		return nil, err
	}
	// A nameserver asked for a table of a database answers the one without a database, too.
	for i := range all {
		if all[i].TableName == table {
			return &all[i], nil
		}
	}
	return nil, noTable(op, who, table.String())
}

func noTable(op, endpoint, name string) *spec.Error {
	e := spec.Errorf(spec.NotFound, "there is no table %s", name)
	e.Op, e.Endpoint = op, endpoint
	return e.WithHint(seeTables)
}

// suggest names the table that was meant, where one is called nearly so.
func suggest(missing *spec.Error, text, db string, all []Table) error {
	var names []string
	for _, t := range all {
		if t.Internal() {
			continue
		}
		if names = append(names, t.TableName.String()); t.DB == db && db != "" {
			names = append(names, t.Name)
		}
	}
	if near := spec.Suggest(text, names); len(near) > 0 {
		return missing.WithHint("did you mean %s?", near[0])
	}
	return missing
}

// DescribeAll answers what the nameserver has of all tables, by id, those of the internal databases included.
func (d *Driver) DescribeAll(ctx context.Context) ([]Table, error) {
	all, _, err := d.show(ctx, "list the tables", TableName{})
	return all, err
}

// Find reads a table's name as people write it: `db/name`, or a name alone, which is looked for in the database given,
// then among the tables without one, then in every database, where it must be there only once.
func (d *Driver) Find(ctx context.Context, text, db string) (TableName, error) {
	t, err := d.find(ctx, "find table "+text, text, db)
	if err != nil {
		return TableName{}, err
	}
	return t.TableName, nil
}

func (d *Driver) find(ctx context.Context, op, text, db string) (*Table, error) {
	all, who, err := d.show(ctx, op, TableName{})
	if err != nil {
		return nil, err
	}
	in := func(n TableName) *Table {
		if i := slices.IndexFunc(all, func(t Table) bool { return t.TableName == n }); i >= 0 {
			return &all[i]
		}
		return nil
	}
	names := []TableName{{DB: db, Name: text}, {Name: text}}
	if left, right, qualified := strings.Cut(text, "/"); qualified {
		names = append(names, TableName{DB: left, Name: right})
	}
	for _, n := range names {
		if t := in(n); t != nil {
			return t, nil
		}
	}
	var found []string
	var one *Table
	for i := range all {
		if all[i].Name == text {
			found = append(found, all[i].TableName.String())
			one = &all[i]
		}
	}
	switch len(found) {
	case 0:
		return nil, suggest(noTable(op, who, text), text, db, all)
	case 1:
		return one, nil
	}
	e := spec.Errorf(spec.Usage, "several databases have a table %s", text)
	e.Op = op
	return nil, e.WithHint("write one of %s", strings.Join(found, ", "))
}

// Create creates a table.
func (d *Driver) Create(ctx context.Context, table NewTable) error {
	op := "create table " + table.TableName.String()
	switch {
	case table.Name == "":
		return spec.Errorf(spec.Usage, "a table has a name")
	case len(table.Columns) == 0:
		return spec.Errorf(spec.Usage, "%s: a table has columns", op)
	case table.Partitions < 0 || table.Replicas < 0:
		return spec.Errorf(spec.Usage, "%s: the numbers of partitions and replicas are not negative", op)
	}
	info, err := table.toWire()
	if err != nil {
		return err
	}
	q := &ns.CreateTableRequest{TableInfo: info, CreateIfNotExist: proto.Bool(table.IfNotExists)}
	return d.change(ctx, op, "CreateTable", q)
}

// Drop drops a table with all its rows.
func (d *Driver) Drop(ctx context.Context, table TableName) error {
	q := &ns.DropTableRequest{Name: proto.String(table.Name), Db: proto.String(table.DB)}
	return d.change(ctx, "drop table "+table.String(), "DropTable", q)
}

// Truncate deletes all rows of a table.
func (d *Driver) Truncate(ctx context.Context, table TableName) error {
	q := &ns.TruncateTableRequest{Name: proto.String(table.Name), Db: proto.String(table.DB)}
	m := method{nameserver, "TruncateTable", true}
	_, err := d.askLeader(ctx, "truncate table "+table.String(), m, q, &ns.TruncateTableResponse{})
	return err
}

// SetTTL sets when rows of an index expire, or of all indexes for "". It takes effect with the tablets' second next
// garbage collection.
func (d *Driver) SetTTL(ctx context.Context, table TableName, index string, ttl TTL) error {
	desc, err := ttl.toWire()
	if err != nil {
		return err
	}
	q := &ns.UpdateTTLRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), TtlDesc: desc}
	if index != "" {
		q.IndexName = proto.String(index)
	}
	m := method{nameserver, "UpdateTTL", true}
	_, err = d.askLeader(ctx, "set the TTL of table "+table.String(), m, q, &ns.UpdateTTLResponse{})
	return err
}

// AddColumn adds a column at the end; at most 63 can be added to a table.
func (d *Driver) AddColumn(ctx context.Context, table TableName, column Column) error {
	desc, err := column.toWire()
	if err != nil {
		return err
	}
	q := &ns.AddTableFieldRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), ColumnDesc: desc}
	return d.change(ctx, fmt.Sprintf("add column %s to table %s", column.Name, table), "AddTableField", q)
}

// AddIndex begins an operation that builds an index.
func (d *Driver) AddIndex(ctx context.Context, table TableName, index Index) error {
	key, err := index.toWire()
	if err != nil {
		return err
	}
	q := &ns.AddIndexRequest{Name: proto.String(table.Name), Db: proto.String(table.DB), ColumnKey: key}
	return d.change(ctx, fmt.Sprintf("add index %s to table %s", index.Name, table), "AddIndex", q)
}

// DeleteIndex deletes an index.
func (d *Driver) DeleteIndex(ctx context.Context, table TableName, index string) error {
	q := &ns.DeleteIndexRequest{TableName: proto.String(table.Name), DbName: proto.String(table.DB), IdxName: proto.String(index)}
	return d.change(ctx, fmt.Sprintf("delete index %s of table %s", index, table), "DeleteIndex", q)
}

// CreateTable creates a table by neutral means. Its settings are columns (`card:string,amount:double,at:timestamp`),
// index (`card`, `card:at` with the column that orders rows, several joined by commas; the first column when it is
// missing), ttl (see ParseTTL), db, storage and compress.
func (d *Driver) CreateTable(ctx context.Context, table cluster.NewTable) (int64, error) {
	t, err := newTable(table)
	if err != nil {
		return 0, err
	}
	if err := d.Create(ctx, t); err != nil {
		return 0, err
	}
	made, err := d.describe(ctx, "read the new table "+t.TableName.String(), t.TableName)
	if err != nil {
		return 0, spec.Errorf(spec.PartlyDone, "the table was created: %w", err)
	}
	return int64(made.ID), nil
}

func newTable(table cluster.NewTable) (NewTable, error) {
	t := NewTable{TableName: ParseTableName(table.Name), Partitions: table.Partitions, Replicas: table.Replicas}
	var ttl TTL
	index := ""
	for key, value := range table.Settings {
		var err error
		switch key {
		case "columns":
			t.Columns, err = parseColumns(value)
		case "index":
			index = value
		case "ttl":
			ttl, err = ParseTTL(value)
		case "db":
			t.DB = value
		case "storage":
			t.Storage = value
		case "compress":
			t.Compress = value
		default:
			err = spec.Errorf(spec.Usage, "a table has no setting %q", key).WithHint("columns, index, ttl, db, storage, compress")
		}
		if err != nil {
			return NewTable{}, err
		}
	}
	if len(t.Columns) == 0 {
		return NewTable{}, spec.Errorf(spec.Usage, "table %s: the columns are missing", table.Name).
			WithHint("set columns=card:string,amount:double,at:timestamp, and index=card:at")
	}
	if index == "" {
		index = t.Columns[0].Name
	}
	for part := range strings.SplitSeq(index, ",") {
		columns, at, _ := strings.Cut(part, ":")
		t.Indexes = append(t.Indexes, Index{Name: columns, Columns: strings.Split(columns, "|"), TimeColumn: at, TTL: ttl})
	}
	return t, nil
}

// parseColumns reads `card:string,amount:double`.
func parseColumns(text string) ([]Column, error) {
	var all []Column
	for part := range strings.SplitSeq(text, ",") {
		name, kind, ok := strings.Cut(part, ":")
		if _, known := wire.ParseType(kind); !ok || !known || name == "" {
			return nil, spec.Errorf(spec.Usage, "%q is no column", part).WithHint("write NAME:TYPE, several joined by commas")
		}
		all = append(all, Column{Name: name, Type: kind})
	}
	return all, nil
}

// ParseTableName reads `db/name`, or a name alone.
func ParseTableName(text string) TableName {
	if db, name, qualified := strings.Cut(text, "/"); qualified {
		return TableName{DB: db, Name: name}
	}
	return TableName{Name: text}
}

// DropTable drops a table, which can never be recalled.
func (d *Driver) DropTable(ctx context.Context, table string, keep time.Duration) error {
	if keep != 0 {
		return spec.Errorf(spec.Usage, "OpenMLDB cannot keep a table that is dropped").WithHint("leave the time out")
	}
	name, err := d.Find(ctx, table, "")
	if err != nil {
		return err
	}
	return d.Drop(ctx, name)
}

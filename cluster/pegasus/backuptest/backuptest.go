// Package backuptest writes cold backups for tests, as replica servers leave them on a block service.
package backuptest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
)

// ID is that of the backup that tests use, and Folder where it is below its root.
const (
	ID     = 1742888751127
	Folder = "onebox/1742888751127"
)

// Table is a table to back up.
type Table struct {
	Name       string
	ID         int32
	Partitions int
	Rows       int
	// NoOps leaves a value under the empty key in every partition, as servers do whose group check wrote nothing else.
	NoOps bool
}

// Single is the table that tests use.
func Single() Table { return Table{Name: "single", ID: 4, Partitions: 4, Rows: 1000} }

// Row is a row of a table.
type Row struct {
	Hash, Sort, Value string
	ExpireTS          uint32 // seconds since wire.Epoch
}

// Row answers row i: ten sort keys for each hash key; every tenth row is expired, every tenth lives until 2084.
func (t Table) Row(i int) Row {
	r := Row{Hash: fmt.Sprintf("user_%d", i/10), Sort: fmt.Sprintf("field_%d", i%10), Value: fmt.Sprintf("value %d of %s", i, t.Name)}
	switch i % 10 {
	case 3:
		r.ExpireTS = 1
	case 7:
		r.ExpireTS = 1<<31 - 1
	}
	return r
}

// Live is how many rows are not expired.
func (t Table) Live() (n int) {
	for i := range t.Rows {
		if t.Row(i).ExpireTS != 1 {
			n++
		}
	}
	return n
}

// Write makes a backup of tables below a directory of this machine, in Folder. That of one table is a one-time backup.
func Write(dir string, tables ...Table) error { return write(dir, Folder, len(tables) > 1, tables) }

// PolicyFolder is where WritePolicy puts the backup below its root.
const PolicyFolder = "onebox/nightly/1742888751127"

// WritePolicy makes a backup like one of the policy nightly.
func WritePolicy(dir string, tables ...Table) error { return write(dir, PolicyFolder, true, tables) }

func write(dir, folder string, policy bool, tables []Table) error {
	dir = filepath.Join(dir, filepath.FromSlash(folder))
	for _, t := range tables {
		if err := t.write(filepath.Join(dir, fmt.Sprintf("%s_%d", t.Name, t.ID))); err != nil {
			return err
		}
	}
	var info any = struct {
		BackupID int64  `json:"backup_id"`
		Start    int64  `json:"start_time_ms"`
		End      int64  `json:"end_time_ms"`
		AppID    int32  `json:"app_id"`
		AppName  string `json:"app_name"`
	}{ID, ID, 0, tables[0].ID, tables[0].Name}
	if policy {
		ids, names := []int32{}, map[string]string{}
		for _, t := range tables {
			ids, names[fmt.Sprint(t.ID)] = append(ids, t.ID), t.Name
		}
		info = map[string]any{"backup_id": ID, "start_time_ms": ID, "end_time_ms": ID + 60_000, "app_ids": ids, "app_names": names, "info_status": 1}
	}
	return writeJSON(filepath.Join(dir, "backup_info"), info)
}

func (t Table) write(dir string) error {
	app := coldbackup.App{
		Status: "app_status::AS_AVAILABLE", Type: "pegasus", Name: t.Name, ID: t.ID, PartitionCount: int32(t.Partitions),
		Envs: map[string]string{}, Stateful: true, MaxReplicaCount: 3, CreateSecond: 1742880000, InitPartitionCount: int32(t.Partitions),
	}
	if err := writeJSON(filepath.Join(dir, "meta", "app_metadata"), app); err != nil {
		return err
	}
	parts := make([][]Row, t.Partitions)
	for i := range t.Rows {
		r := t.Row(i)
		p := wire.PartitionOf(wire.Hash([]byte(r.Hash), []byte(r.Sort)), t.Partitions)
		parts[p] = append(parts[p], r)
	}
	for i, rows := range parts {
		if err := writePartition(filepath.Join(dir, fmt.Sprint(i)), rows, t.NoOps); err != nil {
			return err
		}
	}
	return nil
}

func writePartition(dir string, rows []Row, noOps bool) error {
	const name = "chkpt_10.0.0.1_34801"
	folder := filepath.Join(dir, name)
	options := rocksdb.DefaultWriterOptions()
	w, err := rocksdb.NewDirectoryWriter(context.Background(), sink(folder), rocksdb.DirectoryOptions{
		Table: options, TargetSize: 4 << 10, LastSequence: uint64(len(rows)),
		Meta: map[string]string{rocksdb.MetaDataVersion: "1", rocksdb.MetaFlushedDecree: fmt.Sprint(len(rows))},
	})
	if err != nil {
		return err
	}
	key := func(r Row) []byte { k, _ := wire.EncodeKey([]byte(r.Hash), []byte(r.Sort)); return k }
	slices.SortFunc(rows, func(a, b Row) int { return bytes.Compare(key(a), key(b)) })
	if noOps {
		if err := w.Put(nil, make([]byte, 12)); err != nil { // the header of a value, and no data
			return err
		}
	}
	for _, r := range rows {
		value, err := rocksdb.Value{ExpireTS: r.ExpireTS, TimeTag: 256, Data: []byte(r.Value)}.AppendTo(nil, 1)
		if err == nil {
			err = w.Put(key(r), value)
		}
		if err != nil {
			return err
		}
	}
	files, err := w.Finish()
	if err != nil {
		return err
	}
	c := coldbackup.Checkpoint{Decree: int64(len(rows)), TimestampMS: ID + 1000}
	for _, f := range files {
		c.Files = append(c.Files, coldbackup.File(f))
		c.TotalSize += f.Size
	}
	if err := writeJSON(filepath.Join(folder, "backup_metadata"), c); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "current_checkpoint"), []byte(name), 0o600)
}

func writeJSON(name string, v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o700)
	}
	if err == nil {
		err = os.WriteFile(name, b, 0o600)
	}
	return err
}

// sink is a directory of this machine.
type sink string

func (d sink) Create(_ context.Context, name string) (rocksdb.Output, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(string(d), name))
	return output{f}, err
}

type output struct{ *os.File }

func (o output) Commit() error { return o.Close() }

func (o output) Abort() {
	_ = o.Close()
	_ = os.Remove(o.Name())
}

package pegasus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/backuptest"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// blocks is an Env with one block service and no cluster.
type blocks struct {
	*fake
	dir string
}

func (b *blocks) Block(_ context.Context, name string) (storage.Service, error) {
	if name != "disk" {
		return nil, spec.Errorf(spec.NotFound, "there is no block service %s", name)
	}
	return storage.Directory("disk", b.dir)
}

func withBackup(t *testing.T, tables ...backuptest.Table) *blocks {
	t.Helper()
	env := &blocks{fake: &fake{}, dir: t.TempDir()}
	if err := backuptest.Write(env.dir, tables...); err != nil {
		t.Fatal(err)
	}
	return env
}

// backupTable runs a word about a backup and answers its cells.
func backupTable(t *testing.T, env commands.Env, name string, flags map[string]string, args ...string) (rows []spec.Row, notes string, err error) {
	t.Helper()
	for _, c := range backupWords(env) {
		if c.Name != name {
			continue
		}
		call := &spec.Call{Command: &c, Cluster: "onebox", Args: args, Flags: map[string][]string{}}
		for k, v := range flags {
			call.Flags[k] = []string{v}
		}
		table, err := c.Query(t.Context(), call)
		if err != nil {
			return nil, "", err
		}
		for row, err := range table.Rows {
			if err != nil {
				return rows, "", err
			}
			if len(row) != len(table.Columns) {
				t.Fatalf("%d cells in %d columns", len(row), len(table.Columns))
			}
			rows = append(rows, row)
		}
		if table.Notes != nil {
			notes = strings.Join(table.Notes(), "; ")
		}
		return rows, notes, nil
	}
	t.Fatal("no word", name)
	return nil, "", nil
}

func TestBackupScanHasEveryRow(t *testing.T) {
	table := backuptest.Single()
	table.NoOps = true
	env := withBackup(t, table)
	for _, expired := range []bool{false, true} {
		want := map[string]string{}
		for i := range table.Rows {
			if r := table.Row(i); expired || r.ExpireTS != 1 {
				want[r.Hash+":"+r.Sort] = r.Value
			}
		}
		rows, notes, err := backupTable(t, env, "backup_scan", map[string]string{"expired": fmt.Sprint(expired)}, "disk:/")
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != len(want) || expired != (notes == "1000 rows") || !expired && notes != "900 rows; 100 expired ones left out" {
			t.Errorf("%d rows instead of %d, %q", len(rows), len(want), notes)
		}
		for _, r := range rows {
			k := fmt.Sprintf("%s:%s", r[0], r[1])
			if want[k] != string(r[2].([]byte)) {
				t.Errorf("%s = %q instead of %q", k, r[2], want[k])
			}
			delete(want, k)
		}
	}
}

func TestBackupScanChooses(t *testing.T) {
	env := withBackup(t, backuptest.Single())
	for _, c := range []struct {
		flags string
		rows  int
	}{
		{"hash-key-filter-type=exact hash-key-filter-pattern=user_42", 9},
		{"hash-key-filter-type=exact hash-key-filter-pattern=user_4", 9},
		{"hash-key-filter-type=exact hash-key-filter-pattern=user", 0},
		{"hash-key-filter-type=prefix hash-key-filter-pattern=user_4", 99},
		{"sort-key-filter-type=postfix sort-key-filter-pattern=_1", 100},
		{"value-filter-type=anywhere value-filter-pattern=99", 18}, // 99, 199 … 899 and 990 to 999, without 993
		{"max-rows=7", 7},
		{"sort-key-filter-type=exact sort-key-filter-pattern=field_3", 0},
		{"sort-key-filter-type=exact sort-key-filter-pattern=field_3 expired=true", 100},
	} {
		flags := map[string]string{"no-value": "true"}
		for _, f := range strings.Fields(c.flags) {
			k, v, _ := strings.Cut(f, "=")
			flags[k] = v
		}
		rows, _, err := backupTable(t, env, "backup_scan", flags, "disk:/onebox")
		if err != nil || len(rows) != c.rows {
			t.Errorf("%s: %d rows instead of %d, %v", c.flags, len(rows), c.rows, err)
		}
		if flags["max-rows"] != "" || flags["expired"] != "" {
			continue
		}
		delete(flags, "no-value")
		counted, _, err := backupTable(t, env, "backup_count", flags, "disk:/onebox")
		var sum int64
		for _, r := range counted {
			sum += r[1].(int64)
		}
		if err != nil || sum != int64(c.rows) {
			t.Errorf("%s: counted are %d instead of %d, %v", c.flags, sum, c.rows, err)
		}
	}
	rows, _, err := backupTable(t, env, "backup_scan", map[string]string{"partition": "2"}, "disk:/")
	if err != nil || len(rows) == 0 {
		t.Fatal(rows, err)
	}
	for _, r := range rows {
		if r[5] != 2 {
			t.Error(r)
		}
	}
	_, _, err = backupTable(t, env, "backup_scan", map[string]string{"partition": "4"}, "disk:/")
	if spec.KindOf(err) != spec.Usage {
		t.Error(err)
	}
}

func TestBackupGet(t *testing.T) {
	table := backuptest.Single()
	other := backuptest.Table{Name: "double", ID: 9, Partitions: 2, Rows: 20}
	env := withBackup(t, table, other)
	of := map[string]string{"table": "single"}
	for i := range 200 {
		r := table.Row(i)
		rows, _, err := backupTable(t, env, "backup_get", of, "disk:/", r.Hash, r.Sort)
		switch {
		case r.ExpireTS == 1:
			if spec.KindOf(err) != spec.NotFound || !strings.Contains(err.Error(), "expired at 2016-01-01T00:00:01Z") {
				t.Error(err)
			}
		case err != nil || string(rows[0][2].([]byte)) != r.Value:
			t.Errorf("%v: %v %v", r, rows, err)
		}
	}
	if _, _, err := backupTable(t, env, "backup_get", of, "disk:/", "user_1", "field"); spec.KindOf(err) != spec.NotFound {
		t.Error(err)
	}
	if _, _, err := backupTable(t, env, "backup_get", nil, "disk:/", "user_1", "field_1"); spec.KindOf(err) != spec.Usage {
		t.Error("of which table?", err)
	}
	rows, _, err := backupTable(t, env, "backup_get", map[string]string{"table": "double_9"}, "disk:/", "user_1", "field_1")
	if err != nil || string(rows[0][2].([]byte)) != "value 11 of double" {
		t.Error(rows, err)
	}
}

// A damaged table is told, not shown as if rows were missing.
func TestBackupScanOfDamagedFile(t *testing.T) {
	env := withBackup(t, backuptest.Single())
	name := filepath.Join(env.dir, filepath.FromSlash(backuptest.Folder), "single_4/1/chkpt_10.0.0.1_34801/000007.sst")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[20] ^= 0x40
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = backupTable(t, env, "backup_scan", nil, "disk:/")
	if spec.KindOf(err) != spec.Failed || !strings.Contains(err.Error(), "single_4/1") || !strings.Contains(spec.HintOf(err), "verify_backup") {
		t.Error(err)
	}
	_, _, err = backupTable(t, env, "verify_backup", nil, "disk:/")
	if spec.KindOf(err) != spec.AnsweredNo || !strings.Contains(err.Error(), "single_4/1/chkpt_10.0.0.1_34801/000007.sst") {
		t.Error(err)
	}
}

// The plan removes what is in the backup's folder, and nothing beside it.
func TestRmBackupStaysInside(t *testing.T) {
	env := withBackup(t, backuptest.Single())
	beside := filepath.Join(env.dir, "onebox", "1742888751128")
	if err := os.MkdirAll(beside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(beside, "backup_info"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := RmBackup(env)
	for _, place := range []string{"disk:/", "disk:/onebox", "disk:/" + backuptest.Folder + "/single_4"} {
		if _, err := c.Change(t.Context(), &spec.Call{Command: &c, Args: []string{place}}); spec.KindOf(err) != spec.NotFound {
			t.Errorf("%s: %v", place, err)
		}
	}
	plan, err := c.Change(t.Context(), &spec.Call{Command: &c, Args: []string{"disk:/" + backuptest.Folder}})
	if err != nil || plan.Class() != spec.Destroy {
		t.Fatal(plan, err)
	}
	if !strings.HasSuffix(plan.Steps[0].Objects[0], "/backup_info") {
		t.Error("a stop would leave a backup that looks complete:", plan.Steps[0])
	}
	for _, s := range plan.Steps {
		for _, o := range s.Objects {
			if o != plan.Name && !strings.HasPrefix(o, plan.Name+"/") {
				t.Error(o, "is outside")
			}
		}
		if err := s.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	for d, err := range coldbackup.List(t.Context(), backuptest.Dir(env.dir), "") {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, d)
	}
	if len(left) != 1 || left[0] != "onebox/1742888751128" {
		t.Error(left)
	}
	if _, err := os.Stat(filepath.Join(env.dir, filepath.FromSlash(backuptest.Folder))); !os.IsNotExist(err) {
		t.Error(err)
	}
}

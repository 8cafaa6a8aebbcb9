package pegasus

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"shardsh/cluster/pegasus/backuptest"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// journal is what the shell keeps of a job, in memory; it kills the job after some saves.
type journal struct {
	mu     sync.Mutex
	saved  []byte
	saves  int
	killAt int // the save that fails; 0 is none
	detail string
	shown  spec.Figures
}

var errKilled = errors.New("killed")

func (j *journal) Progress(int64, int64, string) {}

func (j *journal) Detail(format string, args ...any) { j.detail = fmt.Sprintf(format, args...) }

func (j *journal) Restore(state any) (bool, error) {
	if j.saved == nil {
		return false, nil
	}
	return true, json.Unmarshal(j.saved, state)
}

func (j *journal) Save(state any) (err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.saves++; j.saves == j.killAt {
		return errKilled
	}
	j.saved, err = json.Marshal(state)
	return err
}

func (j *journal) Rate() spec.Rate { return spec.Rate{Rows: 1e9, Bytes: 1e12} }

func (j *journal) Show(f spec.Figures) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.shown = f
}

func planOfSplit(t *testing.T, env commands.Env, force bool, flags map[string]string, args ...string) (*spec.Plan, error) {
	t.Helper()
	c := SplitBackup(env)
	call := &spec.Call{Command: &c, Cluster: "onebox", Force: force, Args: args, Flags: map[string][]string{}}
	for k, v := range flags {
		call.Flags[k] = []string{v}
	}
	return c.Change(t.Context(), call)
}

func splitFlagsFor(t *testing.T, n int, more ...string) map[string]string {
	t.Helper()
	flags := map[string]string{"table": "TableB", "app-id": "7", "partitions": fmt.Sprint(n), "temp": t.TempDir(), "parallel": "2"}
	for _, m := range more {
		k, v, _ := strings.Cut(m, "=")
		flags[k] = v
	}
	return flags
}

// loaded reads the input of a bulk load as a server does, and answers its rows.
func loaded(t *testing.T, dir string, want coldbackup.LoadInfo) map[string]rocksdb.Value {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var info coldbackup.LoadInfo
	if err := json.Unmarshal(read("bulk_load_info"), &info); err != nil || info != want {
		t.Fatal(info, err)
	}
	rows := map[string]rocksdb.Value{}
	for p := range int(info.PartitionCount) {
		m, err := coldbackup.ParseLoadMetadata(read(fmt.Sprintf("%d/bulk_load_metadata", p)))
		if err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(filepath.Join(dir, fmt.Sprint(p)))
		if err != nil || len(entries) != len(m.Files)+1 {
			t.Fatalf("partition %d: %d files are listed, and there are %d: %v", p, len(m.Files), len(entries), err)
		}
		for _, f := range m.Files {
			b := read(fmt.Sprintf("%d/%s", p, f.Name))
			if s := md5.Sum(b); int64(len(b)) != f.Size || hex.EncodeToString(s[:]) != f.MD5 {
				t.Fatalf("partition %d: %s is not as listed", p, f.Name)
			}
			tableRows(t, b, p, int(info.PartitionCount), rows)
		}
	}
	return rows
}

type inMemory struct{ *strings.Reader }

func (inMemory) Close() error { return nil }

func tableRows(t *testing.T, b []byte, partition, partitions int, rows map[string]rocksdb.Value) {
	t.Helper()
	table, err := rocksdb.OpenTable(inMemory{strings.NewReader(string(b))}, rocksdb.ReadOptions{})
	if err != nil || !table.Properties().External() {
		t.Fatal("no table to ingest:", err)
	}
	it := table.NewIterator()
	defer it.Close()
	for it.Next() {
		hash, sort, err := wire.DecodeKey(it.Key().User)
		if err != nil || wire.PartitionOf(wire.Hash(hash, sort), partitions) != partition {
			t.Fatalf("%q:%q is in partition %d: %v", hash, sort, partition, err)
		}
		if it.Key().Kind != rocksdb.KindValue {
			continue
		}
		v, err := rocksdb.DecodeValue(1, it.Value())
		if err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprintf("%s:%s", hash, sort)
		if _, twice := rows[key]; twice {
			t.Fatal(key, "is there twice")
		}
		v.Data = append([]byte(nil), v.Data...)
		rows[key] = v
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
}

func TestSplitBackup(t *testing.T) {
	table := backuptest.Single()
	table.NoOps = true
	env := withBackup(t, table)
	for _, n := range []int{8, 16, 4, 2, 1, 256, 6} {
		out := fmt.Sprintf("disk:/out%d", n)
		plan, err := planOfSplit(t, env, n == 6, splitFlagsFor(t, n), "disk:/onebox", out)
		if err != nil || len(plan.Steps) != 1 {
			t.Fatal(plan, err)
		}
		j := &journal{}
		if err := plan.Steps[0].Job.Run(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		rows := loaded(t, filepath.Join(env.dir, fmt.Sprintf("out%d/onebox/TableB", n)), coldbackup.LoadInfo{AppID: 7, AppName: "TableB", PartitionCount: int32(n)})
		for i := range table.Rows {
			r := table.Row(i)
			v, ok := rows[r.Hash+":"+r.Sort]
			if r.ExpireTS == 1 {
				if ok {
					t.Fatalf("%d: %v is expired", n, r)
				}
				continue
			}
			if !ok || string(v.Data) != r.Value || v.ExpireTS != r.ExpireTS || v.TimeTag != 256 {
				t.Fatalf("%d: %v came to %+v, %v", n, r, v, ok)
			}
		}
		if len(rows) != table.Live() {
			t.Errorf("%d: %d rows instead of %d", n, len(rows), table.Live())
		}
		want := fmt.Sprintf("900 rows in %d partitions; read 1000, expired 100, filtered 0, dropped 0", n)
		if j.detail != want || j.shown.PartsDone != n || j.shown.Done != 900 {
			t.Errorf("%q instead of %q; %+v", j.detail, want, j.shown)
		}
	}
}

func TestSplitBackupFilters(t *testing.T) {
	env := withBackup(t, backuptest.Single())
	for _, c := range []struct {
		flags string
		rows  int
	}{
		{"hash-key-filter-type=exact hash-key-filter-pattern=user_42", 9},
		{"sort-key-filter-type=exact sort-key-filter-pattern=field_1", 100},
		{"value-filter-type=anywhere value-filter-pattern=99", 18},
	} {
		plan, err := planOfSplit(t, env, false, splitFlagsFor(t, 8, strings.Fields(c.flags)...), "disk:/onebox", "disk:/"+c.flags[:4])
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Steps[0].Job.Run(t.Context(), &journal{}); err != nil {
			t.Fatal(err)
		}
		rows := loaded(t, filepath.Join(env.dir, c.flags[:4], "onebox/TableB"), coldbackup.LoadInfo{AppID: 7, AppName: "TableB", PartitionCount: 8})
		if len(rows) != c.rows {
			t.Errorf("%s: %d rows instead of %d", c.flags, len(rows), c.rows)
		}
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		all[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A split that is killed at any save and resumed leaves the bytes of one that was not.
func TestSplitBackupResumes(t *testing.T) {
	for _, n := range []int{8, 2, 6} {
		env := withBackup(t, backuptest.Single())
		run := func(out string, j *journal) error {
			plan, err := planOfSplit(t, env, true, splitFlagsFor(t, n), "disk:/onebox", "disk:/"+out)
			if err != nil {
				t.Fatal(err)
			}
			return plan.Steps[0].Job.Run(t.Context(), j)
		}
		whole := &journal{}
		if err := run("whole", whole); err != nil {
			t.Fatal(err)
		}
		want := contents(t, filepath.Join(env.dir, "whole"))
		for kill := 2; kill <= whole.saves; kill++ {
			out := fmt.Sprintf("killed%d", kill)
			j := &journal{killAt: kill}
			if err := run(out, j); !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			if err := run(out, j); err != nil {
				t.Fatal(err)
			}
			got := contents(t, filepath.Join(env.dir, out))
			if len(got) != len(want) {
				t.Fatalf("%d, killed at %d: %d files instead of %d", n, kill, len(got), len(want))
			}
			for name, b := range want {
				if got[name] != b {
					t.Fatalf("%d, killed at %d: %s has other bytes", n, kill, name)
				}
			}
			if j.detail != whole.detail {
				t.Errorf("%d, killed at %d: %q instead of %q", n, kill, j.detail, whole.detail)
			}
		}
	}
}

func TestSplitBackupRefuses(t *testing.T) {
	env := withBackup(t, backuptest.Single(), backuptest.Table{Name: "double", ID: 9, Partitions: 2, Rows: 20})
	for _, c := range []struct {
		flags, out string
		kind       spec.ErrorKind
		says       string
	}{
		{"partitions=6", "disk:/o", spec.Usage, "no power of two"},
		{"partitions=0", "disk:/o", spec.Usage, "between 1 and"},
		{"memory=0", "disk:/o", spec.Usage, "--memory"},
		{"data-version=2", "disk:/o", spec.Usage, "--data-version"},
		{"cluster=../x", "disk:/o", spec.Usage, "part of the output's path"},
		{"table=a/b", "disk:/o", spec.Usage, "no name for a table"},
		{"from=", "disk:/o", spec.Usage, "several tables"},
		{"from=triple", "disk:/o", spec.NotFound, "no table triple"},
		{"app-id=0", "disk:/o", spec.NotFound, "onebox has no table TableB"},
		{"", "disk:/" + backuptest.Folder, spec.Usage, "inside of the backup"},
		{"", "elsewhere:/o", spec.NotFound, "no block service elsewhere"},
	} {
		_, err := planOfSplit(t, env, false, splitFlagsFor(t, 8, append([]string{"from=single"}, strings.Fields(c.flags)...)...), "disk:/onebox", c.out)
		if spec.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s to %s: %v", c.flags, c.out, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(env.dir, "full/onebox/TableB/0"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(env.dir, "full/onebox/TableB/0/old.sst"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan, err := planOfSplit(t, env, false, splitFlagsFor(t, 8, "from=single"), "disk:/onebox", "disk:/full")
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Steps[0].Job.Run(t.Context(), &journal{}); spec.KindOf(err) != spec.Refused || !strings.Contains(err.Error(), "old.sst") {
		t.Error(err)
	}
}

// A flipped byte that block checksums do not see is found by the MD5 before a row is taken from the file.
func TestSplitBackupOfDamagedBackup(t *testing.T) {
	env := withBackup(t, backuptest.Single())
	name := filepath.Join(env.dir, filepath.FromSlash(backuptest.Folder), "single_4/2/chkpt_10.0.0.1_34801/OPTIONS-000005")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[50] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	plan, err := planOfSplit(t, env, false, splitFlagsFor(t, 8), "disk:/onebox", "disk:/out")
	if err != nil {
		t.Fatal(err)
	}
	err = plan.Steps[0].Job.Run(t.Context(), &journal{})
	if err == nil || !strings.Contains(err.Error(), "single_4/2/chkpt_10.0.0.1_34801/OPTIONS-000005") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(env.dir, "out/onebox/TableB/bulk_load_info")); !os.IsNotExist(err) {
		t.Error("it looks complete:", err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := planOfSplit(t, env, false, splitFlagsFor(t, 8), "disk:/onebox", "disk:/out2"); spec.KindOf(err) != spec.Refused || !strings.Contains(err.Error(), "OPTIONS-000005: it is missing") {
		t.Error(err)
	}
}

func TestSplitBackupStops(t *testing.T) {
	env := withBackup(t, backuptest.Single())
	plan, err := planOfSplit(t, env, false, splitFlagsFor(t, 8), "disk:/onebox", "disk:/out")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cancel()
	if err := plan.Steps[0].Job.Run(ctx, &journal{saved: []byte(`{"pieces":{},"verified":{},"sources":{}}`)}); spec.KindOf(err) != spec.Interrupted {
		t.Error(err)
	}
}

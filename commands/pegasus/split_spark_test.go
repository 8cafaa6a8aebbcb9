package pegasus

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/backuptest"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

var updateSpark = flag.Bool("update-spark", false, "write testdata/split_spark.scala anew")

// hdfsFake has block services that are said to be on HDFS, and are one directory.
type hdfsFake struct {
	*fake
	dir   string
	where map[string]string
}

func newHDFS(t *testing.T) *hdfsFake {
	return &hdfsFake{&fake{}, t.TempDir(), map[string]string{
		"zjy": "hdfs://zjyprc-hadoop /pegasus/backup", "c4": "hdfs://nn.c4:8020 /", "odd": "hdfs://nn:9000 /", "two": "hdfs://nn1,nn2 /",
		"blank": "hdfs://nn /a\u00adb", "own": "sandbox", "disk": "",
	}}
}

func (f *hdfsFake) Blocks() (all []commands.Block) {
	for name, where := range f.where {
		b := commands.Block{Name: name, Type: storage.HDFSType, Where: where, Sandbox: name == "own"}
		if name == "disk" {
			b.Type = storage.LocalType
		}
		all = append(all, b)
	}
	return all
}

func (f *hdfsFake) Block(_ context.Context, name string) (storage.Service, error) {
	return storage.Directory(name, f.dir)
}

func noOps(t backuptest.Table) backuptest.Table {
	t.NoOps = true
	return t
}

func printJob(t *testing.T, env commands.Env, flags map[string]string, args ...string) (string, error) {
	t.Helper()
	c := SplitBackupJob(env)
	call := &spec.Call{Command: &c, Cluster: "onebox2", Args: args, Flags: map[string][]string{"engine": {"spark"}}}
	for k, v := range flags {
		call.Flags[k] = []string{v}
	}
	table, err := c.Query(t.Context(), call)
	if err != nil {
		return "", err
	}
	return table.Text, nil
}

func TestSparkJob(t *testing.T) {
	env := newHDFS(t)
	double := noOps(backuptest.Table{Name: "double", ID: 9, Partitions: 2, Rows: 20})
	if err := backuptest.WritePolicy(env.dir, noOps(backuptest.Single()), double); err != nil {
		t.Fatal(err)
	}
	flags := map[string]string{
		"from": "single", "table": "TableB", "partitions": "8", "app-id": "7",
		"hash-key-filter-type": "prefix", "hash-key-filter-pattern": "user_", "value-filter-type": "anywhere", "value-filter-pattern": "e\xff",
	}
	got, err := printJob(t, env, flags, "zjy:/onebox/nightly", "c4:/load")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "split_spark.scala")
	if *updateSpark {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v; the program is not that of %s:\n%s", err, golden, got)
	}
}

func TestSparkJobRefuses(t *testing.T) {
	env := newHDFS(t)
	same := noOps(backuptest.Single())
	same.ID = 9
	for dir, tables := range map[string][]backuptest.Table{"": {noOps(backuptest.Single())}, "bare": {backuptest.Single()}, "same": {noOps(backuptest.Single()), same}} {
		if err := backuptest.WritePolicy(filepath.Join(env.dir, dir), tables...); err != nil {
			t.Fatal(err)
		}
	}
	if err := backuptest.Write(filepath.Join(env.dir, "once"), noOps(backuptest.Single())); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"onebox/nightly": "beside/onebox/nightly", "onebox/nightly/1742888751127": "short/cluster/174288875112", "onebox": "a b", "./onebox": "noinfo",
	} {
		if err := os.CopyFS(filepath.Join(env.dir, to), os.DirFS(filepath.Join(env.dir, from))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(env.dir, "lonely/1742888751127"), os.DirFS(filepath.Join(env.dir, backuptest.PolicyFolder))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"beside/onebox/nightly/README", "full/onebox2/TableB/0/old.sst"} {
		name = filepath.Join(env.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(env.dir, "noinfo/nightly/1742888751127/backup_info")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in, out, flags string
		kind           spec.ErrorKind
		says           string
	}{
		{"zjy:/onebox", "c4:/load", "", 0, ""},
		{"zjy:/once", "c4:/load", "", spec.Unable, "is a one-time backup"},
		{"zjy:/noinfo", "c4:/load", "", spec.Unable, "backup_info, which zjy:/noinfo/nightly/1742888751127 lacks"},
		{"zjy:/same", "c4:/load", "from=single_4", spec.Unable, "two called single"},
		{"zjy:/beside", "c4:/load", "", spec.Unable, "there is zjy:/beside/onebox/nightly/README"},
		{"zjy:/short", "c4:/load", "", spec.Unable, "174288875112 has more or less"},
		{"c4:/lonely", "zjy:/load", "", spec.Unable, "the library looks for CLUSTER/POLICY/1742888751127"},
		{"zjy:/bare", "c4:/load", "", spec.Unable, "leaves out the first row of each partition"},
		{"zjy:/onebox", "c4:/load", "data-version=0", spec.Unable, "have data version 1, not 0"},
		{"disk:/onebox", "c4:/load", "", spec.Unable, "disk is no hdfs_service"},
		{"zjy:/onebox", "disk:/load", "", spec.Unable, "disk is no hdfs_service"},
		{"own:/onebox", "c4:/load", "", spec.Unable, "own is a folder of the sandbox"},
		{"odd:/onebox", "c4:/load", "", spec.Unable, "at port 8020 only, and odd is hdfs://nn:9000"},
		{"two:/onebox", "c4:/load", "", spec.Unable, "two is hdfs://nn1,nn2"},
		{"blank:/onebox", "c4:/load", "", spec.Unable, "none of a URL"},
		{"zjy:/a b", "c4:/load", "", spec.Unable, "none of a URL"},
		{"zjy:/onebox", "c4:/a%20b", "", spec.Unable, "none of a URL"},
		{"zjy:/onebox", "c4:/load", "memory=64", spec.Usage, "--memory is for --engine native"},
		{"zjy:/onebox", "c4:/load", "max-rate=1MB/s", spec.Usage, "--max-rate is for --engine native"},
		{"zjy:/onebox", "c4:/load", "partitions=6", spec.Usage, "no power of two"},
		{"zjy:/onebox", "c4:/load", "hash-key-filter-type=exact", spec.Usage, "go together"},
		{"zjy:/onebox", "c4:/load", "app-id=0", spec.NotFound, "onebox2 has no table TableB"},
		{"zjy:/onebox", "c4:/full", "", spec.Refused, "is not empty"},
	} {
		flags := map[string]string{"table": "TableB", "partitions": "8", "app-id": "7"}
		if k, v, ok := strings.Cut(c.flags, "="); ok {
			flags[k] = v
		}
		_, err := printJob(t, env, flags, c.in, c.out)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s to %s: %v", c.in, c.out, err)
			}
			continue
		}
		native := strings.Contains(spec.HintOf(err), "--engine native does it")
		if spec.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) || native != (c.kind == spec.Unable) {
			t.Errorf("%s to %s with %s: %v, %s", c.in, c.out, c.flags, err, spec.HintOf(err))
		}
	}
}

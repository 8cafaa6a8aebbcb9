package coldbackup_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/backuptest"
	"shardsh/cluster/pegasus/coldbackup"
	"shardsh/commands/spec"
)

func write(t *testing.T, tables ...backuptest.Table) (backuptest.Dir, string) {
	t.Helper()
	dir := t.TempDir()
	if err := backuptest.Write(dir, tables...); err != nil {
		t.Fatal(err)
	}
	return backuptest.Dir(dir), filepath.Join(dir, filepath.FromSlash(backuptest.Folder))
}

func load(t *testing.T, s coldbackup.Store) *coldbackup.Backup {
	t.Helper()
	b, err := coldbackup.Load(t.Context(), s, backuptest.Folder)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLoad(t *testing.T) {
	s, _ := write(t, backuptest.Single())
	b := load(t, s)
	if len(b.AllProblems(nil)) > 0 || !b.Complete() || b.ID != backuptest.ID || len(b.Tables) != 1 {
		t.Fatalf("%+v %v", b, b.AllProblems(nil))
	}
	table := b.Tables[0]
	size, files := table.Size()
	if table.Name != "single" || table.ID != 4 || len(table.Partitions) != 4 || size < 1000 || files < 4*5 {
		t.Errorf("%+v: %d bytes in %d files", table, size, files)
	}
	// backup_info, app_metadata, and two for each partition
	if len(b.Documents) != 2+2*4 {
		t.Errorf("%d documents", len(b.Documents))
	}
	db, err := table.Partitions[0].Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := db.DataVersion(t.Context()); v != 1 || err != nil {
		t.Error(v, err)
	}
}

func TestLoadOfPolicy(t *testing.T) {
	other := backuptest.Single()
	other.Name, other.ID = "with_line_7", 12
	s, _ := write(t, backuptest.Single(), other)
	b := load(t, s)
	if p := b.AllProblems(nil); len(p) > 0 || len(b.Tables) != 2 || b.Tables[1].Name != "with_line_7" || b.Tables[1].ID != 12 {
		t.Error(p, b.Tables)
	}
}

func TestList(t *testing.T) {
	s, dir := write(t, backuptest.Single())
	root := string(s)
	for _, d := range []string{"onebox/policy/1642888751127/a_1", "x/1/2/3/4/5/6", "onebox/99"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ in, want string }{
		{"", "[onebox/1742888751127 onebox/policy/1642888751127]"},
		{"onebox/policy", "[onebox/policy/1642888751127]"},
		{backuptest.Folder, "[" + backuptest.Folder + "]"},
		{"x", "[]"},
		{"nowhere", "[]"},
	} {
		found := []string{}
		for d, err := range coldbackup.List(t.Context(), s, c.in) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, d)
		}
		if fmt.Sprint(found) != c.want {
			t.Errorf("%q: %v instead of %s", c.in, found, c.want)
		}
	}
	_, err := coldbackup.Load(t.Context(), s, "onebox")
	if spec.KindOf(err) != spec.NotFound {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "backup_info")); err != nil {
		t.Fatal(err)
	}
	if b := load(t, s); b.Complete() || len(b.AllProblems(nil)) != 1 {
		t.Error(b.AllProblems(nil))
	}
}

// verify answers what is not ok.
func verify(t *testing.T, s coldbackup.Store) (bad, unprotected map[string]string) {
	t.Helper()
	bad, unprotected = map[string]string{}, map[string]string{}
	seen := map[string]bool{}
	err := coldbackup.Verify(t.Context(), s, load(t, s), nil, 3, func(c coldbackup.Checked) error {
		if seen[c.Path] {
			t.Errorf("%s comes twice", c.Path)
		}
		seen[c.Path] = true
		switch c.Verdict {
		case coldbackup.Damaged, coldbackup.Missing:
			bad[c.Path] = c.Why
		case coldbackup.Unprotected:
			unprotected[c.Path] = c.Why
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bad, unprotected
}

// files are those of a backup, relative to the store.
func files(t *testing.T, s backuptest.Dir) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(string(s), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(string(s), p)
			all = append(all, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestVerifyFindsAFlippedByte flips one byte in each file of a backup, in turn, with and without a side-car.
func TestVerifyFindsAFlippedByte(t *testing.T) {
	table := backuptest.Single()
	table.Partitions, table.Rows = 2, 40
	for _, sideCar := range []bool{false, true} {
		t.Run(fmt.Sprint("side-car ", sideCar), func(t *testing.T) {
			s, dir := write(t, table)
			if sideCar {
				writeSideCar(t, dir, load(t, s))
			}
			bad, unprotected := verify(t, s)
			if len(bad) > 0 || sideCar != (len(unprotected) == 0) || !sideCar && len(unprotected) != 6 {
				t.Fatal(bad, unprotected)
			}
			for _, name := range files(t, s) {
				flipEach(t, s, name, unprotected[name] != "")
			}
		})
	}
}

func writeSideCar(t *testing.T, dir string, b *coldbackup.Backup) {
	t.Helper()
	content, err := coldbackup.NewSideCar(b, map[string]map[string]string{"single_4": {"default_ttl": "86400"}}).Encode()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, coldbackup.SideCarFile), content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flipEach flips bytes of a file, first, last and some between. One of an unprotected file may go unnoticed, which is said.
func flipEach(t *testing.T, s backuptest.Dir, name string, unprotected bool) {
	t.Helper()
	full := filepath.Join(string(s), filepath.FromSlash(name))
	was, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	if len(was) == 0 {
		t.Fatal(name, "is empty")
	}
	for _, i := range []int{0, len(was) / 3, len(was) / 2, len(was) - 1} {
		now := append([]byte(nil), was...)
		now[i] ^= 0x01
		if err := os.WriteFile(full, now, 0o600); err != nil {
			t.Fatal(err)
		}
		bad, still := verify(t, s)
		named := bad[name] != ""
		if strings.HasSuffix(name, "/current_checkpoint") && len(bad) > 0 {
			named = true // the folder that it names then is not there
		}
		if !named && (!unprotected || still[name] == "") {
			t.Errorf("%s: byte %d of %d was flipped, and found was %v", name, i, len(was), bad)
		}
	}
	if err := os.WriteFile(full, was, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestProblems(t *testing.T) {
	const app = "single_4/meta/app_metadata"
	const part = "single_4/1/chkpt_10.0.0.1_34801/"
	for _, c := range []struct {
		name, file string
		change     func(string) string // "" removes it
		path, why  string
	}{
		{"no info", "backup_info", drop, "backup_info", "runs still, or never ended"},
		{"another id", "backup_info", replace("1742888751127,", "1742888751128,"), "backup_info", "it is of backup 1742888751128"},
		{"another table", "backup_info", replace(`"single"`, `"double"`), "backup_info", "does not list single_4"},
		{"no app", app, drop, app, "it is missing"},
		{"another app", app, replace(`"app_id":4`, `"app_id":5`), app, `it is of "single" with the id 5`},
		{"not JSON", app, replace("{", "<"), app, "not the JSON it should be"},
		{"too few partitions", app, replace(`"partition_count":4`, `"partition_count":3`), "single_4/3", "the table has 3 partitions"},
		{"too many partitions", app, replace(`"partition_count":4`, `"partition_count":5`), "single_4/4", "the partition is missing"},
		{"no partitions", app, replace(`"partition_count":4`, `"partition_count":0`), app, "a table of 0 partitions"},
		{"no current", "single_4/1/current_checkpoint", drop, "single_4/1/current_checkpoint", "it is missing"},
		{"current elsewhere", "single_4/1/current_checkpoint", set("../../x"), "single_4/1/current_checkpoint", "names no checkpoint"},
		{"current of another node", "single_4/1/current_checkpoint", set("chkpt_b_1"), "single_4/1/current_checkpoint", "it names chkpt_b_1, which is not there"},
		{"no list", part + "backup_metadata", drop, part + "backup_metadata", "it is missing"},
		{"a list that leads away", part + "backup_metadata", replace("CURRENT", "../CURRENT"), part + "backup_metadata", "is no file name"},
		{"a list that does not add up", part + "backup_metadata", replace(`total_size":`, `total_size":1`), part + "backup_metadata", "the files have"},
		{"no CURRENT", part + "CURRENT", drop, part + "CURRENT", "it is missing"},
		{"a longer file", part + "CURRENT", set("MANIFEST-000004\n and more"), part + "CURRENT", "it has 25 bytes instead of 16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, dir := write(t, backuptest.Single())
			full := filepath.Join(dir, filepath.FromSlash(c.file))
			was, err := os.ReadFile(full)
			if err != nil {
				t.Fatal(err)
			}
			now := c.change(string(was))
			if now == string(was) {
				t.Fatal("nothing was changed")
			}
			if now == "" {
				err = os.Remove(full)
			} else {
				err = os.WriteFile(full, []byte(now), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			problems := load(t, s).AllProblems(nil)
			if len(problems) == 0 || problems[0].Path != backuptest.Folder+"/"+c.path || !strings.Contains(problems[0].Why, c.why) {
				t.Fatal(problems)
			}
			if bad, _ := verify(t, s); bad[problems[0].Path] == "" {
				t.Error(bad)
			}
		})
	}
}

func drop(string) string { return "" }

func set(s string) func(string) string { return func(string) string { return s } }

func replace(a, b string) func(string) string {
	return func(s string) string { return strings.Replace(s, a, b, 1) }
}

// A list that leaves a table of the MANIFEST out is as good as a table that is missing.
func TestVerifyFindsWhatIsNotListed(t *testing.T) {
	s, dir := write(t, backuptest.Single())
	full := filepath.Join(dir, "single_4/0/chkpt_10.0.0.1_34801/backup_metadata")
	b, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	c, err := coldbackup.ParseCheckpoint(b)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(c.Files[0].Name, ".sst") {
		t.Fatal(c.Files)
	}
	var left []string
	for _, f := range c.Files[1:] {
		left = append(left, fmt.Sprintf(`{"name":%q,"size":%d,"md5":%q}`, f.Name, f.Size, f.MD5))
	}
	text := fmt.Sprintf(`{"checkpoint_decree":1,"checkpoint_timestamp":1,"files":[%s],"checkpoint_total_size":%d}`, strings.Join(left, ","), c.TotalSize-c.Files[0].Size)
	if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	bad, _ := verify(t, s)
	if why := bad[backuptest.Folder+"/single_4/0/chkpt_10.0.0.1_34801/backup_metadata"]; !strings.Contains(why, "does not list "+c.Files[0].Name) {
		t.Error(bad)
	}
}

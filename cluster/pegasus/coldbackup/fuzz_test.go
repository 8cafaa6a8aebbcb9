package coldbackup_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/backuptest"
	"shardsh/cluster/pegasus/coldbackup"
)

// FuzzDocuments feeds every parser; what they let through leads nowhere else.
func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{
		`{"backup_id":1742888751127,"start_time_ms":1742888751127,"end_time_ms":0,"app_id":4,"app_name":"single"}`,
		`{"backup_id":1,"app_ids":[1,2],"app_names":{"1":"a","2":"b"},"info_status":1}`,
		`{"status":"app_status::AS_AVAILABLE","app_type":"pegasus","app_name":"single","app_id":4,"partition_count":4,"envs":{},"is_stateful":1,"duplicating":false}`,
		`{"checkpoint_decree":7,"checkpoint_timestamp":9,"files":[{"name":"CURRENT","size":16,"md5":"0123456789abcdef0123456789abcdef"}],"checkpoint_total_size":16}`,
		`{"files":[{"name":"../x","size":-1}]}`, `{"files":[{"name":"a","size":9223372036854775807},{"name":"b","size":1}]}`,
		`{"version":1,"documents":[],"sum":""}`, "chkpt_10.0.0.1_34801\n", "chkpt_/../..", "", "null", "[]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := coldbackup.ParseApp(b); err == nil && a.PartitionCount < 1 {
			t.Error(a.PartitionCount)
		}
		if name, err := coldbackup.ParseCurrent(b); err == nil && strings.ContainsAny(name, "/\x00") {
			t.Errorf("%q", name)
		}
		if c, err := coldbackup.ParseCheckpoint(b); err == nil {
			for _, file := range c.Files {
				if strings.ContainsAny(file.Name, "/\x00") || file.Name == ".." || file.Size < 0 {
					t.Errorf("%+v", file)
				}
			}
		}
		_, _ = coldbackup.ParseInfo(b)
		_, _ = coldbackup.ParseSideCar(b)
	})
}

// FuzzInput looks at whatever may be there of a bulk load's input; what it calls good is for the table that it was asked about.
func FuzzInput(f *testing.F) {
	for _, list := range []string{
		`{"files":[{"name":"a.sst","size":5,"md5":""}],"file_total_size":5}`, `{"files":[null],"Files":[{}],"file_total_size":0}`,
		`{"files":[{"name":"a.sst","size":5,"md5":""},{"name":"b.sst","size":0,"md5":""}],"file_total_size":5}`, `{"files":[]}`, "null",
	} {
		f.Add([]byte(`{"app_id":7,"app_name":"TableB","partition_count":1}`), []byte(list), []byte("table"))
	}
	want := coldbackup.LoadInfo{AppID: 7, AppName: "TableB", PartitionCount: 1}
	f.Fuzz(func(t *testing.T, info, list, table []byte) {
		dir := t.TempDir()
		for name, content := range map[string][]byte{"bulk_load_info": info, "0/bulk_load_metadata": list, "0/a.sst": table} {
			name = filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		in, err := coldbackup.LoadInput(t.Context(), backuptest.Dir(dir), "", want, true)
		if err != nil {
			t.Fatal(err)
		}
		if len(in.Problems) == 0 && (*in.Info != want || len(in.Partitions[0].Files) == 0) {
			t.Errorf("%+v has no problem", in)
		}
		if _, err := coldbackup.CheckInput(t.Context(), backuptest.Dir(dir), in, 1, func(int64) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

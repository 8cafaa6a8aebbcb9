package coldbackup_test

import (
	"strings"
	"testing"

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

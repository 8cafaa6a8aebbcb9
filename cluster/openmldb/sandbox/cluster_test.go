package sandbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"shardsh/cluster/sandbox"
)

// What a fresh cluster is.
func TestStart(t *testing.T) {
	began := time.Now()
	c := run(t, "", nil)
	t.Logf("started in %s", time.Since(began))
	u := newUser(t, c)
	if !whole(u.all()...) {
		u.describe()
		t.Error("something is missing")
	}
	var names []string
	for _, x := range u.all() {
		names = append(names, fmt.Sprintf("%s.%s %dx%d", x.GetDb(), x.GetName(), x.GetPartitionNum(), x.GetReplicaNum()))
	}
	if want := []string{
		".flow 2x3", "INFORMATION_SCHEMA.DEPLOY_RESPONSE_TIME 1x2", "INFORMATION_SCHEMA.GLOBAL_VARIABLES 1x2",
		"__INTERNAL_DB.JOB_INFO 1x2", "__INTERNAL_DB.PRE_AGG_META_INFO 1x2", "__INTERNAL_DB.USER 1x2", "demo_db.orders 4x2",
	}; !slices.Equal(names, want) {
		t.Errorf("tables: %q", names)
	}
	rows := map[string]uint64{}
	for _, x := range u.all() {
		for _, p := range x.GetTablePartition() {
			rows[x.GetName()] += p.GetRecordCnt()
		}
	}
	if rows["flow"] != 300 || rows["orders"] != 40 || rows["USER"] != 1 || rows["GLOBAL_VARIABLES"] != 4 {
		t.Errorf("rows: %v", rows)
	}
	if want := fmt.Sprintf("ns://%s,%s", c.nsAt[0], c.nsAt[1]); c.Address() != want {
		t.Errorf("address %s", c.Address())
	}
	for i, n := range c.Nodes() {
		role, at := nsRole, ""
		if at = c.all()[i]; i >= nameservers {
			role = tabletRole
		}
		state := sandbox.Alive
		if i >= nameservers+tablets {
			state = sandbox.Dead // the spare one
		}
		if n.Role != role || n.Endpoint != at || n.State != state || n.System != System || n.Cluster != "openmldb" || n.Faults != "" ||
			(n.PID == 0) != (state == sandbox.Dead) {
			t.Errorf("node %+v", n)
		}
	}
}

package pegasus

import (
	"slices"
	"testing"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

func TestDDDDiagnose(t *testing.T) {
	f := newFake()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.place.dead = []driver.DeadPartition{{
		AppID: 2, Partition: driver.Partition{Index: 3, Ballot: 9}, Reason: "not sure",
		Dropped: []driver.DroppedReplica{
			{Endpoint: "a:1", Alive: true, Known: true, Ballot: 7, Committed: 90, Prepared: 91},
			{Endpoint: "b:1", Alive: true, Known: true, Ballot: 8, Committed: 80, Prepared: 80},
			{Endpoint: "c:1", Dropped: at},
			{Endpoint: "e:1", Alive: true},
		},
	}, {AppID: 2, Partition: driver.Partition{Index: 4, Ballot: 5}, Dropped: []driver.DroppedReplica{{Endpoint: "c:1"}}}}
	table, err := f.query(t, "ddd_diagnose", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cells(t, table)
	none := time.Time{}.String()
	want := []string{
		"2.3|9|not sure|a:1|true|" + none + "|7|90|91|<nil>",
		"2.3|9|not sure|b:1|true|" + none + "|8|80|80|propose -f -g 2.3 -p ASSIGN_PRIMARY -n b:1",
		"2.3|9|not sure|c:1|false|" + at.String() + "|<nil>|<nil>|<nil>|<nil>",
		"2.3|9|not sure|e:1|true|" + none + "|<nil>|<nil>|<nil>|<nil>",
		"2.4|5||c:1|false|" + none + "|<nil>|<nil>|<nil>|<nil>",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%q", err, got)
	}
	for _, bad := range []string{"x", "0", "-1", "2.x", "2.-1"} {
		if _, err := f.query(t, "ddd_diagnose", nil, bad); spec.KindOf(err) != spec.Usage {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

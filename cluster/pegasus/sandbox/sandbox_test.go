package sandbox

import (
	"strings"
	"testing"

	"shardsh/cluster/pegasus/wire"
)

func TestFirstContent(t *testing.T) {
	u := newUser(t, run(t, "onebox", ""))
	apps := ask(u, &wire.ListApps, wire.ListAppsRequest{Status: wire.AppAvailable})
	var names []string
	for _, a := range apps.Apps {
		names = append(names, a.Name)
	}
	if strings.Join(names, " ") != "TableA demo" {
		t.Fatalf("tables: %v", names)
	}
	rows, sessions := 0, 0
	for _, p := range u.healthy("TableA").Configs {
		for _, row := range u.scanAll(p, wire.GetScannerRequest{ReturnExpireTS: new(true)}) {
			rows++
			if row.ExpireTS != 0 {
				sessions++
			}
		}
	}
	if rows != 1000 || sessions != 100 {
		t.Errorf("TableA has %d rows, %d of them expire", rows, sessions)
	}
	if got, _ := u.get("TableA", "user_0042", "email"); got != "user_0042@example.com" {
		t.Errorf("a row reads %q", got)
	}
	for _, p := range u.healthy("demo").Configs {
		if n := len(u.scanAll(p, wire.GetScannerRequest{})); n != 0 || len(p.Secondaries) != 2 || p.Ballot < 1 {
			t.Errorf("demo partition %v holds %d rows", p, n)
		}
	}
}

// scanAll reads a whole partition.
func (u *user) scanAll(p wire.Partition, q wire.GetScannerRequest) []wire.KeyValue {
	u.t.Helper()
	q.StartKey, q.StopKey, q.StartInclusive = []byte{0, 0}, []byte{0xff, 0xff}, true
	a, err := try(u, p.Primary.String(), &wire.GetScanner, p.PID, q)
	var rows []wire.KeyValue
	for {
		if err != nil || a.Error != 0 {
			u.t.Fatalf("scan of %s: %v, status %d", p.PID, err, a.Error)
		}
		rows = append(rows, a.Rows...)
		if a.ContextID < 0 {
			return rows
		}
		a, err = try(u, p.Primary.String(), &wire.Scan, p.PID, wire.ScanRequest{ContextID: a.ContextID})
	}
}

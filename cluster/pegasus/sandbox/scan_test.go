package sandbox

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// openScan opens a scan of the one partition of a table.
func (u *user) openScan(table string, q wire.GetScannerRequest) (wire.ScanResponse, wire.Partition) {
	u.t.Helper()
	p := u.config(table).Configs[0]
	if q.StopKey == nil {
		q.StartKey, q.StopKey, q.StartInclusive = []byte{0, 0}, []byte{0xff, 0xff}, true
	}
	a, err := try(u, p.Primary.String(), &wire.GetScanner, p.PID, q)
	if err != nil {
		u.t.Fatal(err)
	}
	return a, p
}

func (u *user) scanNext(p wire.Partition, id int64) wire.ScanResponse {
	u.t.Helper()
	a, err := try(u, p.Primary.String(), &wire.Scan, p.PID, wire.ScanRequest{ContextID: id})
	if err != nil {
		u.t.Fatal(err)
	}
	return a
}

func scanned(t *testing.T) *user {
	u := newUser(t, run(t, "onebox2", ""))
	u.create("one", 1, nil)
	for i := range 10 {
		u.fill("one", fmt.Sprintf("hash%d", i), 100, 0)
	}
	u.fill("one", "z", 10, int32(time.Now().Unix()-wire.Epoch+1000)) // sorts first: it is shorter
	return u
}

func TestScanContexts(t *testing.T) {
	u := scanned(t)
	a, p := u.openScan("one", wire.GetScannerRequest{BatchSize: 7})
	if len(a.Rows) != 7 || a.ContextID < 0 || a.Error != 0 || string(a.Rows[0].Key) != string(key("z", "s000")) {
		t.Fatalf("first batch: %+v", a)
	}
	if a.Rows[0].ExpireTS != 0 || len(a.Rows[0].Value) == 0 {
		t.Errorf("row: %+v", a.Rows[0])
	}
	next := u.scanNext(p, a.ContextID)
	if len(next.Rows) != 7 || next.ContextID == a.ContextID || !bytes.Equal(next.Rows[0].Key, key("z", "s007")) {
		t.Errorf("second batch: %+v", next)
	}
	if again := u.scanNext(p, a.ContextID); again.Error != wire.StatusNotFound {
		t.Errorf("an id used twice answers %+v", again)
	}
	if _, err := try(u, p.Primary.String(), &wire.ClearScanner, p.PID, next.ContextID); err != nil {
		t.Fatal(err)
	}
	if cleared := u.scanNext(p, next.ContextID); cleared.Error != wire.StatusNotFound {
		t.Errorf("a cleared context answers %+v", cleared)
	}
	if n := len(u.scanAll(p, wire.GetScannerRequest{BatchSize: 7})); n != 1010 {
		t.Errorf("%d rows in all", n)
	}
	if a, _ := u.openScan("one", wire.GetScannerRequest{BatchSize: 5000}); len(a.Rows) != maxScanRows || a.ContextID < 0 {
		t.Errorf("a batch of 5000 has %d rows, context %d", len(a.Rows), a.ContextID)
	}
}

func TestScanOptions(t *testing.T) {
	u := scanned(t)
	p := u.config("one").Configs[0]
	yes := new(true)
	for name, c := range map[string]struct {
		q    wire.GetScannerRequest
		rows int
	}{
		"hash prefix":     {wire.GetScannerRequest{HashKeyFilter: wire.FilterPrefix, HashKeyPattern: []byte("hash")}, 1000},
		"hash postfix":    {wire.GetScannerRequest{HashKeyFilter: wire.FilterPostfix, HashKeyPattern: []byte("3")}, 100},
		"sort anywhere":   {wire.GetScannerRequest{SortKeyFilter: wire.FilterAnywhere, SortKeyPattern: []byte("09")}, 111},
		"both":            {wire.GetScannerRequest{HashKeyFilter: wire.FilterPostfix, HashKeyPattern: []byte("3"), SortKeyFilter: wire.FilterPrefix, SortKeyPattern: []byte("s00")}, 10},
		"empty pattern":   {wire.GetScannerRequest{HashKeyFilter: wire.FilterPrefix}, 1010},
		"small batches":   {wire.GetScannerRequest{BatchSize: 3, SortKeyFilter: wire.FilterPostfix, SortKeyPattern: []byte("99")}, 10},
		"no hash matches": {wire.GetScannerRequest{HashKeyFilter: wire.FilterAnywhere, HashKeyPattern: []byte("none")}, 0},
	} {
		if rows := u.scanAll(p, c.q); len(rows) != c.rows {
			t.Errorf("%s: %d rows, want %d", name, len(rows), c.rows)
		}
	}
	for _, row := range u.scanAll(p, wire.GetScannerRequest{NoValue: true, ReturnExpireTS: yes}) {
		hash, _, err := wire.DecodeKey(row.Key)
		if err != nil || len(row.Value) != 0 || (row.ExpireTS != 0) != (string(hash) == "z") {
			t.Fatalf("without values, with expiry: %+v", row)
		}
	}
	a, _ := u.openScan("one", wire.GetScannerRequest{OnlyReturnCount: yes})
	if len(a.Rows) != 0 || a.Count == nil || *a.Count != maxScanRows || a.ContextID < 0 {
		t.Fatalf("counting: %+v", a)
	}
	if b := u.scanNext(p, a.ContextID); b.Count == nil || *b.Count != 10 || b.ContextID != wire.ScanComplete {
		t.Errorf("counting on: %+v", b)
	}
	if a, _ := u.openScan("one", wire.GetScannerRequest{SortKeyFilter: 8}); a.Error != wire.StatusInvalidArgument {
		t.Errorf("an unknown filter answers %+v", a)
	}
}

// A batch that filters its rows away is empty, and the scan goes on. Only the first one may look at more rows than
// it may return.
func TestScanEmptyBatch(t *testing.T) {
	u := scanned(t)
	a, p := u.openScan("one", wire.GetScannerRequest{BatchSize: 10, HashKeyFilter: wire.FilterPostfix, HashKeyPattern: []byte("0")})
	empty := 0
	for a.ContextID >= 0 {
		if a = u.scanNext(p, a.ContextID); len(a.Rows) == 0 && a.ContextID >= 0 {
			empty++
		}
	}
	if empty < 80 {
		t.Errorf("%d empty batches, want at least 80", empty)
	}
}

func TestScanRanges(t *testing.T) {
	u := scanned(t)
	start, stop := key("hash1", "s010"), key("hash1", "s020")
	for name, c := range map[string]struct {
		q    wire.GetScannerRequest
		rows int
		id   int64
	}{
		"half open":    {wire.GetScannerRequest{StartKey: start, StopKey: stop, StartInclusive: true}, 10, wire.ScanComplete},
		"both ends":    {wire.GetScannerRequest{StartKey: start, StopKey: stop, StartInclusive: true, StopInclusive: true}, 11, wire.ScanComplete},
		"neither":      {wire.GetScannerRequest{StartKey: start, StopKey: stop}, 9, wire.ScanComplete},
		"one row":      {wire.GetScannerRequest{StartKey: start, StopKey: start, StartInclusive: true, StopInclusive: true}, 1, wire.ScanComplete},
		"empty":        {wire.GetScannerRequest{StartKey: start, StopKey: start, StartInclusive: true}, 0, 0},
		"wrong way":    {wire.GetScannerRequest{StartKey: stop, StopKey: start, StartInclusive: true}, 0, 0},
		"nothing here": {wire.GetScannerRequest{StartKey: key("nobody", ""), StopKey: key("nobody", "z")}, 0, wire.ScanComplete},
	} {
		a, p := u.openScan("one", c.q)
		if len(a.Rows) != c.rows || a.ContextID != c.id || a.Error != 0 {
			t.Errorf("%s: %d rows, context %d, status %d", name, len(a.Rows), a.ContextID, a.Error)
		}
		if c.id == 0 {
			if b := u.scanNext(p, 0); b.Error != wire.StatusNotFound {
				t.Errorf("%s: the context 0 answers %+v", name, b)
			}
		}
	}
}

// A scan sees the partition as it was when it was opened.
func TestScanIsASnapshot(t *testing.T) {
	u := scanned(t)
	a, p := u.openScan("one", wire.GetScannerRequest{BatchSize: 500})
	u.fill("one", "later", 100, 0)
	rows := len(a.Rows)
	for a.ContextID >= 0 {
		a = u.scanNext(p, a.ContextID)
		rows += len(a.Rows)
	}
	if rows != 1010 {
		t.Errorf("%d rows, want the 1010 from before", rows)
	}
}

// Rows that a split left in the wrong partition are hidden when the table's env says so, unless the scan wants them.
func TestScanValidatesHash(t *testing.T) {
	u := newUser(t, run(t, "onebox2", ""))
	u.create("two", 2, nil)
	config := u.config("two")
	p := config.Configs[0]
	for i := range 20 { // all into partition 0, wherever they belong
		if a, err := try(u, p.Primary.String(), &wire.Put, p.PID, wire.PutRequest{Key: key(fmt.Sprint("h", i), "s"), Value: []byte("v")}); err != nil || a.Error != 0 {
			t.Fatal(a, err)
		}
	}
	ours := 0
	for i := range 20 {
		if wire.PartitionOf(wire.Hash(fmt.Append(nil, "h", i), nil), 2) == 0 {
			ours++
		}
	}
	if n := len(u.scanAll(p, wire.GetScannerRequest{})); n != 20 {
		t.Errorf("without the env: %d rows", n)
	}
	if a := ask(u, &wire.UpdateAppEnv, wire.UpdateAppEnvRequest{AppName: "two", Op: wire.EnvSet, Keys: []string{envValidateHash}, Values: []string{"true"}}); a.Err != wire.OK {
		t.Fatal(a)
	}
	if n := len(u.scanAll(p, wire.GetScannerRequest{})); n != ours || ours == 20 || ours == 0 {
		t.Errorf("with the env: %d rows, want %d", n, ours)
	}
	if n := len(u.scanAll(p, wire.GetScannerRequest{ValidatePartitionHash: new(false)})); n != 20 {
		t.Errorf("with the env, asking for all: %d rows", n)
	}
}

func TestScanContextsExpire(t *testing.T) {
	u := scanned(t)
	a, p := u.openScan("one", wire.GetScannerRequest{BatchSize: 1})
	for id := range u.c.nodes {
		for _, r := range u.c.local(nodeID(id)).all() {
			r.expireScans(time.Now().Add(scanLife + time.Second))
		}
	}
	if b := u.scanNext(p, a.ContextID); b.Error != wire.StatusNotFound {
		t.Errorf("an old context answers %+v", b)
	}
}

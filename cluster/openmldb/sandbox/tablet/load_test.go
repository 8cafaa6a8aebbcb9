package tablet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/types"
)

// Whatever was acknowledged before a kill is there after it, once the partition is loaded, and nothing is before.
func TestAcknowledgedRowsSurvive(t *testing.T) {
	for _, mode := range []common.StorageMode{common.StorageMode_kMemory, common.StorageMode_kSSD, common.StorageMode_kHDD} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWorld(t)
			w.tune.binlog = 4 << 10 // many files
			n := w.started()
			n.create(testMeta(0, api.TableMode_kTableLeader, stored(mode)))
			total := 0
			for life := range 4 {
				n.puts(total, 200)
				total += 200
				if life == 1 {
					n.snapshot(1)
				}
				n.restart()
				if s := n.status(); s != nil {
					t.Fatalf("after a start there is %v", s)
				}
				n.load(api.TableMode_kTableLeader, stored(mode))
				n.expectAmounts(0, total)
				if s := n.status(); s.GetOffset() != uint64(total) || s.GetRecordCnt() != uint64(total) || s.GetStorageMode() != mode {
					t.Fatalf("status after load: %v", s)
				}
			}
		})
	}
}

// A kill while many write: every put that was answered is there.
func TestKillWhileWriting(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.put("warm", "up", "", 0, 1)
	var mu sync.Mutex
	acked := map[int64]bool{0: true}
	enough := make(chan struct{})
	var writers sync.WaitGroup
	conn := n.conn
	for writer := range 8 {
		writers.Go(func() {
			for i := int64(1); ; i++ {
				amount := int64(writer+1)<<32 | i
				q := putRequest(0, "card", "mcc", "", amount, amount)
				var a api.PutResponse
				if conn.Call(n.soon(), ServiceName, "Put", q, &a) != nil || a.GetCode() != 0 {
					return
				}
				mu.Lock()
				acked[amount] = true
				if len(acked) == 2000 {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	if err := n.tablet.Kill(); err != nil {
		t.Error(err)
	}
	writers.Wait()
	n.hangUp()
	n.start()
	n.load(api.TableMode_kTableLeader)
	seen := n.amounts("card", 1000)
	for amount := range acked {
		if seen[amount] != 1 {
			t.Errorf("row %x was acknowledged and is there %d times", amount, seen[amount])
		}
	}
}

// lastLog is the newest binlog file.
func (n *node) lastLog() string {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.partitionDir(common.StorageMode_kMemory), binlogDir, "*.log"))
	if err != nil || len(files) == 0 {
		n.t.Fatal(files, err)
	}
	return slices.Max(files)
}

// A binlog that ends within a record, wherever, is cut off there; the partition goes on from what is whole.
func TestTornTail(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.puts(0, 10)
	before, err := os.ReadFile(n.lastLog())
	if err != nil {
		t.Fatal(err)
	}
	n.puts(10, 1)
	whole, err := os.ReadFile(n.lastLog())
	if err != nil {
		t.Fatal(err)
	}
	log := n.lastLog()
	for cut := len(before) + 1; cut < len(whole); cut += 7 {
		n.kill()
		if err := os.WriteFile(log, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if files, _ := filepath.Glob(filepath.Join(filepath.Dir(log), "*.log")); len(files) > 1 {
			for _, f := range files[1:] {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		n.start()
		n.load(api.TableMode_kTableLeader)
		n.expectAmounts(0, 10)
		n.puts(10, 3)
		n.restart()
		n.load(api.TableMode_kTableLeader)
		n.expectAmounts(0, 13)
	}
}

// A first record that was torn leaves a file of nothing.
func TestTornFirstRecord(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.puts(0, 1)
	n.kill()
	if err := os.Truncate(n.lastLog(), 5); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.load(api.TableMode_kTableLeader)
	n.expectAmounts(0, 0)
	n.puts(0, 2)
	n.restart()
	n.load(api.TableMode_kTableLeader)
	n.expectAmounts(0, 2)
}

// damage is something that is done to a file of a partition that is not loaded.
type damage struct {
	file func(n *node) string
	do   func(t *testing.T, path string)
}

// fileBut finds a file of a partition by its pattern: the one with that many after it.
func fileBut(pattern string, last int) func(n *node) string {
	return func(n *node) string {
		files, _ := filepath.Glob(filepath.Join(n.partitionDir(common.StorageMode_kMemory), pattern))
		if len(files) <= last {
			n.t.Fatalf("%d files like %s", len(files), pattern)
		}
		return files[len(files)-1-last]
	}
}

func damages() map[string]damage {
	logs, snapshot, manifest := "binlog/*.log", fileBut("snapshot/*.sdb", 0), fileBut("snapshot/MANIFEST", 0)
	flip := func(at func(size int) int) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[at(len(b))] ^= 0x40
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	return map[string]damage{
		"payload of the last file":   {fileBut(logs, 0), flip(func(size int) int { return size / 2 })},
		"length of the first record": {fileBut(logs, 0), flip(func(int) int { return 0 })},
		"last byte":                  {fileBut(logs, 0), flip(func(size int) int { return size - 1 })},
		"an earlier file is torn": {fileBut(logs, 2), func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, info.Size()-3); err != nil {
				t.Fatal(err)
			}
		}},
		"a file between is missing": {fileBut(logs, 1), remove},
		"snapshot":                  {snapshot, flip(func(size int) int { return size / 2 })},
		"snapshot is missing":       {snapshot, remove},
		"snapshot is torn": {snapshot, func(t *testing.T, path string) {
			if err := os.Truncate(path, 100); err != nil {
				t.Fatal(err)
			}
		}},
		"manifest": {manifest, func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("offset: x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"manifest names a way out": {manifest, func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(`offset: 1 name: "../../x"`), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// Damage that is no torn tail keeps a partition from being loaded, and its files stay as they are.
func TestDamagedFilesAreRefused(t *testing.T) {
	memory := common.StorageMode_kMemory
	for name, tt := range damages() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.tune.binlog = 2 << 10
			n := w.started()
			n.create(testMeta(0, api.TableMode_kTableLeader))
			n.puts(0, 20)
			n.snapshot(1)
			n.puts(20, 60)
			n.kill()
			path := tt.file(n)
			tt.do(t, path)
			before := listing(t, n.partitionDir(memory))
			n.start()
			q := loadRequest(api.TableMode_kTableLeader)
			q.TaskInfo = task(2, api.TaskType_kLoadTable)
			if a := call[api.GeneralResponse](n, "LoadTable", q); a.GetCode() != 0 && a.GetCode() != codeCreateFailed {
				t.Fatalf("LoadTable: %v", a)
			}
			n.ends(2, api.TaskType_kLoadTable, api.TaskStatus_kFailed)
			n.eventually("the partition is out of memory", func() bool { return n.status() == nil })
			if after := listing(t, n.partitionDir(memory)); !slices.Equal(before, after) {
				t.Errorf("files before: %v, after: %v", before, after)
			}
		})
	}
}

func listing(t *testing.T, dir string) (names []string) {
	err := filepath.WalkDir(dir, func(path string, f os.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return err
		}
		info, err := f.Info()
		if filepath.Base(path) != metaFile { // which says what the load asked for
			names = append(names, fmt.Sprint(path, " ", info.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A partition of a disk that is loaded as one of memory is looked for elsewhere, and its own files stay.
func TestLoadWithWrongStorageMode(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader, stored(common.StorageMode_kHDD)))
	n.puts(0, 20)
	n.restart()
	q := loadRequest(api.TableMode_kTableLeader)
	refused[api.GeneralResponse](n, "LoadTable", q, codeCreateFailed, "fail to init table")
	if _, err := os.Stat(filepath.Join(n.partitionDir(common.StorageMode_kMemory), metaFile)); err != nil {
		t.Errorf("the description that is left behind: %v", err)
	}
	pair := well[api.GetTermPairResponse](n, "GetTermPair", &api.GetTermPairRequest{
		Tid: proto.Uint32(testTID), Pid: proto.Uint32(0),
	})
	if pair.GetHasTable() || pair.GetOffset() != 0 {
		t.Errorf("GetTermPair in the wrong place: %v", pair)
	}
	n.load(api.TableMode_kTableLeader, stored(common.StorageMode_kHDD))
	n.expectAmounts(0, 20)
	refused[api.GeneralResponse](n, "LoadTable", loadRequest(api.TableMode_kTableLeader, stored(common.StorageMode_kUnknown)),
		codeBadMeta, "storage_mode is unknown")
}

// Loading can be seen, and takes longer on a slow tablet.
func TestLoadingCanBeSeen(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.puts(0, 50)
	n.restart()
	n.gate.Slow(time.Hour) // answers, too: the call is made without the network
	q := loadRequest(api.TableMode_kTableLeader)
	q.TaskInfo = task(5, api.TaskType_kLoadTable)
	var a api.GeneralResponse
	if err := n.tablet.loadTable(t.Context(), nil, q, &a); err != nil || a.GetCode() != 0 {
		t.Fatal(err, &a)
	}
	var is api.GetTableStatusResponse
	if err := n.tablet.getTableStatus(t.Context(), nil, &api.GetTableStatusRequest{}, &is); err != nil {
		t.Fatal(err)
	}
	if len(is.GetAllTableStatus()) != 1 || is.GetAllTableStatus()[0].GetState() != api.TableState_kTableLoading {
		t.Errorf("while loading: %v", &is)
	}
	n.gate.Slow(0)
	n.ends(5, api.TaskType_kLoadTable, api.TaskStatus_kDone)
	n.expectAmounts(0, 50)
	refused[api.GeneralResponse](n, "LoadTable", loadRequest(api.TableMode_kTableLeader), codeTableExists, "table already exists")
	refused[api.CreateTableResponse](n, "CreateTable",
		&api.CreateTableRequest{TableMeta: testMeta(0, api.TableMode_kTableLeader)}, codeTableExists, "table already exists")
}

// While a partition is being loaded clients are told so.
func TestCallsWhileLoading(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.puts(0, 5)
	n.restart()
	p, s := n.tablet.open(loadedMeta(t, n), n.partitionDir(common.StorageMode_kMemory))
	if !s.good() {
		t.Fatal(s)
	}
	tid, pid := proto.Uint32(testTID), proto.Uint32(0)
	loading := isLoading.text
	refused[api.PutResponse](n, "Put", putRequest(0, "c", "m", "", 1, 1), codeLoading, loading)
	refused[api.GetResponse](n, "Get", &api.GetRequest{Tid: tid, Pid: pid, Key: proto.String("card1")}, codeLoading, loading)
	refused[api.ScanResponse](n, "Scan", &api.ScanRequest{Tid: tid, Pid: pid, Pk: proto.String("card1")}, codeLoading, loading)
	refused[api.TraverseResponse](n, "Traverse", &api.TraverseRequest{Tid: tid, Pid: pid}, codeLoading, loading)
	refused[api.CountResponse](n, "Count", &api.CountRequest{Tid: tid, Pid: pid, Key: proto.String("card1")}, codeLoading, loading)
	refused[api.GeneralResponse](n, "Delete", &api.DeleteRequest{Tid: tid, Pid: pid, Ts: proto.Uint64(5)}, codeLoading, loading)
	refused[api.ChangeRoleResponse](n, "ChangeRole", &api.ChangeRoleRequest{Tid: tid, Pid: pid}, codeLoading, loading)
	refused[api.AppendEntriesResponse](n, "AppendEntries", &api.AppendEntriesRequest{Tid: tid, Pid: pid}, codeLoading, loading)
	refused[api.GeneralResponse](n, "MakeSnapshot", general(), codeNotNormal, notNormal.text)
	refused[api.GeneralResponse](n, "PauseSnapshot", general(), codeNotNormal, notNormal.text)
	refused[api.TruncateTableResponse](n, "TruncateTable",
		&api.TruncateTableRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(0)}, codeLoading, "table is loading data")
	if !n.tablet.load(p) {
		t.Fatal("not loaded")
	}
	n.expectAmounts(0, 5)
}

func loadedMeta(t *testing.T, n *node) *api.TableMeta {
	m, err := mergeMeta(n.partitionDir(common.StorageMode_kMemory), loadRequest(api.TableMode_kTableLeader).GetTableMeta())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCreateTableRefusals(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	key := func(change func(*common.ColumnKey)) func(*api.TableMeta) {
		return func(m *api.TableMeta) { change(m.ColumnKey[0]) }
	}
	for text, tt := range map[string]struct {
		code   int32
		change func(*api.TableMeta)
	}{
		"table name is empty":     {codeBadMeta, func(m *api.TableMeta) { m.Name = nil }},
		"tid <= 0, invalid tid":   {codeBadMeta, func(m *api.TableMeta) { m.Tid = nil }},
		"storage_mode is unknown": {codeBadMeta, stored(common.StorageMode_kUnknown)},
		"duplicated column: card": {codeBadMeta, func(m *api.TableMeta) { m.ColumnDesc[1].Name = proto.String("card") }},
		"can not find col in schema. col: x": {
			codeBadMeta, key(func(k *common.ColumnKey) { k.ColName = []string{"x"} }),
		},
		"can not find col in schema. col: when": {
			codeBadMeta, key(func(k *common.ColumnKey) { k.TsName = proto.String("when") }),
		},
		"duplicated col card": {codeBadMeta, key(func(k *common.ColumnKey) { k.ColName = []string{"card", "card"} })},
		"float or double type column can not be index, column is: card": {
			codeBadMeta, func(m *api.TableMeta) { m.ColumnDesc[0].DataType = types.DataType_kDouble.Enum() },
		},
		"ts column type should be bigint or timestamp, column is: card": {
			codeBadMeta, key(func(k *common.ColumnKey) { k.TsName = proto.String("card") }),
		},
		"index must member of columns when column key col name is empty": {
			codeBadMeta, key(func(k *common.ColumnKey) { k.IndexName, k.ColName = proto.String("x"), nil }),
		},
		"latest ttl cannot be greater than 1000": {
			codeBadMeta, key(func(k *common.ColumnKey) { k.Ttl = &common.TTLSt{LatTtl: proto.Uint64(1001)} }),
		},
		"absolute ttl cannot be greater than 15768000": {
			codeBadMeta, key(func(k *common.ColumnKey) { k.Ttl = &common.TTLSt{AbsTtl: proto.Uint64(1 << 40)} }),
		},
		"fail to init table": {codeCreateFailed, func(m *api.TableMeta) { m.ColumnKey = nil }},
	} {
		refused[api.CreateTableResponse](n, "CreateTable",
			&api.CreateTableRequest{TableMeta: testMeta(0, api.TableMode_kTableLeader, tt.change)}, tt.code, text)
	}
	if s := n.status(); s != nil {
		t.Errorf("there is %v", s)
	}
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.puts(0, 1)
	n.restart() // what is on the disk is not written over by a create
	refused[api.CreateTableResponse](n, "CreateTable",
		&api.CreateTableRequest{TableMeta: testMeta(0, api.TableMode_kTableLeader)}, codeCreateFailed,
		"there is data of a partition that is not loaded")
}

func TestDropTable(t *testing.T) {
	w := newWorld(t)
	n := w.started()
	q := &api.DropTableRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(0), TaskInfo: task(1, api.TaskType_kDropTable)}
	refused[api.DropTableResponse](n, "DropTable", q, codeNoTable, noTable.text)
	n.ends(1, api.TaskType_kDropTable, api.TaskStatus_kFailed)
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.puts(0, 5)
	q.TaskInfo = task(2, api.TaskType_kDropTable)
	well[api.DropTableResponse](n, "DropTable", q)
	n.ends(2, api.TaskType_kDropTable, api.TaskStatus_kDone)
	if s := n.status(); s != nil {
		t.Errorf("after it was dropped there is %v", s)
	}
	if _, err := os.Stat(n.partitionDir(common.StorageMode_kMemory)); !os.IsNotExist(err) {
		t.Errorf("its directory: %v", err)
	}
	bin, err := filepath.Glob(filepath.Join(n.dir, "recycle", "7_0_*", metaFile))
	if err != nil || len(bin) != 1 {
		t.Errorf("the recycle bin has %v, %v", bin, err)
	}
	n.create(testMeta(0, api.TableMode_kTableLeader))
	n.expectAmounts(0, 0)
}

func TestTruncateTable(t *testing.T) {
	for _, mode := range []common.StorageMode{common.StorageMode_kMemory, common.StorageMode_kSSD} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWorld(t)
			n := w.started()
			q := &api.TruncateTableRequest{Tid: proto.Int32(testTID), Pid: proto.Int32(0)}
			refused[api.TruncateTableResponse](n, "TruncateTable", q, codeNoTable, "table not found")
			n.create(testMeta(0, api.TableMode_kTableLeader, stored(mode)))
			well[api.TruncateTableResponse](n, "TruncateTable", q)
			n.puts(0, 30)
			well[api.TruncateTableResponse](n, "TruncateTable", q)
			n.expectAmounts(0, 0)
			if s := n.status(); s.GetOffset() != 30 || s.GetRecordCnt() != 0 || s.GetRecordByteSize() != 0 {
				t.Errorf("status after it: %v", s)
			}
			n.puts(30, 5)
			n.restart()
			n.load(api.TableMode_kTableLeader, stored(mode))
			n.expectAmounts(30, 35)
			if n.offset() != 35 {
				t.Errorf("offset %d", n.offset())
			}
		})
	}
}

package pegasus

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"shardsh/cluster"
)

// What the sandbox counts of rows that are written and read is what the driver reads, from either release.
func TestFiguresOfBothReleases(t *testing.T) {
	for _, compat := range []string{"2.5", "2.6"} {
		t.Run(compat, func(t *testing.T) {
			d := oneboxOf(t, compat)
			nodes, err := d.Nodes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := Wanted{
				Replica: []string{"get_qps", "put_qps", "recent.read.cu", "recent.write.cu", "rdb.estimate_num_keys", "rdb.memtable.memory_usage"},
				Server: []string{
					FigureResident, FigureVirtual, FigureDiskTotal, FigureDiskLeast, FigureGetP99, FigurePutP99, FigureMultiPutP99,
					FigureBlockCache, FigureWriteBuffers, FigureMutable,
				},
			}
			before := sampleAll(t, d, nodes, want)
			const rows = 60
			for i := range rows {
				key := fmt.Appendf(nil, "row%d", i)
				if _, err := d.Set(t.Context(), "demo", key, nil, []byte(strings.Repeat("v", 5000)), 0); err != nil {
					t.Fatal(err)
				}
				if _, _, _, err := d.Get(t.Context(), "demo", key, nil); err != nil {
					t.Fatal(err)
				}
			}
			if compat == "2.5" { // whose rates are taken between two looks: what a call takes must not matter
				time.Sleep(max(0, time.Second-time.Since(before[0].At)))
			}
			after := sampleAll(t, d, nodes, want)
			sums := map[string]float64{}
			for i, s := range after {
				if s.Totals != (compat == "2.6") {
					t.Fatalf("totals %v", s.Totals)
				}
				since, seconds := s.Since(before[i]), s.At.Sub(before[i].At).Seconds()
				for id, values := range since.Replicas {
					for name, value := range values {
						if strings.HasSuffix(name, "_qps") {
							value *= seconds
						}
						if id.App == 2 || name == "rdb.memtable.memory_usage" {
							sums[name] += value
						}
					}
				}
				checkServer(t, since, compat == "2.6")
			}
			// Each row of 5,000 bytes is two units, written and read; every replica counts its rows, the primary its calls.
			for name, want := range map[string]float64{
				"get_qps": rows, "put_qps": rows, "recent.read.cu": 2 * rows, "recent.write.cu": 2 * rows, "rdb.estimate_num_keys": 3 * rows,
			} {
				slack := 0.0
				if strings.HasSuffix(name, "_qps") {
					slack = want / 4 // the moments are the server's on the one hand and ours on the other
				}
				if got := sums[name]; got < want-slack-0.001 || got > want+slack+0.001 {
					t.Errorf("%s is %g, want %g", name, got, want)
				}
			}
			if sums["rdb.memtable.memory_usage"] < 3*256<<10 {
				t.Errorf("%g bytes in memory, of three servers that wrote", sums["rdb.memtable.memory_usage"])
			}
		})
	}
}

func sampleAll(t *testing.T, d *Driver, nodes []cluster.Node, want Wanted) []*Sample {
	t.Helper()
	var all []*Sample
	for _, n := range nodes {
		s, err := d.Sample(t.Context(), n.Endpoint, want)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func checkServer(t *testing.T, s *Sample, later bool) {
	t.Helper()
	has := func(name string) bool { _, ok := s.Server[name]; return ok }
	for _, name := range []string{FigureWriteBuffers, FigureMutable} {
		if has(name) != later || later && s.Server[name] < 256<<10 {
			t.Errorf("%s is %g", name, s.Server[name])
		}
	}
	for _, name := range []string{FigureResident, FigureVirtual, FigureGetP99, FigurePutP99} {
		if s.Server[name] <= 0 {
			t.Errorf("%s is %g", name, s.Server[name])
		}
	}
	if s.Server[FigureMultiPutP99] != 0 || !has(FigureMultiPutP99) || !has(FigureBlockCache) {
		t.Errorf("server: %v", s.Server)
	}
	total, least := s.Server[FigureDiskTotal], s.Server[FigureDiskLeast]
	if !has(FigureDiskTotal) || total < 0 || total > 100 || least != total {
		t.Errorf("disks: %g and %g per cent free", total, least)
	}
}

func TestServerStatOfBothReleases(t *testing.T) {
	for compat, parts := range map[string][]string{
		"2.5": {"serving_replica_count=12", "learning_count=0", "memused_res(MB)="},
		"2.6": {"total_replicas=12", "learning_replicas=0", "res_mem_mb="},
	} {
		d := oneboxOf(t, compat)
		servers, err := d.Servers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range servers {
			text, err := d.ServerStat(t.Context(), s.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			for i, part := range parts {
				if has := strings.Contains(text, part); has != (s.Role == RoleReplica || i == 2) {
					t.Errorf("%s of %s says %q: %q %v", s.Role, compat, text, part, has)
				}
			}
		}
	}
}

package openmldb

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
)

// prospects are the rows of a forecast, with tablets as A, B, C and the nameserver as NS.
func (b *box) prospects(t *testing.T, d *Driver, down ...string) []string {
	t.Helper()
	all, err := d.Forecast(t.Context(), down)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{b.ns.endpoint, "NS"}
	for _, s := range b.tablets {
		names = append(names, s.endpoint, b.naming(s.endpoint))
	}
	var rows []string
	for _, p := range all {
		rows = append(rows, strings.NewReplacer(names...).Replace(p.If+" => "+p.Then))
	}
	return rows
}

func demand(t *testing.T, rows []string, want ...string) {
	t.Helper()
	if !slices.Equal(rows, want) {
		t.Errorf("it is\n%s\nand should be\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
}

const (
	lastNS   = "the last nameserver fails, NS => no failover and no recovery until one is back; tablets go on serving who knows them"
	heals    = "others lead by themselves, after ZooKeeper's session and tablet_heartbeat_timeout; it is recovered when it is back"
	byHand   = "nothing by itself: offlineendpoint has others lead, recoverendpoint takes it back (auto_failover is off)"
	noRisk   = "a leader fails while rows are written => the rows of that moment are lost; at risk now: none"
	inDoubt  = "reads and writes are back within minutes; that it all recovers by itself is not sure: doctor, recoverendpoint"
	nobody   = "neither reads nor writes until it is back; nobody can take over"
	bothGone = "neither reads nor writes until they are back; then recoverdata"
)

// Three replicas on three tablets, which heal themselves or do not.
func TestForecast(t *testing.T) {
	b := newBox(t, 4)
	d := open(t, 20*time.Second, b.ns)
	demand(t, b.prospects(t, d), lastNS, "any one tablet fails => "+heals,
		"two tablets of one partition with three copies fail: flow/0, flow/1, flow/2 and 1 more => "+inDoubt, noRisk)
	answering(b.ns, "ConfGet", func(_ *ns.ConfGetRequest, a *ns.ConfGetResponse) {
		a.Code, a.Conf = proto.Int32(0), []*ns.Pair{{Key: proto.String("auto_failover"), Value: proto.String("false")}}
	})
	demand(t, b.prospects(t, d), lastNS, "any one tablet fails => "+byHand,
		"two tablets of one partition with three copies fail: flow/0, flow/1, flow/2 and 1 more => "+
			"reads and writes are back after offlineendpoint of both; recoverendpoint takes them back", noRisk)
}

// One copy, two copies, and a partition that has no leader, about which there is nothing to foretell.
func TestForecastOfFewCopies(t *testing.T) {
	b := newBox(t, 4)
	b.change(func(info *ns.TableInfo) {
		p := info.TablePartition
		p[0].PartitionMeta = p[0].PartitionMeta[:1]
		p[1].PartitionMeta = p[1].PartitionMeta[:2]
		p[2].PartitionMeta[2].IsAlive = proto.Bool(false)
		p[3].PartitionMeta[1].IsAlive = proto.Bool(false)
	})
	d := open(t, 20*time.Second, b.ns)
	demand(t, b.prospects(t, d), lastNS, "the tablet of a single copy fails: flow/0 => "+nobody, "any one tablet fails => "+heals,
		"two tablets with both copies fail: flow/1, flow/3 => "+bothGone, noRisk)
	// Partition 0 is only there, 1 follows there, 3 leads there.
	demand(t, b.prospects(t, d, b.tablets[0].endpoint), lastNS,
		"A fails: leads flow/3 => they elect other leaders by themselves",
		"A fails: the last copy of flow/0 => neither reads nor writes until it is back; then recoverdata",
		"the tablet of a single copy fails, too: flow/1, flow/3 => "+nobody, noRisk)
}

// What only a leader has is at risk, and lost with it.
func TestForecastOfEntriesAtRisk(t *testing.T) {
	b := newBox(t, 3)
	ahead := func(s *server, pid, by uint32) {
		s.mu.Lock()
		defer s.mu.Unlock()
		before := s.answers["GetTableStatus"]
		s.answers["GetTableStatus"] = func(q, m proto.Message) error {
			err := before(q, m)
			for _, p := range m.(*api.GetTableStatusResponse).AllTableStatus {
				if p.GetPid() == pid {
					p.Offset = proto.Uint64(p.GetOffset() + uint64(by))
				}
			}
			return err
		}
	}
	ahead(b.tablets[0], 0, 7)
	ahead(b.tablets[1], 1, 50)
	followers := func(s *server, offset uint64, of map[int]uint64) {
		answering(s, "GetTableFollower", func(_ *api.GetTableFollowerRequest, a *api.GetTableFollowerResponse) {
			a.Offset = &offset
			for i, at := range of {
				a.FollowerInfo = append(a.FollowerInfo, &api.FollowerInfo{Endpoint: &b.tablets[i].endpoint, Offset: &at})
			}
		})
	}
	followers(b.tablets[0], 107, map[int]uint64{1: 100, 2: 104}) // the best one counts
	followers(b.tablets[1], 151, map[int]uint64{0: 151, 2: 101}) // it has caught up since
	d := open(t, 20*time.Second, b.ns)
	rows := b.prospects(t, d)
	if last := rows[len(rows)-1]; last != "a leader fails while rows are written => what no follower has is lost; at risk now: 3 entries (flow/0 3)" {
		t.Errorf("%s", last)
	}
	// With C down B is the best follower, and A takes more with it.
	rows = b.prospects(t, d, b.tablets[2].endpoint, b.tablets[0].endpoint)
	want := "C and A fail together: leads flow/0, flow/2 => they elect other leaders by themselves; 7 entries that no follower has are lost"
	if !slices.Contains(rows, want) {
		t.Errorf("%s", strings.Join(rows, "\n"))
	}
	b.tablets[0].failing("GetTableFollower", &rpc.Error{Code: rpc.CodeNoMethod, Text: "Fail to find method"})
	if rows = b.prospects(t, d); !strings.Contains(rows[len(rows)-1], "7 entries (flow/0 7)") {
		t.Errorf("a leader that does not tell: %s", rows[len(rows)-1])
	}
}

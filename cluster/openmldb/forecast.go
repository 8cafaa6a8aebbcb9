package openmldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"shardsh/cluster"
)

// Forecast tells what OpenMLDB's rules of high availability come to for this cluster now: which failures it gets over by
// itself, which need a hand, and which cost rows. down are tablets that count as failed already. It costs what Faults
// costs.
func (d *Driver) Forecast(ctx context.Context, down []string) ([]cluster.Prospect, error) {
	on, err := d.AutoFailover(ctx)
	if err != nil {
		return nil, err
	}
	servers, err := d.Nameservers(ctx)
	if err != nil {
		return nil, err
	}
	v, err := d.look(ctx)
	if err != nil {
		return nil, err
	}
	f := &forecast{v: v, heals: on, down: down}
	f.count()
	if err := d.gaps(ctx, f); err != nil {
		return nil, err
	}
	f.nameservers(servers)
	f.failed()
	f.tablets()
	f.losses()
	return f.rows, nil
}

// forecast is one in the making.
type forecast struct {
	v     *view
	heals bool
	down  []string
	parts []*prospects // those that have a living leader
	rows  []cluster.Prospect
}

// prospects is what a partition has to lose.
type prospects struct {
	table  *Table
	part   *Partition
	leader Replica
	live   []string // those that count as alive, on living tablets that are not down
	gap    uint64   // entries that the leader has and no living follower
}

func (p *prospects) name() string { return fmt.Sprintf("%s/%d", p.table.TableName, p.part.ID) }

func (f *forecast) would(endpoint string) bool { return slices.Contains(f.down, endpoint) }

func (f *forecast) count() {
	for i := range f.v.tables {
		t := &f.v.tables[i]
		for j := range t.Parts {
			p := &prospects{table: t, part: &t.Parts[j]}
			leader, led := p.part.Leader()
			if !led || !f.v.tablets[leader.Endpoint].Healthy {
				continue // the findings say so
			}
			p.leader = leader
			for _, r := range p.part.Replicas {
				if r.Alive && f.v.tablets[r.Endpoint].Healthy && !f.would(r.Endpoint) {
					p.live = append(p.live, r.Endpoint)
				}
			}
			f.parts = append(f.parts, p)
		}
	}
	slices.SortStableFunc(f.parts, func(a, b *prospects) int { // people look for their own tables
		return cmp.Compare(bits(a.table.Internal()), bits(b.table.Internal()))
	})
}

func bits(b bool) int {
	if b {
		return 1
	}
	return 0
}

// gaps finds what only leaders have. The tablets' words were said at different times, so that the leader is asked about
// those that seem to lack something.
func (d *Driver) gaps(ctx context.Context, f *forecast) error {
	var suspects []*prospects
	for _, p := range f.parts {
		held, ok := f.v.held(p.leader.Endpoint, p.table.ID, p.part.ID)
		if p.gap = held.Offset - f.furthest(p, held.Offset, nil); ok && p.gap > 0 && len(f.followers(p)) > 0 {
			suspects = append(suspects, p)
		}
	}
	suspects = suspects[:min(len(suspects), maxSuspects)]
	var mu sync.Mutex
	each(ctx, suspects, func(ctx context.Context, p *prospects) {
		answer, err := d.TabletFollowers(ctx, p.leader.Endpoint, p.table.ID, p.part.ID)
		if err != nil {
			return // what was known before holds
		}
		mu.Lock()
		defer mu.Unlock()
		p.gap = answer.Offset - f.furthest(p, answer.Offset, answer.Followers)
	})
	return failure("ask about followers", false, ctx.Err())
}

// followers are those that could be elected.
func (f *forecast) followers(p *prospects) []string {
	return slices.DeleteFunc(slices.Clone(p.live), func(e string) bool { return e == p.leader.Endpoint })
}

// furthest is how far the best follower is, up to the leader's offset: by the leader's word where that is given.
func (f *forecast) furthest(p *prospects, leads uint64, told []Follower) uint64 {
	best := uint64(0)
	for _, endpoint := range f.followers(p) {
		held, _ := f.v.held(endpoint, p.table.ID, p.part.ID)
		at := held.Offset
		for _, one := range told {
			if one.Endpoint == endpoint {
				at = one.Offset
			}
		}
		best = max(best, min(at, leads))
	}
	return best
}

func (f *forecast) say(what, then string) {
	f.rows = append(f.rows, cluster.Prospect{If: what, Then: then})
}

func (f *forecast) nameservers(servers []Nameserver) {
	var up []string
	leader := ""
	for _, s := range servers {
		if s.Role == "leader" || s.Role == "standby" {
			up = append(up, s.Endpoint)
		}
		if s.Role == "leader" {
			leader = s.Endpoint
		}
	}
	const end = "no failover and no recovery until one is back; tablets go on serving who knows them"
	if len(up) < 2 {
		f.say("the last nameserver fails, "+leader, end)
		return
	}
	f.say("the leading nameserver fails, "+leader, "another one takes over by itself")
	f.say(fmt.Sprintf("all %d nameservers fail", len(up)), end)
}

// failed tells what becomes of the partitions of tablets that count as failed.
func (f *forecast) failed() {
	if len(f.down) == 0 {
		return
	}
	var elect, gone []string
	var lost uint64
	for _, p := range f.parts {
		if !f.would(p.leader.Endpoint) {
			continue
		}
		if len(p.live) == 0 {
			gone = append(gone, p.name())
			continue
		}
		elect, lost = append(elect, p.name()), lost+p.gap
	}
	what := strings.Join(f.down, " and ") + " fails"
	if len(f.down) > 1 {
		what = strings.Join(f.down, " and ") + " fail together"
	}
	if len(elect) > 0 {
		then := "they elect other leaders by themselves"
		if !f.heals {
			then = "they elect other leaders after offlineendpoint " + strings.Join(f.down, ", offlineendpoint ")
		}
		f.say(what+": leads "+few(elect), then+losing(lost))
	}
	if len(gone) > 0 {
		f.say(what+": the last copy of "+few(gone), "neither reads nor writes until it is back; then recoverdata")
	}
	if len(elect)+len(gone) == 0 {
		f.say(what, "no partition loses its leader")
	}
}

func losing(entries uint64) string {
	if entries == 0 {
		return ""
	}
	return fmt.Sprintf("; %s that no follower has are lost", someEntries(entries))
}

func someEntries(entries uint64) string {
	if entries == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", entries)
}

// tablets tells what one and two more failures come to, by how many living copies partitions have.
func (f *forecast) tablets() {
	more := ""
	if len(f.down) > 0 {
		more = ", too"
	}
	by := map[int][]string{}
	for _, p := range f.parts {
		by[min(len(p.live), 3)] = append(by[min(len(p.live), 3)], p.name())
	}
	if single := by[1]; len(single) > 0 {
		f.say(fmt.Sprintf("the tablet of a single copy fails%s: %s", more, few(single)), "neither reads nor writes until it is back; nobody can take over")
	}
	if len(by[2])+len(by[3]) > 0 {
		then := "others lead by themselves, after ZooKeeper's session and tablet_heartbeat_timeout; it is recovered when it is back"
		if !f.heals {
			then = "nothing by itself: offlineendpoint has others lead, recoverendpoint takes it back (auto_failover is off)"
		}
		f.say("any one tablet fails"+more, then)
	}
	if pairs := by[2]; len(pairs) > 0 {
		f.say(fmt.Sprintf("two tablets with both copies fail%s: %s", more, few(pairs)), "neither reads nor writes until they are back; then recoverdata")
	}
	if three := by[3]; len(three) > 0 {
		then := "reads and writes are back within minutes; that it all recovers by itself is not sure: doctor, recoverendpoint"
		if !f.heals {
			then = "reads and writes are back after offlineendpoint of both; recoverendpoint takes them back"
		}
		f.say(fmt.Sprintf("two tablets of one partition with three copies fail%s: %s", more, few(three)), then)
	}
}

// losses tells of the entries that die with their leaders.
func (f *forecast) losses() {
	var at []*prospects
	var sum uint64
	for _, p := range f.parts {
		if p.gap > 0 && len(f.followers(p)) > 0 && !f.would(p.leader.Endpoint) {
			at, sum = append(at, p), sum+p.gap
		}
	}
	const what = "a leader fails while rows are written"
	if len(at) == 0 {
		f.say(what, "the rows of that moment are lost; at risk now: none")
		return
	}
	slices.SortStableFunc(at, func(a, b *prospects) int { return cmp.Compare(b.gap, a.gap) })
	var names []string
	for _, p := range at {
		names = append(names, fmt.Sprintf("%s %d", p.name(), p.gap))
	}
	f.say(what, fmt.Sprintf("what no follower has is lost; at risk now: %s (%s)", someEntries(sum), few(names)))
}

// few names some of many.
func few(names []string) string {
	const shown = 3
	if more := len(names) - shown; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), more)
	}
	return strings.Join(names, ", ")
}

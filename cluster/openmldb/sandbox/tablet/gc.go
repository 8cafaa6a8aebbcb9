package tablet

import (
	"bufio"
	"context"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/RaduBerinde/btreemap"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/sandbox/port"
)

// What a tablet does by itself (tablet.flags as shipped: gc_interval, disk_gc_interval, binlog_delete_interval,
// get_sys_mem_interval).
const (
	gcInterval     = 120 * time.Minute
	diskGCInterval = 1440 * time.Minute
	trimInterval   = time.Minute
	memoryInterval = 10 * time.Second
)

// housekeeping runs until the tablet ends.
func (t *Tablet) housekeeping() {
	tick := func(interval time.Duration) *time.Ticker { return time.NewTicker(t.scaled(interval)) }
	gc, diskGC, trim, memory := tick(gcInterval), tick(diskGCInterval), tick(trimInterval), tick(memoryInterval)
	defer gc.Stop()
	defer diskGC.Stop()
	defer trim.Stop()
	defer memory.Stop()
	t.memoryUsed.Store(memoryUsed())
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-gc.C:
			t.collect(func(p *partition) bool { return p.mode == common.StorageMode_kMemory })
		case <-diskGC.C:
			t.collect(func(p *partition) bool { return p.mode != common.StorageMode_kMemory })
		case <-trim.C:
			t.trim()
		case <-memory.C:
			t.memoryUsed.Store(memoryUsed())
		}
	}
}

// collect collects the partitions selected.
func (t *Tablet) collect(of func(p *partition) bool) {
	for _, p := range t.all() {
		if !t.pass() {
			return
		}
		if of(p) {
			p.collect()
		}
	}
}

// trim removes binlog files that neither a restart nor a follower needs any more.
func (t *Tablet) trim() {
	for _, p := range t.all() {
		if !t.pass() {
			return
		}
		p.mu.RLock()
		needed := p.snapshot.offset
		for _, f := range p.followers {
			needed = min(needed, f.synced.Load())
		}
		loaded := p.state != api.TableState_kTableLoading && !p.gone
		p.mu.RUnlock()
		if !loaded {
			continue
		}
		if err := p.log.trim(needed); err != nil {
			t.c.Log("tablet %s: old binlog of %s: %v", t.c.Endpoint, p.id, err)
		}
	}
}

// executeGC collects a partition soon.
func (t *Tablet) executeGC(_ context.Context, _ *port.Call, q *api.ExecuteGcRequest, a *api.GeneralResponse) error {
	p := t.part(q.GetTid(), q.GetPid())
	if p == nil {
		status{codeError, "table not found"}.general(a)
		return nil
	}
	t.wg.Go(p.collect)
	ok.general(a)
	return nil
}

// collect removes what has expired for longer than the store waits, then puts new TTLs in force and lets go of deleted
// indexes.
func (p *partition) collect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || p.state == api.TableState_kTableLoading {
		return
	}
	for _, x := range p.indexes {
		switch x.state {
		case indexReady:
			if !p.keep {
				p.expire(x)
			}
		case indexWaiting:
			x.state = indexDeleting
		case indexDeleting:
			p.empty(x)
			x.state = indexDeleted
		}
	}
	for _, n := range p.waiting {
		for _, x := range p.indexes {
			if n.index == "" || x.name == n.index {
				x.ttl = n.ttl
			}
		}
	}
	p.waiting = nil
}

// expire removes an index's expired rows.
func (p *partition) expire(x *index) {
	e := x.ttl.at(p.t.tune.now().Add(-gcSafe), false)
	if e.oldest == 0 && e.versions == 0 {
		return
	}
	var dead []place
	var key *keyRows
	newer := uint64(0)
	for at := range x.rows.Ascend(btreemap.Min[place](), btreemap.Max[place]()) {
		if at.key != key {
			key, newer = at.key, 0
		}
		if e.expired(at.ts, newer) {
			dead = append(dead, at)
		}
		newer++
	}
	p.drop(x, dead)
}

// empty removes all rows of an index.
func (p *partition) empty(x *index) {
	var all []place
	for at := range x.from("", math.MaxUint64) {
		all = append(all, at)
	}
	p.drop(x, all)
}

// memoryUsed is how much of the machine's memory is in use, in percent; 0 where nobody tells.
func memoryUsed() uint32 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	var total, available uint64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		n, err := strconv.ParseUint(fields[0], 10, 64)
		switch {
		case err != nil:
		case name == "MemTotal":
			total = n
		case name == "MemAvailable":
			available = n
		}
	}
	if total == 0 || available > total {
		return 0
	}
	return uint32((total - available) * 100 / total)
}

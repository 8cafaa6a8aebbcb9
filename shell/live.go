package shell

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// liveBudget bounds one fetch for completion.
const liveBudget = time.Second

// liveFresh is how long fetched names are used before they are fetched again.
const liveFresh = 5 * time.Second

// liveValues are names of things in the current cluster, for completion: fetched in the background over connections
// that are open already, never dialled for, and answered from memory.
type liveValues struct {
	shell *Shell

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu      sync.Mutex
	wake    func() // redraws the prompt
	cluster string
	tables  []string
	bases   []string       // databases
	counts  map[string]int // partitions of each table
	nodes   []string
	states  []string // what the prompt shows: "freezed"
	fetched time.Time
	busy    bool
	idle    chan struct{} // closed when the running fetch ends
}

func newLiveValues(s *Shell) *liveValues {
	l := &liveValues{shell: s, wake: func() {}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// onChange sets what is called, from any goroutine, when more is known.
func (l *liveValues) onChange(wake func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake = wake
}

// get answers what is known of a kind, and whether more is on its way.
func (l *liveValues) get(kind spec.ArgKind) (values []string, pending bool) {
	name, _ := l.shell.session.where()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aim(name)
	if time.Since(l.fetched) > liveFresh {
		pending = l.fetch(name)
	}
	switch kind {
	case spec.ArgTable:
		return l.inUse(), pending
	case spec.ArgDatabase:
		return l.bases, pending
	case spec.ArgPartition:
		_, table := l.shell.session.where()
		return numbersBelow(min(l.counts[table], mostPartitions)), pending
	}
	return l.nodes, pending
}

// disks are the tags of disks that the current cluster's driver has come across; nothing is asked for them.
func (l *liveValues) disks() []string {
	name, _ := l.shell.session.where()
	d, _ := l.shell.ready(name)
	if knows, ok := d.(interface{ DiskTags() []string }); ok {
		return knows.DiskTags()
	}
	return nil
}

// mostPartitions bounds how many numbers are offered.
const mostPartitions = 256

func numbersBelow(n int) []string {
	var all []string
	for i := range n {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// aim forgets what belongs to another cluster. The caller holds mu.
func (l *liveValues) aim(name string) {
	if l.cluster != name {
		l.cluster, l.tables, l.nodes, l.states, l.fetched = name, nil, nil, nil, time.Time{}
		l.counts, l.bases = nil, nil
	}
}

// inUse lists the tables by the names that words take: those of the database in use go without its name, too. The
// caller holds mu.
func (l *liveValues) inUse() []string {
	_, db := l.shell.session.where()
	if db == "" || len(l.bases) == 0 {
		return l.tables
	}
	var names []string
	for _, t := range l.tables {
		if name, ok := strings.CutPrefix(t, db+"/"); ok {
			names = append(names, name)
		}
	}
	return append(names, l.tables...)
}

// promptPatience is how long a prompt waits for the state of the cluster after a change.
const promptPatience = 300 * time.Millisecond

// state answers what the prompt shows of the cluster. After a change it waits a moment for what that made of it;
// otherwise it is what was seen last.
func (l *liveValues) state(changed bool) []string {
	name, _ := l.shell.session.where()
	l.mu.Lock()
	l.aim(name)
	fetching := time.Since(l.fetched) > liveFresh && l.fetch(name)
	idle := l.idle
	l.mu.Unlock()
	if fetching && changed {
		select {
		case <-idle:
		case <-time.After(promptPatience):
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.states
}

// refresh forgets what was fetched: a command ran, or the cluster is another one.
func (l *liveValues) refresh() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fetched = time.Time{}
}

// fetch asks an open cluster in the background. The caller holds mu.
func (l *liveValues) fetch(name string) bool {
	driver, open := l.shell.ready(name)
	if !open || l.ctx.Err() != nil {
		return false
	}
	if l.busy {
		return true
	}
	l.busy, l.idle = true, make(chan struct{})
	l.group.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithValue(l.ctx, unseen{}, true), liveBudget)
		defer cancel()
		var tables, nodes []string
		counts := map[string]int{}
		found, err := driver.Tables(ctx)
		for _, t := range found {
			tables = append(tables, t.FullName())
			counts[t.FullName()] = t.Partitions
		}
		var bases []string
		if d, ok := driver.(cluster.Databases); ok {
			bases, _ = d.Databases(ctx)
		}
		all, nerr := driver.Nodes(ctx)
		for _, n := range all {
			nodes = append(nodes, n.Endpoint)
		}
		info, ierr := driver.Info(ctx)
		slices.Sort(tables)
		l.mu.Lock()
		l.busy = false
		l.fetched = time.Now() // a failure is not tried again at every key
		if l.cluster == name && err == nil {
			l.tables, l.counts, l.bases = tables, counts, bases
		}
		if l.cluster == name && nerr == nil {
			l.nodes = nodes
		}
		if l.cluster == name && ierr == nil {
			l.states = info.State
		}
		close(l.idle)
		wake := l.wake
		l.mu.Unlock()
		wake()
	})
	return true
}

func (l *liveValues) close() {
	l.cancel()
	l.group.Wait()
}

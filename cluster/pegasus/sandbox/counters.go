package sandbox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// counter is a perf counter as the remote commands list it.
type counter struct {
	Name  string  `json:"name"`
	Type  string  `json:"type"`
	Value float64 `json:"value"`
}

const (
	counterNumber   = "NUMBER"
	counterVolatile = "VOLATILE_NUMBER"
	counterRate     = "RATE"
)

// counters are all of the server's, by name. Those of its replicas end in @app.partition. Only the numbers that are
// chosen are read, because reading some of them begins them anew.
func (s *replicaServer) counters(chosen func(name string) bool) []counter {
	if !s.enter() {
		return nil
	}
	defer s.leave()
	var all []counter
	add := func(name, kind string, value func() float64) {
		if chosen(name) {
			all = append(all, counter{name, kind, value()})
		}
	}
	learning, serving := 0, 0
	now := time.Now()
	for _, r := range s.all() {
		switch r.report().Status {
		case wire.ReplicaPrimary, wire.ReplicaSecondary:
			serving++
		case wire.ReplicaPotentialSecondary:
			learning++
		}
		name := func(of string) string { return fmt.Sprintf("replica*app.pegasus*%s@%s", of, r.pid) }
		for i, of := range rateNames {
			add(name(of), counterRate, func() float64 { return r.stats.perSecond(s.started, now)[i] })
		}
		for stat := len(rateNames); stat < statCount; stat++ {
			add(name(recentNames[stat]), counterVolatile, func() float64 { return float64(r.stats.counts[stat].Swap(0)) })
		}
		add(name("disk.storage.sst(MB)"), counterNumber, func() float64 { return float64(r.diskBytes()) / (1 << 20) })
		add(name("rdb.estimate_num_keys"), counterNumber, func() float64 { return float64(r.countKeys()) })
	}
	add("replica*eon.replica_stub*replica(Count)", counterNumber, func() float64 { return float64(serving) })
	add("replica*eon.replica_stub*replicas.learning.count", counterNumber, func() float64 { return float64(learning) })
	add("replica*server*memused.res(MB)", counterNumber, processMegabytes)
	slices.SortFunc(all, func(a, b counter) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (m *metaServer) counters(chosen func(name string) bool) []counter {
	m.mu.Lock()
	alive, all := m.countAlive(), len(m.nodes)
	m.mu.Unlock()
	list := []counter{{"meta*server*memused.res(MB)", counterNumber, processMegabytes()}}
	if all > 0 { // it leads
		list = append(list,
			counter{"meta*eon.meta_service*alive_nodes", counterNumber, float64(alive)},
			counter{"meta*eon.meta_service*unalive_nodes", counterNumber, float64(all - alive)})
	}
	return slices.DeleteFunc(list, func(c counter) bool { return !chosen(c.Name) })
}

// processMegabytes is what the process has from the system; servers that have no process of their own are all in one.
func processMegabytes() float64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return float64(sample[0].Value.Uint64() >> 20)
}

// diskBytes is what the replica's rows take on the disk; what is only in memory so far takes none.
func (r *replica) diskBytes() uint64 {
	bytes, err := r.s.store.DiskUsage(r.prefix, r.end)
	if err != nil {
		return 0
	}
	return bytes
}

// countKeys counts the rows, expired ones too, unless it did since the last write.
func (r *replica) countKeys() int64 {
	at := r.report().At
	r.mu.Lock()
	counted, keys := r.counted, r.keys
	r.mu.Unlock()
	if counted != nil && *counted == at {
		return keys
	}
	iter, err := r.s.store.Iterate(r.prefix, r.end)
	if err != nil {
		return 0
	}
	keys = 0
	for ok := iter.First(); ok; ok = iter.Next() {
		keys++
	}
	if iter.Close() != nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counted, r.keys = &at, keys
	return keys
}

// counterCommands are the remote commands that list counters.
func counterCommands(list func(chosen func(name string) bool) []counter) []command {
	by := func(how string, matches func(name, arg string) bool) command {
		return command{"perf-counters-by-" + how, "[" + how + "]...", "perf counters, chosen by any of the arguments", func(args []string) string {
			return countersJSON(list(func(name string) bool {
				return len(args) == 0 || slices.ContainsFunc(args, func(arg string) bool { return matches(name, arg) })
			}))
		}}
	}
	return []command{
		{"perf-counters", "[regexp]...", "perf counters, chosen by any of the regular expressions", func(args []string) string {
			var expressions []*regexp.Regexp
			for _, arg := range args {
				re, err := regexp.Compile(arg)
				if err != nil {
					return fmt.Sprintf("invalid arguments: %v", err)
				}
				expressions = append(expressions, re)
			}
			return countersJSON(list(func(name string) bool {
				return len(args) == 0 || slices.ContainsFunc(expressions, func(re *regexp.Regexp) bool { return re.MatchString(name) })
			}))
		}},
		by("substr", strings.Contains), by("prefix", strings.HasPrefix), by("postfix", strings.HasSuffix),
		{"server-stat", "", "the most important perf counters", func([]string) string { return briefStat(list) }},
	}
}

func countersJSON(list []counter) string {
	if list == nil {
		list = []counter{}
	}
	now := time.Now()
	text, err := json.Marshal(struct {
		Result  string    `json:"result"`
		Unix    int64     `json:"timestamp"`
		Written string    `json:"timestamp_str"`
		List    []counter `json:"counters"`
	}{"OK", now.Unix(), now.Format(time.DateTime), list})
	if err != nil {
		return fmt.Sprintf("ERROR: %v", err)
	}
	return string(text)
}

// briefStat sums the counters of the replicas under short names.
func briefStat(list func(chosen func(name string) bool) []counter) string {
	short := [][2]string{
		{"*get_qps@", "get_qps"},
		{"*multi_get_qps@", "multi_get_qps"},
		{"*batch_get_qps@", "batch_get_qps"},
		{"*put_qps@", "put_qps"},
		{"*multi_put_qps@", "multi_put_qps"},
		{"*eon.replica_stub*replica(Count)", "serving_replica_count"},
		{"*replicas.learning.count", "learning_count"},
		{"*disk.storage.sst(MB)@", "storage_sst(MB)"},
		{"*eon.meta_service*alive_nodes", "alive_nodes"},
		{"*eon.meta_service*unalive_nodes", "unalive_nodes"},
		{"*server*memused.res(MB)", "memused_res(MB)"},
	}
	sums := map[string]float64{}
	for _, c := range list(func(name string) bool {
		return slices.ContainsFunc(short, func(s [2]string) bool { return strings.Contains(name, s[0]) })
	}) {
		for _, s := range short {
			if strings.Contains(c.Name, s[0]) {
				sums[s[1]] += c.Value
			}
		}
	}
	var parts []string
	for _, s := range short {
		if sum, known := sums[s[1]]; known {
			parts = append(parts, fmt.Sprintf("%s=%.0f", s[1], sum))
		}
	}
	return strings.Join(parts, ", ")
}

package sandbox

import (
	"encoding/json"
	"fmt"
	"regexp"
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
	counterNumber      = "NUMBER"
	counterVolatile    = "VOLATILE_NUMBER"
	counterRate        = "RATE"
	counterPercentiles = "NUMBER_PERCENTILES"
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
	replicas, now := s.all(), time.Now()
	n := s.usage(replicas)
	for _, r := range replicas {
		for i, of := range rateNames {
			add(replicaCounter(of, r.pid), counterRate, func() float64 { return r.stats.perSecond(s.started, now)[i] })
		}
		for stat := len(rateNames); stat < statDupDisabled; stat++ {
			add(replicaCounter(recentNames[stat], r.pid), counterVolatile, func() float64 { return float64(r.stats.counts[stat].Swap(0)) })
		}
		add("replica*eon.replica*dup_recent_mutation_loss_count@"+r.pid.String(), counterVolatile, func() float64 {
			return float64(r.stats.counts[statDupLost].Swap(0))
		})
		for _, f := range replicaFigures {
			add(replicaCounter(f.counter, r.pid), counterNumber, func() float64 { return f.value(r, n) })
		}
	}
	s.dupCounters(replicas, now, add)
	add("replica*eon.replica_stub*recent.read.fail.count", counterVolatile, func() float64 { return float64(s.stats.readFails.Swap(0)) })
	add("replica*eon.replica_stub*recent.write.fail.count", counterVolatile, func() float64 { return float64(s.stats.writeFails.Swap(0)) })
	number := func(name string, value float64) { add(name, counterNumber, func() float64 { return value }) }
	number("replica*eon.replica_stub*replica(Count)", float64(n.byStatus[wire.ReplicaPrimary]+n.byStatus[wire.ReplicaSecondary]))
	number("replica*eon.replica_stub*replicas.learning.count", float64(n.byStatus[wire.ReplicaPotentialSecondary]))
	number("replica*eon.replica_stub*disk.capacity.total(MB)", float64(len(diskTags)*diskCapacity/mebi))
	for which, ratio := range s.disks.freeRatios() {
		number("replica*eon.replica_stub*disk.available."+which+".ratio", float64(ratio))
	}
	number("replica*eon.replica_stub*cold.backup.max.upload.file.size", float64(s.maxUpload()))
	number("replica*app.pegasus*rdb.block_cache.memory_usage", float64(n.Cache))
	virtual, resident := processMemory()
	number("replica*server*memused.virt(MB)", float64(virtual/mebi))
	number("replica*server*memused.res(MB)", float64(resident/mebi))
	for rpc, kept := range s.latencies.kinds {
		name := "zion*profiler*" + rpc + ".latency.server"
		add(name, counterPercentiles, func() float64 { return float64(kept.at()[p99]) })
		add(name+".p999", counterPercentiles, func() float64 { return float64(kept.at()[p99+1]) })
	}
	slices.SortFunc(all, func(a, b counter) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// dupCounters are those of duplication that are a table's or the server's.
func (s *replicaServer) dupCounters(replicas []*replica, now time.Time, add func(name, kind string, value func() float64)) {
	tables := map[string][]*replica{}
	for _, r := range replicas {
		r.mu.Lock()
		name := r.app.Name
		r.mu.Unlock()
		tables[name] = append(tables[name], r)
	}
	for name, list := range tables {
		sum := func(stat int) func() float64 {
			return func() float64 {
				n := int64(0)
				for _, r := range list {
					n += r.stats.counts[stat].Swap(0)
				}
				return float64(n)
			}
		}
		add("replica*eon.replica*dup.disabled_non_idempotent_write_count@"+name, counterVolatile, sum(statDupDisabled))
		add("replica*app.pegasus*dup.lagging_writes@"+name, counterVolatile, sum(statDupLagging))
		add("replica*app.pegasus*dup.time_lag_ms@"+name, counterPercentiles, func() float64 {
			late := int64(0)
			for _, r := range list {
				late = max(late, r.stats.lag.at()[p99])
			}
			return float64(late)
		})
	}
	add("replica*eon.replica_stub*dup.pending_mutations_count", counterVolatile, func() float64 {
		n := int64(0)
		for _, r := range replicas {
			n += r.pending()
		}
		return float64(n)
	})
	for i, of := range []struct {
		name string
		stat int
	}{{"dup.confirmed_rate", statDupConfirmed}, {"dup.shipped_bytes_rate", statDupBytes}} {
		add("replica*eon.replica_stub*"+of.name, counterRate, func() float64 {
			n := int64(0)
			for _, r := range replicas {
				n += r.stats.counts[of.stat].Load()
			}
			return s.stats.dups[i].perSecond(n, s.started, now)
		})
	}
}

func (m *metaServer) counters(chosen func(name string) bool) []counter {
	m.mu.Lock()
	alive, all := m.countAlive(), len(m.nodes)
	m.mu.Unlock()
	virtual, resident := processMemory()
	list := []counter{
		{"meta*server*memused.res(MB)", counterNumber, float64(resident / mebi)},
		{"meta*server*memused.virt(MB)", counterNumber, float64(virtual / mebi)},
	}
	if all > 0 { // it leads
		list = append(list,
			counter{"meta*eon.meta_service*alive_nodes", counterNumber, float64(alive)},
			counter{"meta*eon.meta_service*unalive_nodes", counterNumber, float64(all - alive)})
	}
	return slices.DeleteFunc(list, func(c counter) bool { return !chosen(c.Name) })
}

// counterCommands are the remote commands that list counters: none from 2.6 on, where /metrics has taken their place.
func (r release) counterCommands(list func(chosen func(name string) bool) []counter) []command {
	if r >= release26 {
		return nil
	}
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

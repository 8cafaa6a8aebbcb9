package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// Settings that remote commands read and write, in the memory of one server. Without an argument the value is
// answered; one that was set is answered by a text that begins with OK.

type setting struct {
	value    atomic.Int64
	standard int64
}

func newSetting(standard int64) *setting {
	s := &setting{standard: standard}
	s.value.Store(standard)
	return s
}

func (s *setting) get() int64 {
	if s == nil {
		return 0
	}
	return s.value.Load()
}

// command makes a remote command of the setting, which may be least or more.
func (s *setting) command(name, help string, least int64) command {
	return command{name, "[num | DEFAULT]", help, func(args []string) string {
		switch {
		case len(args) == 0:
			return strconv.FormatInt(s.value.Load(), 10)
		case args[0] == "DEFAULT":
			s.value.Store(s.standard)
			return "OK"
		}
		n, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil || n < least {
			return "ERR: invalid arguments"
		}
		s.value.Store(n)
		return "OK"
	}}
}

// metaSettings are a meta server's.
type metaSettings struct {
	assignDelay    *setting // milliseconds of Pegasus's time, which passes timers times as fast here
	livePercentage *setting // of nodes alive below which nothing is cured
}

func newMetaSettings() metaSettings {
	return metaSettings{
		assignDelay:    newSetting((assignDelay * timers).Milliseconds()),
		livePercentage: newSetting(0), // 65 in Pegasus, which with three nodes would allow the loss of one only
	}
}

func (m *metaServer) settingCommands() []command {
	return []command{
		m.settings.livePercentage.command("meta.live_percentage", "percentage of live nodes below which nothing is cured", 0),
		m.settings.assignDelay.command("meta.lb.assign_delay_ms", "how long a dropped replica is waited for before another node gets a copy", 1),
		{"meta.lb.get_balance_operation_count", "[total|move_pri|copy_pri|copy_sec]", "moves that balancing would make", func([]string) string {
			return "total=0"
		}},
	}
}

// dropoutDelay is how long a dropped replica is waited for.
func (m *metaServer) dropoutDelay() time.Duration {
	return time.Duration(m.settings.assignDelay.get()) * time.Millisecond / timers
}

// tooFewAlive says whether so few nodes are alive that nothing may be changed; m.mu is held.
func (m *metaServer) tooFewAlive() bool {
	return int64(m.countAlive())*100 < m.settings.livePercentage.get()*int64(len(m.nodes))
}

// levelNow is the level that holds: with too few nodes alive, one at which nothing is changed; m.mu is held.
func (m *metaServer) levelNow() wire.MetaLevel {
	if m.tooFewAlive() {
		return min(m.level, wire.LevelFreezed)
	}
	return m.level
}

// nodeSettings are a replica server's.
type nodeSettings struct {
	sendRate, copyRate *setting // megabytes per second when replicas are copied
	denyClient         atomic.Bool
}

// Defaults of Pegasus 2.5.
const standardRate = 500 // MB/s

func (n *nodeSettings) init() {
	n.sendRate, n.copyRate = newSetting(standardRate), newSetting(standardRate)
}

func (s *replicaServer) settingCommands() []command {
	return []command{
		s.settings.sendRate.command("nfs.max_send_rate_megabytes_per_disk", "how fast replicas are sent to other nodes, MB/s", 1),
		s.settings.copyRate.command("nfs.max_copy_rate_megabytes_per_disk", "how fast replicas are taken from other nodes, MB/s", 1),
		{"replica.deny-client", "<true|false>", "whether requests of clients are ignored", func(args []string) string {
			if len(args) == 0 {
				return strconv.FormatBool(s.settings.denyClient.Load())
			}
			deny, err := strconv.ParseBool(args[0])
			if err != nil {
				return "ERR: invalid arguments"
			}
			s.settings.denyClient.Store(deny)
			return "OK"
		}},
		{"replica.kill_partition", "[app_id [partition_index]]", "close replicas, which the meta server then brings back", s.killPartition},
		{"replica.query-compact", "[app_id|app_id.partition,...]", "when replicas were compacted, and whether they are being", s.queryCompact},
		{"replica.query-app-envs", "[app_id|app_id.partition,...]", "the envs that replicas know", s.queryEnvs},
	}
}

// pace waits as long as bytes may take at a rate.
func (s *replicaServer) pace(bytes int, rate *setting) {
	timer := time.NewTimer(time.Duration(float64(bytes) / float64(rate.get()<<20) * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.stop:
	}
}

func (s *replicaServer) killPartition(args []string) string {
	pid := wire.GPID{App: -1, Partition: -1}
	for i, into := range []*int32{&pid.App, &pid.Partition} {
		if i < len(args) {
			n, err := strconv.ParseInt(args[i], 10, 32)
			if err != nil {
				return wire.CodeInvalidParameters
			}
			*into = int32(n)
		}
	}
	if len(args) > 2 {
		return wire.CodeInvalidParameters
	}
	found := false
	for _, r := range s.all() {
		if (pid.App == -1 || pid.App == r.pid.App) && (pid.Partition == -1 || pid.Partition == r.pid.Partition) {
			r.reset()
			found = true
		}
	}
	if !found {
		return wire.CodeObjectNotFound
	}
	return wire.OK
}

func (s *replicaServer) queryEnvs(args []string) string {
	var wanted []string
	if len(args) > 0 {
		wanted = strings.Split(args[0], ",")
	}
	var lines []string
	for _, r := range s.all() {
		chosen := len(wanted) == 0
		for _, w := range wanted {
			chosen = chosen || w == r.pid.String() || w == fmt.Sprint(r.pid.App)
		}
		if !chosen {
			continue
		}
		r.mu.Lock()
		envs, status := r.app.Envs, r.status
		r.mu.Unlock()
		lines = append(lines, fmt.Sprintf("%s@%s@%s : %v", r.pid, s.address, status, envs))
	}
	return fmt.Sprintf("%d processed\n%s", len(lines), strings.Join(lines, "\n"))
}

package sandbox

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
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
func (s *setting) command(r release, name, help string, least int64) command {
	if r >= release26 {
		return command{name, "[num | DEFAULT]", help, func(args []string) string { return s.told(name, least, args) }}
	}
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

// told is the command as releases after 2.5 have it.
func (s *setting) told(name string, least int64, args []string) string {
	switch {
	case len(args) == 0:
		return told("", name, strconv.FormatInt(s.value.Load(), 10))
	case len(args) > 1:
		return told(fmt.Sprintf("ERR: invalid arguments '%s', only one argument is acceptable", strings.Join(args, " ")), "", nil)
	case strings.EqualFold(args[0], "DEFAULT"):
		s.value.Store(s.standard)
		return told("", name, s.standard)
	}
	n, err := strconv.ParseInt(args[0], 10, 32)
	if err != nil || n < least {
		return told(fmt.Sprintf("ERR: invalid argument '%s', the value is not acceptable", args[0]), "", nil)
	}
	s.value.Store(n)
	return told("", "", nil)
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
	r := m.net.release()
	return []command{
		m.settings.livePercentage.command(r, "meta.live_percentage", "percentage of live nodes below which nothing is cured", 0),
		m.settings.assignDelay.command(r, "meta.lb.assign_delay_ms", "how long a dropped replica is waited for before another node gets a copy", 1),
		{"meta.lb.get_balance_operation_count", "[total|move_pri|copy_pri|copy_sec]", "moves that balancing would make", func([]string) string {
			if r >= release26 {
				return indented(map[string]int{"total": 0}, "  ")
			}
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

// configuration is what Config.Settings may hold:
//
//	cold_backup_disabled  true: every call about backups is refused, as Pegasus does unless it is configured otherwise
//	strict                true: what the documentation forbids is refused, too: a restore of a table that is gone
type configuration struct{ ColdBackupDisabled, Strict bool }

func readConfiguration(given map[string]string) (configuration, error) {
	var c configuration
	into := map[string]*bool{"cold_backup_disabled": &c.ColdBackupDisabled, "strict": &c.Strict}
	for key, value := range given {
		at := into[key]
		if at == nil {
			return c, spec.Errorf(spec.Usage, "the sandbox of pegasus has no setting %q", key).
				WithHint("settings: cold_backup_disabled, strict")
		}
		yes, err := strconv.ParseBool(value)
		if err != nil {
			return c, spec.Errorf(spec.Usage, "pegasus.%s is true or false, not %q", key, value)
		}
		*at = yes
	}
	return c, nil
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
	r := s.net.release()
	return []command{
		s.settings.sendRate.command(r, "nfs.max_send_rate_megabytes_per_disk", "how fast replicas are sent to other nodes, MB/s", 1),
		s.settings.copyRate.command(r, "nfs.max_copy_rate_megabytes_per_disk", "how fast replicas are taken from other nodes, MB/s", 1),
		{"replica.deny-client", "<true|false>", "whether requests of clients are ignored", func(args []string) string {
			return s.denyClient(r, args)
		}},
		{"replica.kill_partition", "[app_id [partition_index]]", "close replicas, which the meta server then brings back", s.killPartition},
		{"replica.query-compact", "[app_id|app_id.partition,...]", "when replicas were compacted, and whether they are being", s.queryCompact},
		{"replica.query-app-envs", "[app_id|app_id.partition,...]", "the envs that replicas know", s.queryEnvs},
	}
}

// denyClient reads or sets whether clients are ignored.
func (s *replicaServer) denyClient(r release, args []string) string {
	now := strconv.FormatBool(s.settings.denyClient.Load())
	switch {
	case len(args) == 0 && r >= release26:
		return told("", "replica.deny-client", now)
	case len(args) == 0:
		return now
	}
	deny, err := strconv.ParseBool(args[0])
	switch {
	case err != nil && r >= release26:
		return told(fmt.Sprintf("ERR: invalid arguments, '%s' is not a boolean", args[0]), "", nil)
	case err != nil:
		return "ERR: invalid arguments"
	}
	s.settings.denyClient.Store(deny)
	if r >= release26 {
		return told("", "", nil)
	}
	return "OK"
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

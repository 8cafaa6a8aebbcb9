package pegasus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"shardsh/commands/spec"
)

// setting is a name that tables' settings (app envs) may have.
type setting struct {
	name string
	must string // what a value must be, in words; "" for any text
	ok   func(value string) bool
	// values are all there are, or the usual ones when ok takes others.
	values []string
	// since is the first release known to have it; "" where older ones than 2.3 have it too, or may.
	since string
}

// settings is the closed list that meta servers keep (app_env_validator in the store); names that replication sets by
// itself, duplication.*, are in it too, since servers accept them.
var settings = slices.Concat(
	[]setting{
		oneOf("replica.deny_client_request", "", "timeout*all", "timeout*read", "timeout*write", "reconfig*all", "reconfig*read", "reconfig*write"),
		throttling("replica.write_throttling", ""),
		throttling("replica.write_throttling_by_size", ""),
		throttling("replica.read_throttling", ""),
		sizeThrottling("replica.read_throttling_by_size", "2.4"),
		throttling("replica.backup_request_throttling", ""),
		whole("replica.slow_query_threshold", 20, noLimit, "", "100", "1000"),
		whole("replica.rocksdb_iteration_threshold_time_ms", 0, noLimit, "", "1000", "30000"),
		oneOf("replica.rocksdb_block_cache_enabled", "2.3", "true", "false"),
		oneOf("replica.split.validate_partition_hash", "2.3", "true", "false"),
	},
	[]setting{
		oneOf("rocksdb.usage_scenario", "", "normal", "prefer_write", "bulk_load"),
		oneOf("rocksdb.allow_ingest_behind", "2.3", "true", "false"),
		whole("rocksdb.write_buffer_size", 16<<20, 512<<20, "2.5", "67108864", "268435456"),
		whole("rocksdb.num_levels", 1, 10, "2.5", "6"),
		whole("rocksdb.checkpoint.reserve_min_count", 1, maxInt32, "", "2"),
		whole("rocksdb.checkpoint.reserve_time_seconds", 0, maxInt32, "", "3600"),
		whole("default_ttl", 0, maxInt32, "", "0", "86400"),
		text("business.info", ""),
		text("user_specified_compaction", "2.3"),
	},
	[]setting{
		oneOf("manual_compact.disabled", "", "true", "false"),
		whole("manual_compact.max_concurrent_running_count", 0, maxInt32, "", "1"),
		whole("manual_compact.once.trigger_time", 0, noLimit, ""),
		compactLevel("manual_compact.once.target_level"),
		oneOf("manual_compact.once.bottommost_level_compaction", "", "force", "skip"),
		text("manual_compact.periodic.trigger_time", ""),
		compactLevel("manual_compact.periodic.target_level"),
		oneOf("manual_compact.periodic.bottommost_level_compaction", "", "force", "skip"),
		text("replica_access_controller.allowed_users", ""),
		text("replica_access_controller.ranger_policies", "2.5"),
		text("duplication.master_cluster", ""),
		text("duplication.master_metas", ""),
		text("duplication.master_app_name", "2.6"),
		text("duplication.follower_app_status", "2.6"),
	},
)

const (
	maxInt32 = 1<<31 - 1
	noLimit  = 1<<63 - 1
)

func text(name, since string) setting {
	return setting{name: name, since: since, ok: func(string) bool { return true }}
}

func oneOf(name, since string, values ...string) setting {
	return setting{
		name: name, since: since, values: values, must: "one of " + strings.Join(values, ", "),
		ok: func(value string) bool { return slices.Contains(values, value) },
	}
}

func whole(name string, least, most int64, since string, usual ...string) setting {
	must := fmt.Sprintf("a whole number from %d to %d", least, most)
	if most == noLimit {
		must = fmt.Sprintf("a whole number from %d on", least)
	}
	return setting{name: name, since: since, values: usual, must: must, ok: func(value string) bool {
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && n >= least && n <= most
	}}
}

func compactLevel(name string) setting {
	return setting{name: name, values: []string{"-1"}, must: "-1 (the deepest level) or a level from 1 on", ok: func(value string) bool {
		n, err := strconv.ParseInt(value, 10, 64)
		return err == nil && (n == -1 || n >= 1)
	}}
}

func throttling(name, since string) setting {
	return limit(name, since, "N[K|M]*delay*MS, N[K|M]*reject*MS or both with a comma between, as 20000*delay*100,30000*reject*200", "delay", "reject")
}

// sizeThrottling is a token bucket, which can only reject; servers read and ignore a delay.
func sizeThrottling(name, since string) setting {
	return limit(name, since, "N[K|M]*reject*MS, as 100M*reject*200", "delay", "reject")
}

func limit(name, since, must string, kinds ...string) setting {
	return setting{name: name, since: since, must: must, ok: func(value string) bool {
		var seen []string
		for part := range strings.SplitSeq(value, ",") {
			fields := strings.Split(part, "*")
			if len(fields) != 3 || !slices.Contains(kinds, fields[1]) || slices.Contains(seen, fields[1]) {
				return false
			}
			seen = append(seen, fields[1])
			amount := strings.TrimSuffix(strings.TrimSuffix(fields[0], "K"), "M")
			n, err := strconv.ParseUint(amount, 10, 44)
			if _, badMillis := strconv.ParseUint(fields[2], 10, 32); err != nil || n == 0 || badMillis != nil {
				return false
			}
		}
		return true
	}}
}

func findSetting(name string) (setting, bool) {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
	if i < 0 {
		return setting{}, false
	}
	return settings[i], true
}

// checkSetting refuses what servers would, and names that no release is known to have: servers up to 2.5 take some of
// those without a word, and a setting that is mistyped does nothing. force lets names and values pass.
func checkSetting(name, value string, force bool) error {
	s, known := findSetting(name)
	switch {
	case force:
		return nil
	case !known:
		err := spec.Errorf(spec.Usage, "no setting is called %s", quote(name))
		if near := spec.Suggest(name, settingNames()); len(near) > 0 {
			return err.WithHint("did you mean %s? --force sends it as it is", strings.Join(near, " or "))
		}
		return err.WithHint("TAB lists the names; --force sends it as it is")
	case !s.ok(value):
		err := spec.Errorf(spec.Usage, "%s cannot be %s", name, shownSetting(name, quote(value)))
		return err.WithHint("it must be %s; --force sends it as it is", s.must)
	}
	return nil
}

// settingNames lists the names, for completion and for what was meant.
func settingNames() []string {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.name
	}
	return names
}

// settingValues lists by name what a setting may be, or usually is.
func settingValues() map[string][]string {
	all := map[string][]string{}
	for _, s := range settings {
		all[s.name] = s.values
	}
	return all
}

// settingPairs lists what may follow -e: name=value where the values are few, else name=.
func settingPairs() []string {
	var pairs []string
	for _, s := range settings {
		if len(s.values) == 0 {
			pairs = append(pairs, s.name+"=")
		}
		for _, v := range s.values {
			pairs = append(pairs, s.name+"="+v)
		}
	}
	return pairs
}

// settingFamilies lists the beginnings of names that clear_app_envs takes.
func settingFamilies() []string {
	var families []string
	for _, s := range settings {
		family, _, dotted := strings.Cut(s.name, ".")
		if dotted && !slices.Contains(families, family) {
			families = append(families, family)
		}
	}
	return families
}

// sinceNotes warns of settings that older servers do not have.
func sinceNotes(names []string) []string {
	var notes []string
	for _, name := range names {
		if s, known := findSetting(name); known && s.since != "" {
			notes = append(notes, fmt.Sprintf("%s is known since release %s", name, s.since))
		}
	}
	return notes
}

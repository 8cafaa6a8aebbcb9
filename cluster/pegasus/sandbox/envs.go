package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The envs that the sandbox itself acts on.
const (
	envDefaultTTL   = "default_ttl"
	envValidateHash = "replica.split.validate_partition_hash"
)

// envRules is the closed list of envs a table may have, and what their values may be.
var envRules = map[string]func(value string) error{
	"replica.deny_client_request":                         oneOf("timeout*all", "timeout*read", "timeout*write", "reconfig*all", "reconfig*read", "reconfig*write"),
	"replica.write_throttling":                            throttle("delay", "reject"),
	"replica.write_throttling_by_size":                    throttle("delay", "reject"),
	"replica.read_throttling":                             throttle("delay", "reject"),
	"replica.read_throttling_by_size":                     throttle("delay", "reject"),
	"replica.backup_request_throttling":                   throttle("delay", "reject"),
	"replica.slow_query_threshold":                        integer(20, 1<<62),
	"replica.rocksdb_iteration_threshold_time_ms":         integer(0, 1<<62),
	"replica.rocksdb_block_cache_enabled":                 oneOf("true", "false"),
	envValidateHash:                                       oneOf("true", "false"),
	"rocksdb.usage_scenario":                              oneOf("normal", "prefer_write", "bulk_load"),
	"rocksdb.allow_ingest_behind":                         oneOf("true", "false"),
	"rocksdb.write_buffer_size":                           integer(16<<20, 512<<20),
	"rocksdb.num_levels":                                  integer(1, 10),
	"rocksdb.checkpoint.reserve_min_count":                integer(1, 1<<31-1),
	"rocksdb.checkpoint.reserve_time_seconds":             integer(0, 1<<31-1),
	envDefaultTTL:                                         integer(0, 1<<31-1),
	"business.info":                                       anything,
	"user_specified_compaction":                           anything,
	envCompactOff:                                         oneOf("true", "false"),
	envCompactLimit:                                       integer(0, 1<<31-1),
	envCompactOnce:                                        integer(0, 1<<62),
	envCompactLevel:                                       level,
	envCompactBottom:                                      oneOf("force", "skip"),
	envCompactPeriodic:                                    anything,
	"manual_compact.periodic.target_level":                level,
	"manual_compact.periodic.bottommost_level_compaction": oneOf("force", "skip"),
	"replica_access_controller.allowed_users":             anything,
	"replica_access_controller.ranger_policies":           anything,
	"duplication.master_cluster":                          anything,
	"duplication.master_metas":                            anything,
	"duplication.master_app_name":                         anything,
	"duplication.follower_app_status":                     anything,
}

// createChecked are the only envs that creating a table checks; the others are taken as they are, as Pegasus does.
var createChecked = []string{"rocksdb.write_buffer_size", "rocksdb.num_levels"}

func checkEnv(key, value string) error {
	rule, known := envRules[key]
	if !known {
		return fmt.Errorf("%q is not an env that tables have", key)
	}
	if err := rule(value); err != nil {
		return fmt.Errorf("%s: %q %w", key, value, err)
	}
	return nil
}

func anything(string) error { return nil }

func oneOf(words ...string) func(string) error {
	return func(value string) error {
		if !slices.Contains(words, value) {
			return fmt.Errorf("is not one of %s", strings.Join(words, ", "))
		}
		return nil
	}
}

func integer(least, most int64) func(string) error {
	return func(value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < least || n > most {
			return fmt.Errorf("is not an integer from %d to %d", least, most)
		}
		return nil
	}
}

func level(value string) error {
	if value == "-1" || integer(1, 1<<31-1)(value) == nil {
		return nil
	}
	return fmt.Errorf("is neither -1 nor a level from 1 on")
}

// throttle accepts N[K|M]*what*ms, at most one of each kind, joined by commas.
func throttle(kinds ...string) func(string) error {
	return func(value string) error {
		seen := map[string]bool{}
		for part := range strings.SplitSeq(value, ",") {
			fields := strings.Split(strings.TrimSpace(part), "*")
			if len(fields) != 3 || !slices.Contains(kinds, fields[1]) || seen[fields[1]] {
				return fmt.Errorf("is not like 20000*delay*100,30000*reject*200")
			}
			seen[fields[1]] = true
			_, amountErr := strconv.ParseUint(strings.TrimRight(fields[0], "KM"), 10, 44)
			_, millisErr := strconv.ParseUint(fields[2], 10, 32)
			if amountErr != nil || millisErr != nil {
				return fmt.Errorf("has an amount or a time that is no number")
			}
		}
		return nil
	}
}

package pegasus

import (
	"math"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// What servers accept, checked before anything is sent.
const (
	maxReplicas   = 5             // meta server: replica_count in [1..5]
	maxHashKey    = 65534         // a full key starts with the hash key's length as u16, below 65535
	maxWrite      = 1 << 20       // replica server: max_allowed_write_size
	epochUnix     = 1_451_606_400 // expiry counts from 2016-01-01 00:00:00 UTC in an i32
	tableNameRule = "a table's name has letters, digits, '.', ':' and '_' only"
)

func checkTable(name string) error {
	for _, r := range name {
		ok := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(".:_", r)
		if !ok {
			return spec.Errorf(spec.Usage, "%s is no name for a table", quote(name)).WithHint(tableNameRule)
		}
	}
	if name == "" {
		return spec.Errorf(spec.Usage, "a table needs a name").WithHint(tableNameRule)
	}
	return nil
}

func checkShape(partitions, replicas int64) error {
	switch {
	case partitions < 1 || partitions > math.MaxInt32:
		return spec.Errorf(spec.Usage, "%d is no number of partitions", partitions).WithHint("a table has at least 1")
	case replicas < 1 || replicas > maxReplicas:
		return spec.Errorf(spec.Usage, "%d is no number of replicas", replicas).WithHint("a partition has 1 to %d", maxReplicas)
	}
	return nil
}

func checkHashKey(hash string) error {
	switch {
	case hash == "":
		return spec.Errorf(spec.Usage, "the hash key is empty").WithHint("only the sort key may be empty: \"\"")
	case len(hash) > maxHashKey:
		return spec.Errorf(spec.Usage, "the hash key has %d bytes", len(hash)).WithHint("at most %d", maxHashKey)
	}
	return nil
}

func checkWrite(hash, sort, value string) error {
	if size := len(hash) + len(sort) + len(value); size > maxWrite {
		return spec.Errorf(spec.Usage, "key and value have %d bytes", size).
			WithHint("servers refuse writes over %d bytes", maxWrite)
	}
	return nil
}

// checkTTL: a time to live is sent as the second it ends in, counted from 2016.
func checkTTL(ttl time.Duration) error {
	switch {
	case ttl < 0:
		return spec.Errorf(spec.Usage, "%s is no time to live", ttl).WithHint("0, or nothing, keeps the row for ever")
	case ttl%time.Second != 0:
		return spec.Errorf(spec.Usage, "%s is no time to live", ttl).WithHint("whole seconds only")
	case time.Now().Add(ttl).Unix()-epochUnix > math.MaxInt32:
		return spec.Errorf(spec.Usage, "%s ends after 2084", ttl).WithHint("0, or nothing, keeps the row for ever")
	}
	return nil
}

// checkReserve: how long a dropped table can be recalled.
func checkReserve(keep time.Duration) error {
	if keep < 0 || keep%time.Second != 0 {
		return spec.Errorf(spec.Usage, "%s is no time to keep a dropped table", keep).WithHint("whole seconds; 0 means 7 days")
	}
	return nil
}

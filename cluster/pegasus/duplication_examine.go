package pegasus

import (
	"context"
	"fmt"
	"time"

	"shardsh/cluster"
)

// lagWorthNaming is how many writes a follower may lack before that is a finding; slowPreparation is for how long a
// duplication may get ready.
const (
	lagWorthNaming  = 10_000
	slowPreparation = 10 * time.Minute
)

// examineDuplications names duplications that do not ship, and followers that are far behind. It costs a call for each
// table that is duplicated; how far behind a follower is, is known from 2.6 on only. What does not answer has none.
func (d *Driver) examineDuplications(ctx context.Context, apps []App) []cluster.Finding {
	all, err := d.DuplicationsOf(ctx, apps)
	if err != nil {
		return nil
	}
	var found []cluster.Finding
	for _, a := range apps {
		for _, dup := range all[a.Name] {
			if kind, what, help := dup.trouble(a.Name, time.Now()); kind != "" {
				found = append(found, cluster.Finding{Kind: kind, Object: a.Name, What: what, Help: help})
			}
		}
	}
	return found
}

// trouble says what is wrong with a duplication, "" for nothing.
func (dup *Duplication) trouble(table string, now time.Time) (kind cluster.FindingKind, what, help string) {
	lag := int64(0)
	for _, p := range dup.Partitions {
		if p.Committed >= 0 {
			lag += max(p.Committed-max(p.Confirmed, 0), 0)
		}
	}
	age := now.Sub(dup.Created).Truncate(time.Minute)
	switch {
	case dup.Status == "DS_PAUSE":
		return "duplication_paused", fmt.Sprintf("its duplication to %s is paused: nothing is shipped, and its log grows", dup.Remote),
			fmt.Sprintf("start_dup %s %d", table, dup.ID)
	case dup.Status != "DS_LOG" && !dup.Created.IsZero() && age >= slowPreparation:
		return "duplication_stuck", fmt.Sprintf("its duplication to %s has been at %s for %v", dup.Remote, dup.Status, age), "query_dup " + table + " -d"
	case dup.Status == "DS_LOG" && lag >= lagWorthNaming:
		return "duplication_lags", fmt.Sprintf("%s lacks %d of its writes", dup.Remote, lag), "query_dup " + table + " -d"
	}
	return "", "", ""
}

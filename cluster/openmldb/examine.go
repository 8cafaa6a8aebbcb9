package openmldb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"shardsh/cluster"
)

// Examine sums up Faults: one finding for each kind, table and tablet, naming the partitions.
func (d *Driver) Examine(ctx context.Context) ([]cluster.Finding, error) {
	faults, err := d.Faults(ctx)
	if err != nil {
		return nil, err
	}
	return summary(faults), nil
}

// shared is what makes several faults one finding.
type shared struct {
	kind     cluster.FindingKind
	table    TableName
	endpoint string
}

func summary(faults []Fault) []cluster.Finding {
	var order []shared
	members := map[shared][]Fault{}
	for _, f := range faults {
		if f.Kind == NoLeaderAlive {
			continue // whoever reads Replicas finds it
		}
		k := shared{f.Kind, f.Table, f.Endpoint}
		if members[k] == nil {
			order = append(order, k)
		}
		members[k] = append(members[k], f)
	}
	slices.SortStableFunc(order, func(a, b shared) int {
		return cmp.Or(strings.Compare(a.table.String(), b.table.String()), strings.Compare(string(a.kind), string(b.kind)),
			strings.Compare(a.endpoint, b.endpoint))
	})
	var found []cluster.Finding
	for _, k := range order {
		found = append(found, k.finding(members[k]))
	}
	return found
}

func (k shared) finding(faults []Fault) cluster.Finding {
	f := cluster.Finding{Kind: k.kind, Object: k.object(), What: faults[0].What, Help: k.help(faults)}
	var gap uint64
	var partitions []uint32
	for _, one := range faults {
		f.Bad = f.Bad || one.Bad
		gap = max(gap, one.Gap)
		partitions = append(partitions, one.PID)
	}
	switch {
	case k.kind == OpFailed:
		last := slices.MaxFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Op, b.Op) })
		if f.What = last.What; len(faults) > 1 {
			f.What = fmt.Sprintf("%d operations failed; the last: %s", len(faults), f.What)
		}
		return f
	case k.kind == Lag:
		f.What = fmt.Sprintf("up to %d entries behind the leader, lost if it led now", gap)
	}
	if k.table.Name != "" {
		where := ""
		if k.endpoint != "" {
			where = " on " + k.endpoint
		}
		f.What = fmt.Sprintf("%s%s: %s", numbers(partitions), where, f.What)
	}
	return f
}

func (k shared) object() string {
	switch {
	case k.kind == AutoFailoverOff:
		return "auto_failover"
	case k.table.Name != "":
		return k.table.String()
	}
	return k.endpoint
}

// help is the line that helps against a kind of fault.
func (k shared) help(faults []Fault) string {
	switch k.kind {
	case AutoFailoverOff:
		return "confset auto_failover true"
	case AliveOnDeadTablet:
		return "offlineendpoint " + k.endpoint
	case NotRecovered:
		return "recoverendpoint " + k.endpoint
	case Miss, NotLeaderOnTablet, NotFollowerOnTablet:
		return "recoverdata --table " + k.table.String() // a replica that counts as alive is refused to recovertable
	case SeveralLeaders:
		return "gettablepartition " + k.table.String() + " " + fmt.Sprint(faults[0].PID)
	case NotNormal, Lag, Stray:
		return "showtable " + k.table.String()
	case cluster.NodeSilent:
		return "showtablet"
	case OpFailed:
		return "showopstatus"
	}
	return ""
}

// numbers names partitions, a few of many.
func numbers(all []uint32) string {
	slices.Sort(all)
	all = slices.Compact(all)
	const shown = 8
	var parts []string
	for _, n := range all[:min(len(all), shown)] {
		parts = append(parts, fmt.Sprint(n))
	}
	text := "partition " + strings.Join(parts, ", ")
	if len(all) > 1 {
		text = "partitions " + strings.Join(parts, ", ")
	}
	if len(all) > shown {
		text += fmt.Sprintf(" and %d more", len(all)-shown)
	}
	return text
}

// Remedy names the word that helps.
func (d *Driver) Remedy(f cluster.Finding) string {
	switch f.Kind {
	case cluster.NodeDown:
		return "offlineendpoint " + f.Object
	case cluster.NoLeader, cluster.NoWrites, cluster.FewReplicas:
		return "showtable " + f.Object
	}
	return ""
}

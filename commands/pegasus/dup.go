package pegasus

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// duplicator is what the words of duplication ask of a cluster, the source as well as the follower.
type duplicator interface {
	splitter
	HeldReplicas(ctx context.Context, endpoint string) ([]driver.HeldReplica, error)
	ServerVersion(ctx context.Context, endpoint string) (driver.Version, error)
	AddDuplication(ctx context.Context, table string, n driver.NewDuplication) (int32, error)
	Duplications(ctx context.Context, table string) ([]driver.Duplication, error)
	DuplicationsOf(ctx context.Context, apps []driver.App) (map[string][]driver.Duplication, error)
	ListDuplications(ctx context.Context) (all map[string][]driver.Duplication, able bool, err error)
	ChangeDuplication(ctx context.Context, table string, id int32, how string) error
	SetDupFailMode(ctx context.Context, table string, id int32, mode string) error
}

var _ duplicator = (*driver.Driver)(nil)

// openDup finds the table that is duplicated, or is to be.
func openDup(ctx context.Context, env commands.Env, call *spec.Call, table string) (duplicator, driver.App, error) {
	if err := checkTable(table); err != nil {
		return nil, driver.App{}, err
	}
	c, err := commands.Driver[duplicator](ctx, env, call)
	if err != nil {
		return nil, driver.App{}, err
	}
	a, err := mustFind(ctx, c, call.Cluster, table)
	return c, a, err
}

// dupArg names a duplication.
var dupArg = spec.Arg{Name: "dup", Kind: spec.ArgText, Help: "its dup_id, or the cluster it goes to; query_dup lists both"}

// findDup finds the duplication that is meant: by its id, or by its cluster.
func findDup(ctx context.Context, c duplicator, table, named string) (driver.Duplication, error) {
	list, err := c.Duplications(ctx, table)
	if err != nil {
		return driver.Duplication{}, err
	}
	id, notID := strconv.ParseInt(named, 10, 32)
	for _, d := range list {
		if notID == nil && int64(d.ID) == id || d.Remote == named {
			return d, nil
		}
	}
	return driver.Duplication{}, spec.Errorf(spec.NotFound, "%s has no duplication %s", table, shown(named)).
		WithHint("query_dup %s lists what it has", table)
}

// stillDup looks for a duplication again, nil when it is gone.
func stillDup(ctx context.Context, c duplicator, table string, id int32) (*driver.Duplication, error) {
	list, err := c.Duplications(ctx, table)
	if spec.KindOf(err) == spec.NotFound {
		return nil, nil
	}
	for i := range list {
		if list[i].ID == id {
			return &list[i], err
		}
	}
	return nil, err
}

// clusterName is what a cluster calls itself, "" when it does not say.
func clusterName(ctx context.Context, c admin) (string, error) {
	settings, err := c.ClusterInfo(ctx)
	for _, s := range settings {
		if s.Key == "cluster_name" {
			return s.Value, err
		}
	}
	return "", err
}

// commits are the last decrees of a table's partitions, as their primaries say. A partition without a primary, or whose
// primary does not answer, is not in it.
func commits(ctx context.Context, c duplicator, a driver.App) (map[int]int64, *driver.AppPartitions, error) {
	parts, err := c.Partitions(ctx, a.Name)
	if err != nil {
		return nil, nil, err
	}
	var primaries []string
	seen := map[string]bool{}
	for _, p := range parts.Partitions {
		if p.Primary != "" && !seen[p.Primary] {
			seen[p.Primary] = true
			primaries = append(primaries, p.Primary)
		}
	}
	held := make([][]driver.HeldReplica, len(primaries))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, endpoint := range primaries {
		group.Go(func() error {
			held[i], _ = c.HeldReplicas(asking, endpoint)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	last := map[int]int64{}
	for _, list := range held {
		for _, r := range list {
			if r.AppID == a.ID && r.Status == "PRIMARY" {
				last[r.Partition] = max(last[r.Partition], r.Committed)
			}
		}
	}
	return last, parts, ctx.Err()
}

// lagOf is how far a duplication is with one partition; not known when it has not begun, or nobody tells.
func lagOf(d *driver.Duplication, partition int, last map[int]int64) (confirmed, committed any, gap int64, known bool) {
	s, has := d.Partitions[partition]
	if !has {
		s = driver.Shipped{Confirmed: -1, Committed: -1}
	}
	if at, told := last[partition]; told {
		s.Committed = max(s.Committed, at)
	}
	if s.Confirmed >= 0 {
		confirmed = s.Confirmed
	}
	if s.Committed >= 0 {
		committed = s.Committed
	}
	return confirmed, committed, max(s.Committed-s.Confirmed, 0), s.Confirmed >= 0 && s.Committed >= 0
}

// standing sums up how far a duplication is.
type standing struct {
	begun, level, partitions int
	behind                   int64 // writes, of those partitions that are known
}

func standingOf(d *driver.Duplication, a driver.App, last map[int]int64) standing {
	s := standing{partitions: a.Partitions}
	for i := range a.Partitions {
		confirmed, _, gap, known := lagOf(d, i, last)
		if confirmed != nil {
			s.begun++
		}
		if known && gap == 0 {
			s.level++
		}
		if known {
			s.behind += gap
		}
	}
	return s
}

func (s standing) String() string {
	return fmt.Sprintf("%d of %d partitions are level, %s behind", s.level, s.partitions, commands.Plural(int(s.behind), "write"))
}

// statusWords say what a status means while nothing is wrong.
func statusWords(status string) string {
	switch status {
	case "DS_INIT", "DS_PREPARE":
		return "the source makes its checkpoint"
	case "DS_APP":
		return "the follower gets the rows there were"
	case "DS_PAUSE":
		return "paused"
	}
	return strings.ToLower(strings.TrimPrefix(status, "DS_"))
}

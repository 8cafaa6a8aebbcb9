package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/engine"
)

// firstTable is a table that a cluster has from the start.
type firstTable struct {
	name       string
	partitions int32
	users      int // hash keys filled by fillUser
}

// firstContent is what the clusters hold when they start for the first time.
var firstContent = map[string][]firstTable{
	"onebox": {{"TableA", 8, 100}, {"demo", 4, 0}},
}

// sessionTTL is the TTL of every tenth row.
const sessionTTL = 24 * time.Hour

// userRows are the rows of a user: nine facts that follow from the number, and a session that expires.
func userRows(n int) (hash []byte, rows []wire.KeyValue) {
	cities := []string{"beijing", "wuhan", "nanjing", "shenyang", "berlin", "delhi", "jakarta"}
	plans := []string{"free", "basic", "pro"}
	for _, kv := range [][2]string{
		{"age", fmt.Sprint(18 + n*7%60)},
		{"city", cities[n%len(cities)]},
		{"email", fmt.Sprintf("user_%04d@example.com", n)},
		{"level", fmt.Sprint(1 + n%9)},
		{"name", fmt.Sprintf("User %d", n)},
		{"orders", fmt.Sprint(n * 13 % 101)},
		{"phone", fmt.Sprintf("555-%04d", n*37%10000)},
		{"plan", plans[n%len(plans)]},
		{"score", fmt.Sprint(n * 9973 % 10007)},
		{"session", fmt.Sprintf("%016x", wire.Hash(fmt.Appendf(nil, "session %d", n), nil))},
	} {
		rows = append(rows, wire.KeyValue{Key: []byte(kv[0]), Value: []byte(kv[1])})
	}
	return fmt.Appendf(nil, "user_%04d", n), rows
}

// filledKey marks in the meta server's store that the first content is complete.
var filledKey = []byte("~filled")

// fillTime bounds making the first content, which takes a fraction of a second.
const fillTime = time.Minute

// fill makes the first content unless it was made before, or was lost; an interrupted attempt is made good.
func (c *cluster) fill(ctx context.Context) error {
	if lost, err := (keep{c.store}).lost(); lost || err != nil {
		return err
	}
	if _, err := c.store.Read(filledKey); !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	boss := c.leader()
	if boss == nil {
		return errDead
	}
	for _, t := range firstContent[c.name] {
		id, code := boss.create(t.name, t.partitions, int32(min(3, len(c.nodes))))
		if code != wire.OK {
			return fmt.Errorf("create table %s: %s", t.name, code)
		}
		if err := c.fillUsers(ctx, id, t); err != nil {
			return fmt.Errorf("fill table %s: %w", t.name, err)
		}
	}
	b := c.store.NewBatch()
	if err := b.Set(filledKey, nil, nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return c.store.Apply(b)
}

// fillers is how many users are written at once.
const fillers = 8

func (c *cluster) fillUsers(ctx context.Context, appID int32, t firstTable) error {
	var filled sync.WaitGroup
	errs := make([]error, fillers)
	for i := range fillers {
		filled.Go(func() {
			for n := i; n < t.users && errs[i] == nil; n += fillers {
				errs[i] = c.fillUser(ctx, appID, t.partitions, n)
			}
		})
	}
	filled.Wait()
	return errors.Join(errs...)
}

// fillUser writes a user's rows through the partition's primary, as a client's write.
func (c *cluster) fillUser(ctx context.Context, appID, partitions int32, n int) error {
	hash, rows := userRows(n)
	pid := wire.GPID{App: appID, Partition: int32(wire.PartitionOf(wire.Hash(hash, nil), int(partitions)))}
	session, err := wire.ExpireTS(time.Now(), sessionTTL)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		n, err := c.primaryOf(ctx, pid)
		if err != nil {
			return err
		}
		if n.seed(seed{pid, hash, rows, session}) == nil {
			return nil
		}
	}
	return context.Cause(ctx)
}

// primaryOf waits until a partition has a primary.
func (c *cluster) primaryOf(ctx context.Context, pid wire.GPID) (replicaNode, error) {
	for {
		for _, s := range c.servers() {
			if s == nil {
				continue
			}
			if r, err := s.report(pid); err == nil && r.Status == wire.ReplicaPrimary {
				return s, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("partition %s got no primary: %w", pid, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

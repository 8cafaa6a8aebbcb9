package sandbox

import (
	"context"
	"errors"
	"fmt"
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

// fill makes the first content unless it was made before; an interrupted attempt is made good.
func (c *cluster) fill(ctx context.Context) error {
	if _, err := c.boss.store.Read(filledKey); !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	for _, t := range firstContent[c.name] {
		id, code := c.boss.createApp(t.name, wire.CreateAppOptions{
			Partitions: t.partitions, Replicas: int32(min(3, len(c.nodes))), SuccessIfExist: true, AppType: appType, Stateful: true,
		})
		if code != wire.OK {
			return fmt.Errorf("create table %s: %s", t.name, code)
		}
		for n := range t.users {
			if err := c.fillUser(ctx, id, t.partitions, n); err != nil {
				return fmt.Errorf("fill table %s: %w", t.name, err)
			}
		}
	}
	b := c.boss.store.NewBatch()
	if err := b.Set(filledKey, nil, nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return c.boss.store.Apply(b)
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
		r, p, err := c.primaryOf(ctx, pid)
		if err != nil {
			return err
		}
		answered := make(chan string, 1)
		w := &write{hash: wire.Hash(hash, nil), answer: func(code string) { answered <- code }}
		w.apply = func(b *engine.Batch, _ int64, now time.Time) error {
			for i, row := range rows {
				expire := int32(0)
				if i == len(rows)-1 {
					expire = session
				}
				if err := putRow(b, r.prefix, expire, timetag(now), row.Value, hashKeyLength(hash), hash, row.Key); err != nil {
					return err
				}
			}
			return nil
		}
		if p.enqueue(task{write: w}) && <-answered == "" {
			return nil
		}
	}
	return context.Cause(ctx)
}

// primaryOf waits until a partition has a primary.
func (c *cluster) primaryOf(ctx context.Context, pid wire.GPID) (*replica, *primary, error) {
	for {
		for _, s := range c.nodes {
			if r, _, p, code := s.writable(pid, uint64(pid.Partition)); code == "" {
				return r, p, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("partition %s got no primary: %w", pid, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

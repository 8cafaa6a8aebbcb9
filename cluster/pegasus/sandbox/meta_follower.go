package sandbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"shardsh/cluster/pegasus/wire"
)

// How a duplication comes to have a follower: what the meta server of the source asks of that of the follower, and what
// that one answers.

// advance brings a duplication that is not shipping yet a step further, when every partition is ready for it.
func (m *metaServer) advance(a *app, d duplication) {
	if d.Status != wire.DupPrepare && d.Status != wire.DupApp {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range a.Partitions {
		s := m.dups[wire.GPID{App: a.ID, Partition: i}]
		if s == nil {
			return
		}
		if _, begun := s.Confirmed[d.ID]; !begun {
			return
		}
		if d.Status == wire.DupApp && !s.copied[d.ID] && m.founded[d.ID] {
			return
		}
	}
	if m.abroad[d.ID] || m.store == nil {
		return
	}
	m.abroad[d.ID] = true
	m.tasks.Go(func() { m.askFollower(*a, d) })
}

// askFollower does what a duplication needs of the follower's meta servers, and notes what came of it.
func (m *metaServer) askFollower(a app, d duplication) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-m.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	client := newAbroad(m.net, d.Remote)
	defer client.close()
	next, err := d.Status, error(nil)
	if d.Status == wire.DupPrepare {
		if err = m.makeFollower(ctx, client, a, d, "creating"); err == nil {
			next = wire.DupApp
		}
	} else {
		if m.net.release() >= release26 {
			err = m.makeFollower(ctx, client, a, d, "created")
		}
		if err == nil {
			err = followerReady(ctx, client, a, d)
		}
	}
	if err != nil && ctx.Err() == nil {
		m.log("duplicate %s to %s: %v", a.Name, d.Remote, err)
	}
	m.followed(a.ID, d, next, err)
}

// followed notes what became of a step at the follower. The last one is over only when all rows are there, too.
func (m *metaServer) followed(id int32, d duplication, next wire.DupStatus, failed error) {
	m.mu.Lock()
	delete(m.abroad, d.ID)
	a := m.apps[id]
	at := slices.IndexFunc(a.Dups, func(o duplication) bool { return o.ID == d.ID && o.Status == d.Status })
	if failed != nil || at < 0 || m.store == nil {
		m.mu.Unlock()
		return
	}
	if d.Status == wire.DupApp {
		if m.founded[d.ID] = true; m.allCopied(a, d.ID) {
			next = wire.DupLog
		}
	}
	if next == d.Status {
		m.mu.Unlock()
		return
	}
	now := a.Dups[at]
	now.Status = next
	told, err := m.replaceDup(a, at, now)
	m.mu.Unlock()
	if err != nil {
		m.log("keep that the duplication of %s is at %s: %v", a.Name, next, err)
		return
	}
	m.tell(func(n nodeLink) error { return n.updateApp(*told) })
	m.kick()
}

// allCopied says whether the follower has all rows of the checkpoints; m.mu is held.
func (m *metaServer) allCopied(a *app, dup int32) bool {
	for i := range a.Partitions {
		if s := m.dups[wire.GPID{App: a.ID, Partition: i}]; s == nil || !s.copied[dup] {
			return false
		}
	}
	return true
}

// makeFollower has the follower make its table, or note that it is made; before 2.6 there is no word on which of the two.
func (m *metaServer) makeFollower(ctx context.Context, client *abroad, a app, d duplication, status string) error {
	envs := maps.Clone(a.Envs)
	if envs == nil {
		envs = map[string]string{}
	}
	envs[envMasterCluster], envs[envMasterMetas] = m.name, strings.Join(m.metas, ",")
	if m.net.release() >= release26 {
		envs[envMasterApp], envs[envFollowerStatus] = a.Name, status
	}
	q := wire.CreateAppRequest{AppName: d.RemoteApp, Options: wire.CreateAppOptions{
		Partitions: a.Partitions, Replicas: d.Replicas, AppType: a.Type, Stateful: a.Stateful, Envs: envs,
	}}
	out, err := askMeta(ctx, client, &wire.CreateApp, &q, func(r *wire.CreateAppResponse) string { return r.Err })
	if err == nil && out.Err != wire.OK {
		err = fmt.Errorf("create the table %s there: %s", d.RemoteApp, out.Err)
	}
	return err
}

// followerReady says why writes cannot be shipped to the follower's table yet.
func followerReady(ctx context.Context, client *abroad, a app, d duplication) error {
	route, err := client.route(ctx, d.RemoteApp)
	if err != nil {
		return err
	}
	if route.Partitions != a.Partitions {
		return fmt.Errorf("%s has %d partitions there, %d here", d.RemoteApp, route.Partitions, a.Partitions)
	}
	for _, p := range route.Configs {
		switch {
		case !p.Primary.Valid():
			return fmt.Errorf("partition %s there has no primary", p.PID)
		case p.MaxReplicas > 1 && len(p.Secondaries) == 0:
			return fmt.Errorf("partition %s there has no secondary", p.PID)
		}
	}
	return nil
}

// follow answers the master of a table of a follower that is there already, from 2.6 on; m.mu is held.
func (m *metaServer) follow(old *app, envs map[string]string) (id int32, code string) {
	wanted, given := envs[envFollowerStatus]
	if m.net.release() < release26 || !given || old.Envs[envMasterCluster] != envs[envMasterCluster] {
		return 0, wire.CodeAppExist
	}
	switch now := old.Envs[envFollowerStatus]; {
	case now == "":
		return 0, wire.CodeInvalidState
	case now == wanted:
		return old.ID, wire.OK
	case now == "created" && wanted == "creating":
		return 0, wire.CodeAppExist
	case wanted != "created":
		return 0, wire.CodeInvalidParameters
	}
	a := *old
	a.Envs = maps.Clone(old.Envs)
	a.Envs[envFollowerStatus] = wanted
	if err := m.setApp(&a); err != nil {
		m.log("note that %s is created: %v", a.Name, err)
		return 0, "ERR_FS_INTERNAL"
	}
	return a.ID, wire.OK
}

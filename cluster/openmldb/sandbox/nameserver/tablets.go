package nameserver

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/openmldb/sandbox/coord"
)

// tabletService is the tablets' service.
const tabletService = "openmldb.api.TabletServer"

// nearLine begins the names of tablets that nameservers leave alone.
const nearLine = "NLTABLET_"

// startup begins what a tablet's node holds after a start of its process, and not after a lost session.
const startup = "startup_"

// tablet is a tablet that this process has seen while it led.
type tablet struct {
	healthy bool
	since   time.Time // of the state
}

// readTablets takes over who is registered. Those that the process knows from an earlier lead are offline from now on.
func (l *lead) readTablets() error {
	names, err := l.children(l.at.nodes)
	if err != nil {
		return err
	}
	l.s.mu.Lock()
	known := l.s.known
	l.s.mu.Unlock()
	for _, endpoint := range known {
		l.tablets[endpoint] = &tablet{since: l.started}
	}
	for _, endpoint := range names {
		if !strings.HasPrefix(endpoint, nearLine) {
			l.tablets[endpoint] = &tablet{healthy: true, since: l.started}
		}
	}
	return nil
}

// watchTablets follows the list of registered tablets.
func (l *lead) watchTablets() {
	l.mu.Lock()
	for endpoint, t := range l.tablets {
		if !t.healthy {
			l.work.Go(func() { l.await(endpoint, t.since) })
		}
	}
	l.mu.Unlock()
	changed := l.session.Watch(l.ctx, l.at.nodes)
	for {
		select {
		case <-changed:
		case <-l.ctx.Done():
			return
		}
		if !l.passes() {
			return
		}
		names, err := l.children(l.at.nodes)
		if err != nil {
			l.log("%v", err)
			continue
		}
		l.register(names)
	}
}

// register compares the registered tablets with those known.
func (l *lead) register(names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, endpoint := range names {
		if strings.HasPrefix(endpoint, nearLine) {
			continue
		}
		switch t := l.tablets[endpoint]; {
		case t == nil:
			l.tablets[endpoint] = &tablet{healthy: true, since: now}
		case !t.healthy:
			away := now.Sub(t.since)
			t.healthy, t.since = true, now
			l.work.Go(func() { l.welcome(endpoint, away) })
		}
	}
	for endpoint, t := range l.tablets {
		if t.healthy && !slices.Contains(names, endpoint) {
			t.healthy, t.since = false, now
			l.work.Go(func() { l.await(endpoint, now) })
		}
	}
}

// healthy says whether a tablet is registered; l.mu is held.
func (l *lead) healthy(endpoint string) bool {
	t := l.tablets[endpoint]
	return t != nil && t.healthy
}

// healthyOnes lists the registered tablets by name; l.mu is held.
func (l *lead) healthyOnes() []string {
	var all []string
	for _, endpoint := range slices.Sorted(maps.Keys(l.tablets)) {
		if l.tablets[endpoint].healthy {
			all = append(all, endpoint)
		}
	}
	return all
}

func (l *lead) allHealthy() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.healthyOnes()
}

// await has a tablet failed over that has been offline for longer than the heartbeat timeout, when that is on by then.
func (l *lead) await(endpoint string, since time.Time) {
	for l.sleep(l.ctx, l.times.check) {
		l.mu.Lock()
		t := l.tablets[endpoint]
		waits := !t.healthy && t.since.Equal(since)
		due := waits && time.Since(since) >= l.times.heartbeat
		if due && l.auto {
			l.failOver(endpoint)
		}
		l.mu.Unlock()
		if due || !waits {
			return
		}
	}
}

// welcome does for a tablet that is back what is due when failover is automatic: nothing when it was away for a short
// while and its process lived on; else what it had is recovered, after it was failed over when its process is a new one.
func (l *lead) welcome(endpoint string, away time.Duration) {
	data, err := l.read(l.at.nodes + "/" + endpoint)
	if err != nil {
		l.log("%v", err)
		return
	}
	restarted := strings.HasPrefix(string(data), startup)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.auto || !restarted && away < l.times.heartbeat {
		return
	}
	if restarted {
		l.failOver(endpoint)
	}
	l.recoverAll(endpoint, false, defaultConcurrency)
}

// call calls a method of a tablet. A code other than 0 is a *refusal.
func (l *lead) call(ctx context.Context, endpoint, method string, q, a proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, l.times.rpc)
	defer cancel()
	c, err := l.conn(ctx, endpoint)
	if err == nil {
		err = c.Call(ctx, tabletService, method, q, a)
	}
	if err != nil {
		return err
	}
	m := a.ProtoReflect()
	fields := m.Descriptor().Fields()
	if code := m.Get(fields.ByName("code")).Int(); code != 0 {
		return &refusal{int32(code), m.Get(fields.ByName("msg")).String()}
	}
	return nil
}

// conn is the connection to a tablet, made when there is none.
func (l *lead) conn(ctx context.Context, endpoint string) (*rpc.Conn, error) {
	l.conns.Lock()
	c := l.conns.open[endpoint]
	l.conns.Unlock()
	if c != nil {
		select {
		case <-c.Ended():
		default:
			return c, nil
		}
	}
	c, err := l.s.config.Dial(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	l.conns.Lock()
	defer l.conns.Unlock()
	if l.conns.open == nil {
		c.Close()
		return nil, context.Canceled
	}
	if other := l.conns.open[endpoint]; other != nil {
		select {
		case <-other.Ended():
		default: // somebody was faster
			c.Close()
			return other, nil
		}
	}
	l.conns.open[endpoint] = c
	return c, nil
}

// onEach runs a call to several tablets at once; it answers the errors by endpoint.
func (l *lead) onEach(ctx context.Context, endpoints []string, run func(ctx context.Context, endpoint string) error) map[string]error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	failed := map[string]error{}
	for _, endpoint := range endpoints {
		wg.Go(func() {
			if err := run(ctx, endpoint); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[endpoint] = err
			}
		})
	}
	wg.Wait()
	return failed
}

func (l *lead) showTablet(_ context.Context, _ *ns.ShowTabletRequest, a *ns.ShowTabletResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, endpoint := range slices.Sorted(maps.Keys(l.tablets)) {
		t := l.tablets[endpoint]
		a.Tablets = append(a.Tablets, &ns.TabletStatus{
			Endpoint: proto.String(endpoint), State: proto.String(l.stateName(t.healthy)),
			Age: proto.Uint64(uint64(time.Since(t.since).Milliseconds())),
		})
	}
	return nil
}

// stateName is what a state is called; the releases of 2018 said it longer.
func (l *lead) stateName(healthy bool) string {
	switch {
	case l.s.config.Release2018 && healthy:
		return "kTabletHealthy"
	case l.s.config.Release2018:
		return "kTabletOffline"
	case healthy:
		return "kHealthy"
	}
	return "kOffline"
}

func (l *lead) showCatalog(ctx context.Context, _ *ns.ShowCatalogRequest, a *ns.ShowCatalogResponse) error {
	for _, endpoint := range l.allHealthy() {
		var got api.GetCatalogResponse
		if err := l.call(ctx, endpoint, "GetCatalog", &api.EmptyRequest{}, &got); err != nil {
			return refuse(codeTabletFailed, "request tablet failed: %s", endpoint)
		}
		a.Catalog = append(a.Catalog, got.GetCatalog())
	}
	return nil
}

func (l *lead) setSDKEndpoint(_ context.Context, q *ns.SetSdkEndpointRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	server := q.GetServerName()
	at := l.at.sdk + "/" + server
	known := l.healthy(server)
	if !known {
		leaders, err := l.servers()
		if err != nil {
			return err
		}
		known = slices.Contains(leaders, server)
	}
	if !known || strings.Contains(server, "/") {
		return refuse(codeNoServer, "server_name does not exist or offline")
	}
	if q.GetSdkEndpoint() == "null" {
		if err := l.remove(at); err != nil {
			return refuse(codeDeleteNode, "del zk failed")
		}
		l.notify()
		return nil
	}
	taken, err := l.sdkEndpoints()
	if err != nil {
		return err
	}
	for other, endpoint := range taken {
		if endpoint == q.GetSdkEndpoint() && other != server {
			return refuse(codeSDKDuplicate, "sdkendpoint is duplicate")
		}
	}
	if _, there := taken[server]; there {
		if err := l.session.Set(at, []byte(q.GetSdkEndpoint()), coord.AnyVersion); err != nil {
			return refuse(codeSetNode, "set zk failed")
		}
	} else if _, err := l.session.Create(at, []byte(q.GetSdkEndpoint()), coord.Persistent); err != nil {
		return refuse(codeCreateNode, "create zk failed")
	}
	l.notify()
	return nil
}

// servers are the endpoints of the nameservers.
func (l *lead) servers() ([]string, error) {
	names, err := l.children(l.at.leader)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, name := range names {
		data, err := l.read(l.at.leader + "/" + name)
		if err != nil {
			return nil, err
		}
		all = append(all, string(data))
	}
	return all, nil
}

func (l *lead) sdkEndpoints() (map[string]string, error) {
	names, err := l.children(l.at.sdk)
	all := map[string]string{}
	for _, name := range names {
		data, e := l.read(l.at.sdk + "/" + name)
		err = errors.Join(err, e)
		all[name] = string(data)
	}
	return all, err
}

func (l *lead) showSDKEndpoint(_ context.Context, _ *ns.ShowSdkEndpointRequest, a *ns.ShowSdkEndpointResponse) error {
	all, err := l.sdkEndpoints()
	for _, server := range slices.Sorted(maps.Keys(all)) {
		a.Tablets = append(a.Tablets, &ns.TabletStatus{Endpoint: proto.String(server), RealEndpoint: proto.String(all[server])})
	}
	return err
}

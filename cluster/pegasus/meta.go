package pegasus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// metas is the list of meta servers and which of them led last.
type metas struct {
	list []string // as configured

	mu     sync.Mutex
	leader string // "" when nobody knows
}

// order answers whom to ask, the leader first.
func (m *metas) order() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader == "" {
		return slices.Clone(m.list)
	}
	order := []string{m.leader}
	for _, endpoint := range m.list {
		if endpoint != m.leader {
			order = append(order, endpoint)
		}
	}
	return order
}

func (m *metas) lead() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.leader
}

func (m *metas) elect(endpoint string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leader = endpoint
}

// depose forgets a leader that turned out not to be one.
func (m *metas) depose(endpoint string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leader == endpoint {
		m.leader = ""
	}
}

// metaRPC is a call to the leading meta server.
type metaRPC[Q, A any] struct {
	rpc  *wire.RPC[Q, A]
	code func(*A) string
	// forward finds the leader's address in a refusal, nil where the answer has no place for it.
	forward func(*Driver, *A) string
}

var (
	queryConfig = metaRPC[wire.QueryConfigRequest, wire.QueryConfigResponse]{
		&wire.QueryConfig, func(a *wire.QueryConfigResponse) string { return a.Err },
		func(d *Driver, a *wire.QueryConfigResponse) string {
			if len(a.Configs) == 0 {
				return ""
			}
			return d.name(a.Configs[0].Primary, a.Configs[0].HPPrimary)
		},
	}
	listApps     = metaRPC[wire.ListAppsRequest, wire.ListAppsResponse]{&wire.ListApps, func(a *wire.ListAppsResponse) string { return a.Err }, nil}
	listNodes    = metaRPC[wire.ListNodesRequest, wire.ListNodesResponse]{&wire.ListNodes, func(a *wire.ListNodesResponse) string { return a.Err }, nil}
	clusterInfo  = metaRPC[struct{}, wire.ClusterInfoResponse]{&wire.ClusterInfo, func(a *wire.ClusterInfoResponse) string { return a.Err }, nil}
	createApp    = metaRPC[wire.CreateAppRequest, wire.CreateAppResponse]{&wire.CreateApp, func(a *wire.CreateAppResponse) string { return a.Err }, nil}
	dropApp      = metaRPC[wire.DropAppRequest, wire.ErrResponse]{&wire.DropApp, func(a *wire.ErrResponse) string { return a.Err }, nil}
	updateAppEnv = metaRPC[wire.UpdateAppEnvRequest, wire.HintResponse]{&wire.UpdateAppEnv, func(a *wire.HintResponse) string { return a.Err }, nil}
)

// call asks the leader and answers what it said, whatever its error name, and who it was. An error means that no
// leader answered.
func (m metaRPC[Q, A]) call(ctx context.Context, d *Driver, op string, args *Q) (*A, string, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	if m.rpc.Change {
		return m.change(ctx, d, op, args)
	}
	return m.read(ctx, d, op, args)
}

// ok is call for those whose error names need no special care.
func (m metaRPC[Q, A]) ok(ctx context.Context, d *Driver, op string, args *Q) (*A, error) {
	a, endpoint, err := m.call(ctx, d, op, args)
	if err != nil {
		return nil, err
	}
	if code := m.code(a); code != wire.OK {
		return nil, codeError(op, endpoint, code, "", m.rpc.Change)
	}
	return a, nil
}

// attempt is one meta server's answer, or why there is none.
type attempt[A any] struct {
	endpoint string
	answer   *A
	err      error
	forward  bool   // it does not lead
	leader   string // who does, if it said so
}

func (m metaRPC[Q, A]) ask(ctx context.Context, d *Driver, endpoint string, args *Q) attempt[A] {
	t := attempt[A]{endpoint: endpoint}
	a := new(A)
	if t.err = call(ctx, d, endpoint, m.rpc, wire.GPID{}, 0, args, a, m.code); t.err != nil {
		var rejected *rejectedError
		t.forward = errors.As(t.err, &rejected) && rejected.code == wire.CodeForward
		return t
	}
	if m.code(a) == wire.CodeForward {
		t.forward, t.err = true, &rejectedError{endpoint, wire.CodeForward}
		if m.forward != nil {
			t.leader = m.forward(d, a)
		}
		return t
	}
	t.answer = a
	return t
}

// read asks until a leader answers. While some meta server is alive but none leads (an election), it keeps asking
// until the deadline; when none can be reached, it does not.
func (m metaRPC[Q, A]) read(ctx context.Context, d *Driver, op string, args *Q) (*A, string, error) {
	pause := 100 * time.Millisecond
	said := map[string]attempt[A]{}
	for {
		found, failed := m.round(ctx, d, args)
		if found != nil {
			d.metas.elect(found.endpoint)
			return found.answer, found.endpoint, nil
		}
		for i, t := range failed {
			// What a server said in an earlier round tells more than that the time ran out in the last one.
			if before, ok := said[t.endpoint]; ok && errors.Is(t.err, context.DeadlineExceeded) {
				failed[i] = before
			}
			said[t.endpoint] = failed[i]
		}
		electing := slices.ContainsFunc(failed, func(t attempt[A]) bool { return t.forward })
		if !electing || !cluster.Sleep(ctx, pause) {
			return nil, "", noneAnswered(op, failed)
		}
		pause = min(2*pause, time.Second)
	}
}

// round asks the likely leader, and after a head start or a failure all the others at once. It answers the first
// answer of a leader, or every failure in the order of asking.
func (m metaRPC[Q, A]) round(ctx context.Context, d *Driver, args *Q) (*attempt[A], []attempt[A]) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()

	order := d.metas.order()
	limit := len(order) + 3 // refusals may name leaders that are not on the list
	results := make(chan attempt[A], limit)
	var asked []string
	ask := func(endpoints ...string) {
		for _, endpoint := range endpoints {
			if slices.Contains(asked, endpoint) || len(asked) == limit {
				continue
			}
			asked = append(asked, endpoint)
			group.Go(func() { results <- m.ask(ctx, d, endpoint, args) })
		}
	}
	ask(order[0])
	headStart := time.NewTimer(min(time.Second, d.timeout()/5))
	defer headStart.Stop()
	failed := map[string]attempt[A]{}
	for len(failed) < len(asked) {
		select {
		case <-headStart.C:
			ask(order...)
		case t := <-results:
			if t.answer != nil {
				return &t, nil
			}
			failed[t.endpoint] = t
			d.metas.depose(t.endpoint)
			if t.leader == "" || slices.Contains(asked, t.leader) {
				ask(order...)
			} else {
				ask(t.leader)
			}
		}
	}
	list := make([]attempt[A], len(asked))
	for i, endpoint := range asked {
		list[i] = failed[endpoint]
	}
	return nil, list
}

// change asks the leader alone, and once. Only a refusal for not leading and a request that was not sent lead to
// another one; who leads is found by reading first.
func (m metaRPC[Q, A]) change(ctx context.Context, d *Driver, op string, args *Q) (*A, string, error) {
	var failed []attempt[A]
	for range len(d.metas.list) + 2 {
		leader := d.metas.lead()
		if leader == "" {
			if _, _, err := clusterInfo.read(ctx, d, op, &struct{}{}); err != nil {
				return nil, "", err
			}
			if leader = d.metas.lead(); leader == "" {
				continue
			}
		}
		t := m.ask(ctx, d, leader, args)
		if t.answer != nil {
			return t.answer, leader, nil
		}
		failed = append(failed, t)
		d.metas.depose(leader)
		var lost *lostError
		unsent := errors.As(t.err, &lost) && !lost.sent && ctx.Err() == nil
		if !t.forward && !unsent {
			return nil, "", failure(op, true, t.err)
		}
	}
	return nil, "", noneAnswered(op, failed)
}

// noneAnswered lists every meta server with its reason.
func noneAnswered[A any](op string, failed []attempt[A]) error {
	e := &spec.Error{Kind: spec.Unavailable, Op: op}
	var reasons []string
	for _, t := range failed {
		if errors.Is(t.err, errKerberos) {
			return failure(op, false, t.err)
		}
		if errors.Is(t.err, context.Canceled) {
			e.Kind = spec.Interrupted
		}
		var rejected *rejectedError
		if errors.As(t.err, &rejected) {
			e.Code = rejected.code
		}
		reasons = append(reasons, reason(t.err))
	}
	e.Err = fmt.Errorf("no meta server answered: %s", strings.Join(reasons, "; "))
	return e.WithHint("check the addresses of the meta servers and that they run")
}

// reason is an error with its endpoint, and for a refusal what the name means.
func reason(err error) string {
	var rejected *rejectedError
	if errors.As(err, &rejected) {
		if m, known := meanings[rejected.code]; known {
			return err.Error() + " (" + m.why + ")"
		}
	}
	return err.Error()
}

// name is the endpoint of a server: its host name where the cluster tells one, else its address. "" for no server.
func (d *Driver) name(address wire.Address, host *wire.HostPort) string {
	real := address.String()
	if host == nil || !host.Valid() || strings.ContainsFunc(host.Host, notInHost) {
		return real
	}
	name := host.String()
	if real != "" && real != name {
		d.hosts.remember(name, real)
	}
	return name
}

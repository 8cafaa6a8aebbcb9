package openmldb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

// finder knows which nameserver leads, and where servers are. Its errors are *spec.Errors without an Op.
type finder interface {
	// leader answers the nameserver that leads. While there is an election it waits for its end.
	leader(ctx context.Context) (string, error)
	// depose says that a leader does not lead, or does not answer.
	depose(endpoint string)
	// electing says whether there is another nameserver that is going to lead when this one is gone.
	electing(endpoint string) bool
	// address is where a server is to be dialled.
	address(ctx context.Context, endpoint string) (string, error)
	// misplaced says that a server was not where address said.
	misplaced(endpoint string)
	// remember notes where the server of a name is, as the nameserver tells it.
	remember(name, address string)
	nameservers(ctx context.Context) ([]Nameserver, error)
	// node reads a node of ZooKeeper below the root; errNoNode when there is none, errNoKeeper when there is no
	// ZooKeeper to ask.
	node(ctx context.Context, path string) ([]byte, error)
	close()
}

var errNoKeeper = errors.New("the cluster was not opened through ZooKeeper")

// asking finds the leader by asking a list of nameservers: all but the leader refuse every call.
type asking struct {
	driver *Driver
	list   []string

	mu   sync.Mutex
	lead string            // "" when nobody knows
	real map[string]string // where the servers of names are
}

// maxNames bounds what is remembered of names: more servers than any cluster has.
const maxNames = 1 << 16

// asked is one nameserver's answer to the question whether it leads.
type asked struct {
	endpoint string
	leads    bool
	standby  bool
	err      error
}

var confGet = method{nameserver, "ConfGet", false}

func (a *asking) ask(ctx context.Context, endpoint string) asked {
	err := a.driver.ask(ctx, endpoint, confGet, &ns.ConfGetRequest{}, &ns.ConfGetResponse{})
	var r *refusal
	switch {
	case err == nil:
		return asked{endpoint: endpoint, leads: true}
	case errors.As(err, &r) && !r.framework:
		// Any answer but one is a leader's.
		return asked{endpoint: endpoint, leads: r.code != codeNotLeader, standby: r.code == codeNotLeader, err: err}
	}
	return asked{endpoint: endpoint, err: err}
}

// askAll asks every nameserver at once and yields the answers as they come.
func (a *asking) askAll(ctx context.Context, each func(asked) (more bool)) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	answers := make(chan asked, len(a.list))
	for _, endpoint := range a.list {
		group.Go(func() { answers <- a.ask(ctx, endpoint) })
	}
	for range a.list {
		if !each(<-answers) {
			return
		}
	}
}

func (a *asking) leader(ctx context.Context) (string, error) {
	a.mu.Lock()
	lead := a.lead
	a.mu.Unlock()
	if lead != "" {
		return lead, nil
	}
	said := map[string]asked{}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		standby := false
		a.askAll(ctx, func(r asked) bool {
			// What a server said in an earlier round tells more than that the time ran out in the last one.
			if before, known := said[r.endpoint]; !known || !before.standby || ctx.Err() == nil {
				said[r.endpoint] = r
			}
			if standby = standby || said[r.endpoint].standby; r.leads {
				lead = r.endpoint
			}
			return !r.leads
		})
		if lead != "" {
			a.mu.Lock()
			a.lead = lead
			a.mu.Unlock()
			return lead, nil
		}
		if !standby || !cluster.Sleep(ctx, pause) {
			return "", a.nobodyLeads(ctx, said)
		}
	}
}

// nobodyLeads lists every nameserver with its reason.
func (a *asking) nobodyLeads(ctx context.Context, said map[string]asked) error {
	e := &spec.Error{Kind: spec.Unavailable}
	if errors.Is(ctx.Err(), context.Canceled) {
		e.Kind = spec.Interrupted
	}
	var reasons []string
	for _, endpoint := range a.list {
		r := said[endpoint]
		var denied *refusal
		if errors.As(r.err, &denied) && denied.code == codeDenied {
			return refused("", false, denied)
		}
		if r.err == nil {
			r.err = fmt.Errorf("%s: it was not asked", endpoint)
		}
		reasons = append(reasons, r.err.Error())
	}
	e.Err = fmt.Errorf("no nameserver leads: %s", strings.Join(reasons, "; "))
	return e.WithHint("check the addresses of the nameservers and that they run")
}

func (a *asking) depose(endpoint string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lead == endpoint {
		a.lead = ""
	}
}

// electing: leader itself waits for an election.
func (a *asking) electing(string) bool { return false }

// address asks the leader for names that are none of the network's.
func (a *asking) address(ctx context.Context, endpoint string) (string, error) {
	for asked := false; ; asked = true {
		a.mu.Lock()
		real, known := a.real[endpoint]
		a.mu.Unlock()
		switch {
		case known:
			return real, nil
		case notEndpoint(endpoint) == "":
			return endpoint, nil
		case asked:
			return "", fmt.Errorf("no address is known of a server called %s", endpoint)
		}
		if _, err := a.driver.Tablets(ctx); err != nil {
			return "", err
		}
		clients, err := a.driver.SDKEndpoints(ctx)
		if err != nil {
			return "", err
		}
		for _, c := range clients {
			a.remember(c.Server, c.Endpoint)
		}
	}
}

func (a *asking) misplaced(endpoint string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.real, endpoint)
}

func (a *asking) remember(name, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.real[name]; (known || len(a.real) < maxNames) && notEndpoint(address) == "" {
		a.real[name] = address
	}
}

func (a *asking) nameservers(ctx context.Context) ([]Nameserver, error) {
	roles := map[string]string{}
	a.askAll(ctx, func(r asked) bool {
		switch {
		case r.leads:
			roles[r.endpoint] = "leader"
		case r.standby:
			roles[r.endpoint] = "standby"
		}
		return true
	})
	if len(roles) == 0 {
		_, err := a.leader(ctx)
		if err == nil {
			err = &spec.Error{Kind: spec.Unavailable, Err: errors.New("no nameserver answered")}
		}
		return nil, err
	}
	var all []Nameserver
	for _, endpoint := range a.list {
		role := roles[endpoint]
		if role == "" {
			role = "unreachable"
		}
		all = append(all, Nameserver{Endpoint: endpoint, Role: role})
	}
	return all, nil
}

func (a *asking) node(context.Context, string) ([]byte, error) { return nil, errNoKeeper }

func (a *asking) close() {}

// Pauses between two looks for a leader.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

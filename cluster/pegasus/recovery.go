package pegasus

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

var startRecovery = metaRPC[wire.RecoveryRequest, wire.HintResponse]{&wire.StartRecovery, func(a *wire.HintResponse) string { return a.Err }, nil}

// Recovery names the replica servers from which a meta server without metadata takes what there was.
type Recovery struct {
	Nodes []string
	// SkipBadNodes leaves out servers that do not answer; what only they have is lost. SkipLostPartitions lets
	// partitions that nobody has begin empty. Without them the meta server refuses, and stays as it is.
	SkipBadNodes, SkipLostPartitions bool
}

// UnderRecovery says whether the leading meta server has lost its metadata, and waits for StartRecovery.
func (d *Driver) UnderRecovery(ctx context.Context) (bool, error) {
	_, err := d.ClusterInfo(ctx)
	var e *spec.Error
	if errors.As(err, &e) && e.Code == wire.CodeUnderRecovery {
		return true, nil
	}
	return false, err
}

// StartRecovery has the meta server rebuild tables and partitions, and answers what it has to say about it, line by
// line. The call's own timeout bounds how long that may take; see WithCallTimeout.
func (d *Driver) StartRecovery(ctx context.Context, r Recovery) (hints []string, err error) {
	op := "recover the metadata"
	q := wire.RecoveryRequest{Nodes: []wire.Address{}, SkipBadNodes: r.SkipBadNodes, SkipLostPartitions: r.SkipLostPartitions}
	named := false
	var hosts []wire.HostPort
	for _, endpoint := range r.Nodes {
		address, host, err := d.resolveNode(ctx, endpoint)
		if err != nil {
			return nil, err
		}
		q.Nodes = append(q.Nodes, address)
		named = named || host != nil
		if host == nil {
			ap := address.AddrPort()
			host = &wire.HostPort{Host: ap.Addr().String(), Port: ap.Port(), Type: 1}
		}
		hosts = append(hosts, *host)
	}
	if named {
		q.HPNodes = hosts
	}
	a, endpoint, err := startRecovery.call(ctx, d, op, &q)
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(a.Hint, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			hints = append(hints, line)
		}
	}
	if a.Err == wire.OK {
		return hints, nil
	}
	e := codeError(op, endpoint, a.Err, strings.Join(hints, "; "), true)
	switch a.Err {
	case wire.CodeTryAgain:
		e.Kind = spec.Failed
		e.Hint = "start the servers that are missing, or accept what is lost with -b (bad nodes) or -l (lost partitions)"
	case wire.CodeServiceRunning:
		e.Kind, e.Hint = spec.Refused, "cluster_info shows the cluster"
	}
	return hints, e
}

// resolveNode is wireNode for a server that the cluster has not named: its host name is looked up.
func (d *Driver) resolveNode(ctx context.Context, endpoint string) (wire.Address, *wire.HostPort, error) {
	address, host, err := d.wireNode(endpoint)
	if spec.KindOf(err) != spec.NotFound {
		return address, host, err
	}
	name, port, _ := net.SplitHostPort(endpoint)
	found, lerr := net.DefaultResolver.LookupNetIP(ctx, "ip4", name)
	if lerr != nil || len(found) == 0 {
		return 0, nil, spec.Errorf(spec.NotFound, "no address is known of %s", endpoint).WithHint("write its address and port")
	}
	ap, perr := netip.ParseAddrPort(net.JoinHostPort(found[0].Unmap().String(), port))
	if perr != nil {
		return 0, nil, spec.Errorf(spec.Usage, "%q is not a server: %w", endpoint, perr)
	}
	d.hosts.remember(endpoint, ap.String())
	return d.wireNode(endpoint)
}

// TablesOn asks one replica server which tables it knows, without any meta server.
func (d *Driver) TablesOn(ctx context.Context, endpoint string) ([]App, error) {
	endpoint, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	op := "ask a node for its tables"
	a, err := nodeCall(ctx, d, op, endpoint, &wire.QueryAppInfo, wire.GPID{}, &wire.QueryNodeRequest{}, func(a *wire.QueryAppInfoResponse) string { return a.Err })
	switch {
	case err != nil:
		return nil, err
	case a.Err != wire.OK:
		return nil, codeError(op, endpoint, a.Err, "", false)
	}
	apps := make([]App, len(a.Apps))
	for i := range a.Apps {
		apps[i] = appOf(&a.Apps[i])
	}
	return apps, nil
}

// SeenNodes are the replica servers that the cluster last listed, dead ones too, as long as this driver was open; nil
// when it never did.
func (d *Driver) SeenNodes() []string {
	if seen := d.seen.Load(); seen != nil {
		return *seen
	}
	return nil
}

package openmldb

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

// lookUp reads from the nameserver that leads.
func (d *Driver) lookUp(ctx context.Context, op, name string, q proto.Message, a answer) (string, error) {
	return d.askLeader(ctx, op, method{nameserver, name, false}, q, a)
}

// change has the nameserver that leads change something.
func (d *Driver) change(ctx context.Context, op, name string, q proto.Message) error {
	_, err := d.askLeader(ctx, op, method{nameserver, name, true}, q, &ns.GeneralResponse{})
	return err
}

// Tablets lists the tablets that the leading nameserver has seen, dead ones included, by endpoint.
func (d *Driver) Tablets(ctx context.Context) ([]Tablet, error) {
	const op = "list the tablets"
	a := &ns.ShowTabletResponse{}
	who, err := d.lookUp(ctx, op, "ShowTablet", &ns.ShowTabletRequest{}, a)
	if err != nil {
		return nil, err
	}
	var all []Tablet
	for _, t := range a.GetTablets() {
		endpoint := t.GetEndpoint()
		if why := notServer(endpoint); why != "" {
			return nil, malformed(op, who, "a tablet is called %q: %s", said(endpoint), why)
		}
		all = append(all, Tablet{
			Endpoint: endpoint, RealEndpoint: said(t.GetRealEndpoint()), State: said(t.GetState()),
			Healthy: healthy(t.GetState()), Age: millis(t.GetAge()),
		})
		d.finder.remember(endpoint, t.GetRealEndpoint())
	}
	slices.SortStableFunc(all, func(a, b Tablet) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return slices.CompactFunc(all, func(a, b Tablet) bool { return a.Endpoint == b.Endpoint }), nil
}

// healthy reads a tablet's state, in the words of any release.
func healthy(state string) bool { return state == "kHealthy" || state == "kTabletHealthy" }

// millis is a duration in milliseconds; one that no Duration can hold is the longest.
func millis(n uint64) time.Duration {
	const longest = time.Duration(1<<63-1) / time.Millisecond
	return min(time.Duration(min(n, uint64(longest))), longest) * time.Millisecond
}

// Nameservers lists the nameservers: those registered in ZooKeeper, else those of the address, of which some may be
// "unreachable".
func (d *Driver) Nameservers(ctx context.Context) ([]Nameserver, error) {
	ctx, cancel := d.bound(ctx)
	defer cancel()
	all, err := d.finder.nameservers(ctx)
	return all, failure("list the nameservers", false, err)
}

// Conf lists the settings of the nameservers.
func (d *Driver) Conf(ctx context.Context) ([]cluster.Setting, error) {
	settings, _, err := d.conf(ctx)
	return settings, err
}

func (d *Driver) conf(ctx context.Context) ([]cluster.Setting, string, error) {
	a := &ns.ConfGetResponse{}
	who, err := d.lookUp(ctx, "read the settings", "ConfGet", &ns.ConfGetRequest{}, a)
	if err != nil {
		return nil, who, err
	}
	var all []cluster.Setting
	for _, p := range a.GetConf() {
		all = append(all, cluster.Setting{Key: p.GetKey(), Value: p.GetValue()})
	}
	return all, who, nil
}

// SetConf sets a setting of the nameservers.
func (d *Driver) SetConf(ctx context.Context, key, value string) error {
	if key == "" || value == "" {
		return spec.Errorf(spec.Usage, "a setting and its value are wanted").WithHint("confset auto_failover true")
	}
	q := &ns.ConfSetRequest{Conf: &ns.Pair{Key: proto.String(key), Value: proto.String(value)}}
	return d.change(ctx, "set "+key, "ConfSet", q)
}

// AutoFailover tells whether the cluster heals itself.
func (d *Driver) AutoFailover(ctx context.Context) (bool, error) {
	settings, who, err := d.conf(ctx)
	if err != nil {
		return false, err
	}
	on, known := autoFailover(settings)
	if !known {
		return false, malformed("read auto_failover", who, "it is not among the settings")
	}
	return on, nil
}

func autoFailover(settings []cluster.Setting) (on, known bool) {
	for _, s := range settings {
		if s.Key == "auto_failover" {
			return strings.EqualFold(s.Value, "true"), true
		}
	}
	return false, false
}

// SDKEndpoints lists the servers that clients outside the network reach at another address.
func (d *Driver) SDKEndpoints(ctx context.Context) ([]SDKEndpoint, error) {
	a := &ns.ShowSdkEndpointResponse{}
	if _, err := d.lookUp(ctx, "list the endpoints for clients", "ShowSdkEndpoint", &ns.ShowSdkEndpointRequest{}, a); err != nil {
		return nil, err
	}
	var all []SDKEndpoint
	for _, t := range a.GetTablets() {
		all = append(all, SDKEndpoint{Server: t.GetEndpoint(), Endpoint: t.GetRealEndpoint()})
	}
	return all, nil
}

// SetSDKEndpoint says where clients outside the network reach a server; "" takes that away.
func (d *Driver) SetSDKEndpoint(ctx context.Context, server, endpoint string) error {
	if endpoint == "" {
		endpoint = "null" // the protocol's word
	} else if why := notEndpoint(endpoint); why != "" {
		return spec.Errorf(spec.Usage, "%q: %s", endpoint, why).WithHint("write host:port")
	}
	q := &ns.SetSdkEndpointRequest{ServerName: proto.String(server), SdkEndpoint: proto.String(endpoint)}
	return d.change(ctx, "set the endpoint of "+server+" for clients", "SetSdkEndpoint", q)
}

// CatalogVersions tells which version of the catalogue each healthy tablet has.
func (d *Driver) CatalogVersions(ctx context.Context) ([]CatalogVersion, error) {
	a := &ns.ShowCatalogResponse{}
	if _, err := d.lookUp(ctx, "list the catalogue's versions", "ShowCatalog", &ns.ShowCatalogRequest{}, a); err != nil {
		return nil, err
	}
	var all []CatalogVersion
	for _, c := range a.GetCatalog() {
		all = append(all, CatalogVersion{Endpoint: c.GetEndpoint(), Version: c.GetVersion()})
	}
	return all, nil
}

// ConnectZK has the leading nameserver begin a session with ZooKeeper again.
func (d *Driver) ConnectZK(ctx context.Context) error {
	return d.change(ctx, "connect the nameserver to ZooKeeper", "ConnectZK", &ns.ConnectZKRequest{})
}

// DisconnectZK has the leading nameserver end its session with ZooKeeper: it leads no more.
func (d *Driver) DisconnectZK(ctx context.Context) error {
	return d.change(ctx, "disconnect the nameserver from ZooKeeper", "DisConnectZK", &ns.DisConnectZKRequest{})
}

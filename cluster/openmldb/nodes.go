package openmldb

import (
	"context"

	"shardsh/cluster"
)

// Info describes the cluster. Its name is its root in ZooKeeper, where it is known.
func (d *Driver) Info(ctx context.Context) (cluster.Info, error) {
	settings, leader, err := d.conf(ctx)
	if err != nil {
		return cluster.Info{}, err
	}
	info := cluster.Info{System: "openmldb", Leader: leader, Settings: settings}
	if d.place.root == "" {
		info.Metadata = d.place.servers
	} else {
		info.Name = d.place.root[1:]
		servers, err := d.Nameservers(ctx)
		if err != nil {
			return cluster.Info{}, err
		}
		for _, s := range servers {
			info.Metadata = append(info.Metadata, s.Endpoint)
		}
	}
	if on, known := autoFailover(settings); known && !on {
		info.State = append(info.State, "auto_failover off")
	}
	return info, nil
}

// Nodes lists the tablets.
func (d *Driver) Nodes(ctx context.Context) ([]cluster.Node, error) {
	tablets, err := d.Tablets(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]cluster.Node, len(tablets))
	for i, t := range tablets {
		all[i] = cluster.Node{Endpoint: t.Endpoint, RealEndpoint: t.RealEndpoint, Alive: t.Healthy, State: t.State, Age: &t.Age}
		if t.RealEndpoint == "-" || t.RealEndpoint == t.Endpoint {
			all[i].RealEndpoint = ""
		}
	}
	return all, nil
}

// Tables lists the tables of all databases, the internal ones included.
func (d *Driver) Tables(ctx context.Context) ([]cluster.Table, error) {
	tables, err := d.DescribeAll(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]cluster.Table, len(tables))
	for i, t := range tables {
		all[i] = cluster.Table{ID: int64(t.ID), DB: t.DB, Name: t.Name, Partitions: t.Partitions, Replicas: t.Replicas}
	}
	return all, nil
}

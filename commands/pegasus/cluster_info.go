package pegasus

import (
	"context"
	"slices"
	"strings"

	"shardsh/cluster"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// clusterInfoKeys are what a meta server answers, in its order. A key of a newer server follows at the right.
var clusterInfoKeys = []string{
	"meta_servers", "primary_meta_server", "zookeeper_hosts", "zookeeper_root", "meta_function_level",
	"balance_operation_count", "primary_replica_count_stddev", "total_replica_count_stddev", "cluster_name",
}

// ClusterInfo shows what the meta server says of the cluster.
func ClusterInfo(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "cluster_info",
		Aliases: []string{"cluster-info"},
		Systems: systems,
		Topic:   "cluster",
		Summary: "show the cluster's meta servers, level and balance",
		Long: "Asks the primary meta server. The level says what it does by itself: lively balances, steady only cures, " +
			"and from freezed down it neither cures nor creates tables.",
		Examples: []spec.Example{
			{Line: "cluster_info", Says: "what the primary meta server knows"},
			{Line: "cluster_info --columns cluster_name,meta_function_level", Says: "only these two"},
		},
		SeeAlso: []string{"nodes", "server_info", "ls"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			return clusterInfo(ctx, env, call)
		},
	}
}

func clusterInfo(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Table, error) {
	c, err := open(ctx, env, call)
	if err != nil {
		return nil, err
	}
	settings, err := c.ClusterInfo(ctx)
	if err != nil {
		return nil, err
	}
	columns, cells := infoRecord(settings)
	return spec.Record(columns, cells...), nil
}

func infoRecord(settings []cluster.Setting) ([]spec.Column, []any) {
	columns := spec.Columns(clusterInfoKeys...)
	cells := make([]any, len(columns))
	for _, s := range settings {
		name := columnName(s.Key)
		at := slices.IndexFunc(columns, func(c spec.Column) bool { return c.Name == name })
		if at < 0 {
			columns, cells = append(columns, spec.Column{Name: name}), append(cells, nil)
			at = len(columns) - 1
		}
		cells[at] = s.Value
	}
	return columns, cells
}

// columnName makes a column of a key that a server chose.
func columnName(key string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return '_'
	}, key)
}

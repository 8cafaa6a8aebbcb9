package pegasus

import (
	"context"
	"fmt"
	"strings"

	"shardsh/commands/spec"
)

// serverStats are what the store's own shell calls the most important metrics of a server, from 2.6 on.
var serverStats = [][2]string{
	{"virtual_mem_usage_mb", "virt_mem_mb"},
	{"resident_mem_usage_mb", "res_mem_mb"},
	{"total_replicas", "total_replicas"},
	{"opening_replicas", "opening_replicas"},
	{"closing_replicas", "closing_replicas"},
	{"inactive_replicas", "inactive_replicas"},
	{"error_replicas", "error_replicas"},
	{"primary_replicas", "primary_replicas"},
	{"secondary_replicas", "secondary_replicas"},
	{"learning_replicas", "learning_replicas"},
	{"splitting_replicas", "splitting_replicas"},
}

// ServerStat asks one server, of either role, for its most important numbers: "name=value, name=value", as servers say it
// themselves up to 2.5.
func (d *Driver) ServerStat(ctx context.Context, endpoint string) (string, error) {
	const op = "read the most important numbers"
	return either(ctx, d, endpoint, func() (string, error) {
		text, err := d.RemoteCommand(ctx, endpoint, "server-stat")
		if err == nil && CommandRefused(text) {
			err = &spec.Error{Kind: spec.Unable, Op: op, Endpoint: endpoint, Err: fmt.Errorf("the server has no such command: %s", strings.TrimSpace(text))}
		}
		return text, err
	}, func() (string, error) {
		var names []string
		for _, s := range serverStats {
			names = append(names, s[0])
		}
		page, err := d.metricsPage(ctx, endpoint, "with_metric_fields=name,value", "types=server", "metrics="+strings.Join(names, ","))
		if err != nil {
			return "", err
		}
		return page.serverStat(), nil
	})
}

func (p *metricsPage) serverStat() string {
	values := map[string]float64{}
	for _, e := range p.Entities {
		for _, m := range e.Metrics {
			if m.Value != nil {
				values[m.Name] = *m.Value
			}
		}
	}
	var parts []string
	for _, s := range serverStats {
		if value, known := values[s[0]]; known {
			parts = append(parts, fmt.Sprintf("%s=%.0f", s[1], value))
		}
	}
	return strings.Join(parts, ", ")
}

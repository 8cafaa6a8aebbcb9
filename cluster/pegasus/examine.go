package pegasus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// Examine reports what keeps a Pegasus from serving or healing although its replicas are there: a meta level that
// freezes it, a balance that is due, settings that refuse or slow down clients.
func (d *Driver) Examine(ctx context.Context) ([]cluster.Finding, error) {
	settings, err := d.ClusterInfo(ctx)
	var e *spec.Error
	if errors.As(err, &e) && e.Code == wire.CodeUnderRecovery {
		return []cluster.Finding{{
			Kind: "metadata_lost", Object: "metadata", Bad: true, Help: "recover",
			What: e.Endpoint + " has lost it, and knows no table until it is rebuilt from the replica servers",
		}}, nil
	}
	if err != nil {
		return nil, err
	}
	var found []cluster.Finding
	for _, s := range settings {
		switch {
		case s.Key == "meta_function_level" && slices.Contains([]string{"stopped", "blind", "freezed"}, s.Value):
			found = append(found, cluster.Finding{
				Kind: "meta_level", Object: "meta level", Bad: true, Help: "confset auto_failover true",
				What: "it is " + s.Value + ": the meta server moves no primary and adds no replica",
			})
		case s.Key == "balance_operation_count" && balanceDue(s.Value):
			found = append(found, cluster.Finding{
				Kind: "unbalanced", Object: "balance", What: "replicas could be spread more evenly: " + s.Value,
				Help: "set_meta_level lively",
			})
		}
	}
	found = append(found, d.examineBlackList(ctx)...)
	found = append(found, d.examineDisks(ctx)...)
	apps, err := d.Apps(ctx, "available")
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		found = append(found, examineEnvs(a)...)
	}
	found = append(found, d.examineBulkLoads(ctx, apps)...)
	found = append(found, d.examineBackups(ctx, apps)...)
	return append(found, d.examineDuplications(ctx, apps)...), nil
}

// examineBlackList names nodes that were drained and not taken back. A meta server that does not know the list has none.
func (d *Driver) examineBlackList(ctx context.Context) []cluster.Finding {
	black, err := d.BlackList(ctx)
	if err != nil {
		return nil
	}
	var found []cluster.Finding
	for _, node := range black {
		found = append(found, cluster.Finding{
			Kind: "out_of_service", Object: node, What: "no replicas are placed on it", Help: "recoverendpoint " + node,
		})
	}
	return found
}

// examinePatience bounds asking one node.
const examinePatience = 2 * time.Second

// examineDisks names full disks of live nodes. A node that does not answer, or does not know the call, has none.
func (d *Driver) examineDisks(ctx context.Context) []cluster.Finding {
	nodes, err := d.Nodes(ctx)
	if err != nil {
		return nil
	}
	full := make([][]cluster.Finding, len(nodes))
	d.each(len(nodes), func(i int) {
		if !nodes[i].Alive {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, examinePatience)
		defer cancel()
		disks, _ := d.Disks(ctx, nodes[i].Endpoint, "")
		for _, disk := range disks {
			if free := disk.AvailableRatio(); free < LeastAvailable {
				full[i] = append(full[i], cluster.Finding{
					Kind: "disk_full", Object: nodes[i].Endpoint, Bad: true, Help: "query_disk -n " + nodes[i].Endpoint,
					What: fmt.Sprintf("%d%% of disk %s is free; below %d%% writes to its partitions are refused", free, disk.Tag, LeastAvailable),
				})
			}
		}
	})
	return slices.Concat(full...)
}

// balanceDue reads `move_pri=0,copy_pri=0,copy_sec=2,total=2`; -1 means that the meta server has not looked yet.
func balanceDue(text string) bool {
	_, total, ok := strings.Cut(text, "total=")
	return ok && total != "0" && total != "-1"
}

// restraining are the envs that refuse or slow down clients.
var restraining = []string{
	"replica.deny_client_request", "replica.write_throttling", "replica.write_throttling_by_size", "replica.read_throttling",
	"replica.read_throttling_by_size",
}

func examineEnvs(a App) []cluster.Finding {
	var found []cluster.Finding
	for _, key := range restraining {
		value := a.Envs[key]
		if value == "" {
			continue
		}
		found = append(found, cluster.Finding{
			Kind: "restraint", Object: a.Name, Bad: key == "replica.deny_client_request",
			What: fmt.Sprintf("clients are restrained: %s = %s", key, value),
			Help: fmt.Sprintf("del_app_envs --table %s %s", a.Name, key),
		})
	}
	return found
}

// Remedy names the word that helps.
func (d *Driver) Remedy(f cluster.Finding) string {
	switch f.Kind {
	case cluster.NodeDown:
		return "offlineendpoint " + f.Object
	case cluster.NoLeader, cluster.NoWrites, cluster.FewReplicas:
		return "app " + f.Object + " -d"
	}
	return ""
}

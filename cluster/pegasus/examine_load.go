package pegasus

import (
	"context"
	"fmt"
	"strings"

	"shardsh/cluster"
	"shardsh/cluster/pegasus/wire"
)

// bulkScenario is the env that sets a table up for bulk loads, and its value for that.
const (
	usageScenario = "rocksdb.usage_scenario"
	bulkScenario  = "bulk_load"
)

// examineBulkLoads names tables that are being bulk loaded, a call each, and those that are still set up for it.
func (d *Driver) examineBulkLoads(ctx context.Context, apps []App) []cluster.Finding {
	var found []cluster.Finding
	for _, a := range apps {
		switch {
		case a.BulkLoading:
			found = append(found, d.examineBulkLoad(ctx, a))
		case a.Envs[usageScenario] == bulkScenario:
			found = append(found, cluster.Finding{
				Kind: "usage_scenario", Object: a.Name, Help: fmt.Sprintf("del_app_envs --table %s %s", a.Name, usageScenario),
				What: fmt.Sprintf("it is set up for bulk loads (%s = %s), and none runs", usageScenario, bulkScenario),
			})
		}
	}
	return found
}

func (d *Driver) examineBulkLoad(ctx context.Context, a App) cluster.Finding {
	f := cluster.Finding{Kind: "bulk_load", Object: a.Name, What: "it is being bulk loaded", Help: "query_bulk_load_status -a " + a.Name + " -d"}
	b, err := d.BulkLoad(ctx, a.Name)
	switch {
	case err != nil:
		f.What += ", and how far it is cannot be told: " + err.Error()
	case b.Status == wire.BulkPaused.String():
		f.What, f.Help = "its bulk load is paused, and no other table can be loaded meanwhile", "restart_bulk_load -a "+a.Name
	case b.Status == wire.BulkIngesting.String():
		f.What += ": partitions that ingest take no writes"
	default:
		f.What += ": " + strings.ToLower(strings.TrimPrefix(b.Status, "BLS_"))
	}
	return f
}

package pegasus

import (
	"context"
	"fmt"
	"slices"
	"time"

	"shardsh/cluster"
)

// examineBackups names what is being backed up, because a replica server that is started again meanwhile ends a one-time
// backup for good. Where the meta server does not answer, or knows of none any more, there is nothing to say.
func (d *Driver) examineBackups(ctx context.Context, apps []App) []cluster.Finding {
	var found []cluster.Finding
	backups, err := d.Backups(ctx, apps)
	if err != nil {
		return nil
	}
	for _, b := range backups {
		i := slices.IndexFunc(apps, func(a App) bool { return a.ID == b.AppID })
		if i < 0 || b.Failed || !b.End.IsZero() {
			continue
		}
		found = append(found, cluster.Finding{
			Kind: "backup", Object: apps[i].Name, Help: "query_backup " + apps[i].Name,
			What: fmt.Sprintf("backup %d of it runs since %s: it never ends when a replica server is started again meanwhile", b.ID, b.Start.UTC().Format(time.RFC3339)),
		})
	}
	policies, err := d.BackupPolicies(ctx, nil, 1)
	if err != nil { // also where backups are switched off
		return found
	}
	for _, p := range policies {
		for _, b := range p.Backups {
			if b.End.IsZero() {
				found = append(found, cluster.Finding{
					Kind: "backup", Object: p.Name, What: fmt.Sprintf("the backup policy makes backup %d", b.ID), Help: "query_backup_policy -p " + p.Name,
				})
			}
		}
	}
	return found
}

package pegasus

import (
	"context"
	"slices"
	"strings"

	driver "shardsh/cluster/pegasus"
)

func (f *fake) byID(id int32) int {
	return slices.IndexFunc(f.apps, func(a driver.App) bool { return a.ID == id })
}

func (f *fake) RecallApp(_ context.Context, id int32, name string) (driver.App, error) {
	a := &f.apps[f.byID(id)]
	if a.Status = "AVAILABLE"; name != "" {
		a.Name = name
	}
	return *a, nil
}

func (f *fake) RenameApp(_ context.Context, old, name string) error {
	f.apps[f.app(old)].Name = name
	return nil
}

func (f *fake) ReplicaCount(_ context.Context, table string) (int, error) {
	i := f.app(table)
	if i < 0 {
		return 0, noTable(table)
	}
	return f.apps[i].Replicas, nil
}

func (f *fake) SetReplicaCount(_ context.Context, table string, count int) (int, error) {
	old := f.apps[f.app(table)].Replicas
	f.apps[f.app(table)].Replicas = count
	return old, nil
}

func (f *fake) ClearEnvs(_ context.Context, table, prefix string) error {
	envs := f.apps[f.app(table)].Envs
	for key := range envs {
		if prefix == "" || strings.HasPrefix(key, prefix+".") {
			delete(envs, key)
		}
	}
	return nil
}

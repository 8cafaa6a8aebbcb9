package pegasus

import (
	"context"
	"errors"
	"maps"
	"slices"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// SetEnvs sets envs of a table, keys[i] to values[i]. The meta server's sentence about a refusal is in the error.
func (d *Driver) SetEnvs(ctx context.Context, table string, keys, values []string) error {
	op := "set envs of " + table
	if len(keys) == 0 || len(keys) != len(values) {
		return &spec.Error{Kind: spec.Usage, Op: op, Err: errors.New("each key needs a value")}
	}
	return d.updateEnvs(ctx, op, &wire.UpdateAppEnvRequest{AppName: table, Op: wire.EnvSet, Keys: keys, Values: values})
}

// DelEnvs deletes envs of a table.
func (d *Driver) DelEnvs(ctx context.Context, table string, keys []string) error {
	op := "delete envs of " + table
	if len(keys) == 0 {
		return &spec.Error{Kind: spec.Usage, Op: op, Err: errors.New("no key is named")}
	}
	return d.updateEnvs(ctx, op, &wire.UpdateAppEnvRequest{AppName: table, Op: wire.EnvDelete, Keys: keys})
}

func (d *Driver) updateEnvs(ctx context.Context, op string, q *wire.UpdateAppEnvRequest) error {
	a, endpoint, err := updateAppEnv.call(ctx, d, op, q)
	switch {
	case err != nil:
		return err
	case a.Err != wire.OK:
		return codeError(op, endpoint, a.Err, a.Hint, true)
	}
	return nil
}

// GetTableSettings answers a table's envs.
func (d *Driver) GetTableSettings(ctx context.Context, table string) (map[string]string, error) {
	a, err := d.app(ctx, "read envs of "+table, table)
	if err != nil {
		return nil, err
	}
	if a.Envs == nil {
		return map[string]string{}, nil
	}
	return a.Envs, nil
}

// SetTableSettings sets envs.
func (d *Driver) SetTableSettings(ctx context.Context, table string, settings map[string]string) error {
	keys := slices.Sorted(maps.Keys(settings))
	values := make([]string, len(keys))
	for i, key := range keys {
		values[i] = settings[key]
	}
	err := d.SetEnvs(ctx, table, keys, values)
	var refused *spec.Error
	if errors.As(err, &refused) && refused.Code == wire.CodeInvalidParameters {
		// The meta server says so of a table that it does not have, too.
		if _, missing := d.app(ctx, "set envs of "+table, table); spec.KindOf(missing) == spec.NotFound {
			return missing
		}
	}
	return err
}

// DeleteTableSettings deletes the envs that are there among the keys.
func (d *Driver) DeleteTableSettings(ctx context.Context, table string, keys []string) ([]string, error) {
	envs, err := d.GetTableSettings(ctx, table)
	if err != nil {
		return nil, err
	}
	var there []string
	for _, key := range keys {
		if _, ok := envs[key]; ok && !slices.Contains(there, key) {
			there = append(there, key)
		}
	}
	if len(there) == 0 {
		return nil, nil
	}
	return there, d.DelEnvs(ctx, table, there)
}

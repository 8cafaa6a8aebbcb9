package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// DelAppEnvs removes settings of a table.
func DelAppEnvs(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "del_app_envs",
		Systems: systems,
		Topic:   "settings",
		Summary: "take settings of the table in use back to the server's defaults",
		Long: "Removes settings of a table; those that are not set are left alone. " +
			"Replicas follow with their next configuration sync, within a minute.",
		Args:  []spec.Arg{{Name: "key", Kind: spec.ArgSetting, Repeated: true, Help: "names of settings", Offers: settingNames()}},
		Flags: []spec.Flag{envTable},
		Examples: []spec.Example{
			{
				Line: "del_app_envs rocksdb.usage_scenario", Says: "back to the default after a bulk load",
				Setup: []string{"create loaded -e rocksdb.usage_scenario=bulk_load", "use loaded"},
			},
			{Line: "del_app_envs --table demo business.info", Says: "of another table, and fine when it is not set"},
		},
		SeeAlso: []string{"get_app_envs", "set_app_envs"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return delAppEnvs(ctx, env, call)
		},
	}
}

func delAppEnvs(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	for i, key := range call.Args {
		if err := checkEnvKey(key, call.Args[:i]); err != nil {
			return nil, err
		}
	}
	c, table, was, err := openSettings(ctx, env, call)
	if err != nil {
		return nil, err
	}
	var keys []string
	plan := &spec.Plan{}
	for _, key := range call.Args {
		if _, ok := was[key]; ok {
			keys = append(keys, key)
		} else {
			plan.Notes = append(plan.Notes, quote(key)+" is not set")
		}
	}
	plan.Title = fmt.Sprintf("remove %s of table %s on %s", commands.Plural(len(keys), "setting"), table, call.Cluster)
	if len(keys) == 0 {
		return plan, nil
	}
	plan.Notes = append(plan.Notes, envDelay)
	plan.Steps = []spec.Step{{
		Text:    fmt.Sprintf("remove %s of %s", strings.Join(keys, ", "), table),
		Objects: []string{table},
		Class:   spec.Alter,
		Check: func(ctx context.Context) (spec.State, error) {
			return envState(ctx, c, table, func(now map[string]string) bool {
				return !slices.ContainsFunc(keys, func(key string) bool { _, ok := now[key]; return ok })
			})
		},
		Apply: func(ctx context.Context, _ spec.Report) error { return c.DelEnvs(ctx, table, keys) },
		Undo:  undoEnvs(table, keys, was),
	}}
	return plan, nil
}

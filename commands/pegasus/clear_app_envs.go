package pegasus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// ClearAppEnvs removes many settings of a table.
func ClearAppEnvs(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "clear_app_envs",
		Systems: systems,
		Topic:   "settings",
		Summary: "take all settings of the table in use back, or those of a family",
		Long: "Removes every setting of a table (-a), or those whose names start with a prefix and a dot (-p rocksdb). " +
			"All of them at once asks first. Replicas follow with their next configuration sync, within a minute.",
		Flags: []spec.Flag{
			{Name: "all", Short: "a", Kind: spec.ArgBool, Help: "every setting"},
			{Name: "prefix", Short: "p", Kind: spec.ArgText, Help: "the settings of this family", Offers: settingFamilies()},
			envTable,
		},
		Examples: []spec.Example{
			{
				Line: "clear_app_envs -p rocksdb", Says: "what was set before a bulk load",
				Setup: []string{"create loaded -e rocksdb.usage_scenario=bulk_load,business.info=x", "use loaded"},
			},
			{Line: "clear_app_envs -a --table demo --yes", Says: "everything, of another table"},
		},
		SeeAlso: []string{"del_app_envs", "get_app_envs", "set_app_envs"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return clearAppEnvs(ctx, env, call)
		},
	}
}

func clearAppEnvs(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	prefix := strings.TrimSuffix(call.String("prefix"), ".")
	if call.Bool("all") == (prefix != "") {
		return nil, spec.Errorf(spec.Usage, "either -a or -p is needed").WithHint("clear_app_envs -a, or clear_app_envs -p rocksdb")
	}
	c, table, was, err := openSettings(ctx, env, call)
	if err != nil {
		return nil, err
	}
	chosen := func(envs map[string]string) []string {
		keys := slices.Sorted(maps.Keys(envs))
		return slices.DeleteFunc(keys, func(key string) bool { return prefix != "" && !strings.HasPrefix(key, prefix+".") })
	}
	keys := chosen(was)
	plan := &spec.Plan{Title: fmt.Sprintf("remove %s of table %s on %s", commands.Plural(len(keys), "setting"), table, call.Cluster)}
	if len(keys) == 0 {
		return plan, nil
	}
	class := spec.Alter
	if prefix == "" {
		class = spec.Risky
	}
	plan.Notes = []string{envDelay}
	plan.Steps = []spec.Step{{
		Text:    fmt.Sprintf("remove %s of %s", strings.Join(keys, ", "), table),
		Objects: []string{table},
		Class:   class,
		Check: func(ctx context.Context) (spec.State, error) {
			return envState(ctx, c, table, func(now map[string]string) bool { return len(chosen(now)) == 0 })
		},
		Apply: func(ctx context.Context, _ spec.Report) error { return c.ClearEnvs(ctx, table, prefix) },
		Undo:  undoEnvs(table, keys, was),
	}}
	return plan, nil
}

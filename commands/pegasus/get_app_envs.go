package pegasus

import (
	"context"
	"maps"
	"slices"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// GetAppEnvs shows a table's settings.
func GetAppEnvs(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "get_app_envs",
		Systems: systems,
		Topic:   "settings",
		Summary: "show the settings of the table in use",
		Long:    "Shows the settings (app envs) that the meta server keeps for a table. What is not set has the server's default and no row.",
		Flags:   []spec.Flag{envTable},
		Examples: []spec.Example{
			{Line: "get_app_envs", Says: "what is set", Setup: []string{"use demo"}},
			{Line: "get_app_envs --table TableA", Says: "the same for another table"},
		},
		SeeAlso: []string{"set_app_envs", "del_app_envs", "app"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			c, table, err := openTable(ctx, env, call, call.String("table"))
			if err != nil {
				return nil, err
			}
			envs, err := c.GetTableSettings(ctx, table)
			if err != nil {
				return nil, err
			}
			var rows []spec.Row
			for _, key := range slices.Sorted(maps.Keys(envs)) {
				rows = append(rows, spec.Row{key, envs[key]})
			}
			return &spec.Table{Columns: spec.Columns("key", "value"), Rows: spec.RowsOf(rows...)}, nil
		},
	}
}

package pegasus

import (
	"context"
	"fmt"
	"strings"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// SetAppEnvs changes a table's settings.
func SetAppEnvs(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "set_app_envs",
		Systems: systems,
		Topic:   "settings",
		Summary: "change settings of the table in use",
		Long: "Sets one or more settings of a table, all or none of them. Names and values are checked before anything is sent; " +
			"--force sends a name or value that is not known here. " +
			"Replicas follow with their next configuration sync, within a minute. " +
			"Settings that can turn clients away, or make rows expire, ask first.",
		Args: []spec.Arg{
			{Name: "key", Kind: spec.ArgSetting, Names: true, Help: "name of the setting", Offers: settingNames()},
			{Name: "value", Kind: spec.ArgText, Help: "its new value", Follow: settingValues()},
			{Name: "key value", Kind: spec.ArgText, Optional: true, Repeated: true, Help: "more of them", Offers: settingNames(), Follow: settingValues()},
		},
		Flags: []spec.Flag{envTable},
		Examples: []spec.Example{
			{
				Line: "set_app_envs rocksdb.usage_scenario bulk_load", Says: "before a bulk load",
				Setup: []string{"create loading", "use loading"},
			},
			{
				Line: "set_app_envs replica.write_throttling 20000*delay*100 --yes", Says: "slow writers down past 20,000 rows a second",
				Setup: []string{"create busy", "use busy"},
			},
		},
		SeeAlso: []string{"get_app_envs", "del_app_envs"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return setAppEnvs(ctx, env, call)
		},
	}
}

func setAppEnvs(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	keys, values, err := pairs(call.Args)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		if err := checkSetting(key, values[i], call.Force); err != nil {
			return nil, err
		}
	}
	c, table, was, err := openSettings(ctx, env, call)
	if err != nil {
		return nil, err
	}
	text := make([]string, len(keys))
	class := spec.Alter
	notes := append([]string{envDelay}, sinceNotes(keys)...)
	for i, key := range keys {
		text[i] = key + "=" + shownSetting(key, shown(values[i]))
		if why := danger(key); why != "" {
			class = spec.Risky
			notes = append(notes, key+" "+why)
		}
	}
	return &spec.Plan{
		Title: fmt.Sprintf("set %s of table %s on %s", commands.Plural(len(keys), "setting"), table, call.Cluster),
		Notes: notes,
		Steps: []spec.Step{{
			Text:    fmt.Sprintf("set %s of %s", strings.Join(text, ", "), table),
			Objects: []string{table},
			Class:   class,
			Check: func(ctx context.Context) (spec.State, error) {
				return envState(ctx, c, table, func(now map[string]string) bool {
					for i, key := range keys {
						if value, ok := now[key]; !ok || value != values[i] {
							return false
						}
					}
					return true
				})
			},
			Apply: func(ctx context.Context, _ spec.Report) error { return c.SetEnvs(ctx, table, keys, values) },
			Undo:  undoEnvs(table, keys, was),
		}},
	}, nil
}

// pairs splits key value key value….
func pairs(args []string) (keys, values []string, err error) {
	if len(args)%2 != 0 {
		return nil, nil, spec.Errorf(spec.Usage, "the setting %s has no value", quote(args[len(args)-1])).
			WithHint("set_app_envs key value [key value…]")
	}
	for i := 0; i < len(args); i += 2 {
		if err := checkEnvKey(args[i], keys); err != nil {
			return nil, nil, err
		}
		keys, values = append(keys, args[i]), append(values, args[i+1])
	}
	return keys, values, nil
}

// danger says what setting a key can do to the table's clients or rows, "" when nothing.
func danger(key string) string {
	switch {
	case key == "replica.deny_client_request":
		return "turns clients away"
	case strings.Contains(key, "throttling"):
		return "holds back or rejects requests"
	case strings.HasPrefix(key, "replica_access_controller."):
		return "shuts out whoever is not named"
	case key == "default_ttl":
		return "makes rows without a time to live expire"
	case key == "user_specified_compaction":
		return "can delete rows when the table is compacted"
	}
	return ""
}

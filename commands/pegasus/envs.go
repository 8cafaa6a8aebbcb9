package pegasus

import (
	"context"
	"slices"

	"shardsh/commands/spec"
)

// envTable is the flag that the words of settings share. The lines that undo them name their table with it, since they
// are typed in a shell that may have another one in use.
var envTable = spec.Flag{Name: "table", Kind: spec.ArgTable, Help: "the table; the one in use when left out"}

const envDelay = "replicas follow with their next configuration sync, within a minute"

func checkEnvKey(key string, before []string) error {
	switch {
	case key == "":
		return spec.Errorf(spec.Usage, "a setting has no name")
	case slices.Contains(before, key):
		return spec.Errorf(spec.Usage, "the setting %s is there twice", quote(key))
	}
	return nil
}

func envState(ctx context.Context, c admin, table string, done func(map[string]string) bool) (spec.State, error) {
	now, err := c.GetTableSettings(ctx, table)
	if err != nil {
		return spec.State{}, err
	}
	if done(now) {
		return spec.State{Kind: spec.Done, Why: "it is so already"}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

// shownSetting is a setting's value as plans and errors show it, text, unless it is a secret.
func shownSetting(key, text string) string {
	if spec.SecretName(key) {
		return spec.Hidden
	}
	return text
}

// undoEnvs is the line that gives keys the values they had, "" when one of them cannot be written as a plain word, or must
// not be written at all.
func undoEnvs(table string, keys []string, was map[string]string) string {
	set, del := "set_app_envs --table "+table, "del_app_envs --table "+table
	var sets, dels bool
	for _, key := range keys {
		value, had := was[key]
		switch {
		case !plain(key) || had && (!plain(value) || spec.SecretName(key)):
			return ""
		case had:
			sets = true
			set += " " + key + " " + value
		default:
			dels = true
			del += " " + key
		}
	}
	switch {
	case sets && dels:
		return set + "; " + del
	case sets:
		return set
	case dels:
		return del
	}
	return ""
}

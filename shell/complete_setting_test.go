package shell

import (
	"slices"
	"testing"

	"shardsh/commands/spec"
)

// Names of settings are offered, their values behind them, and nothing is forbidden by that.
func TestCompletionOfSettings(t *testing.T) {
	word := query("setting")
	follow := map[string][]string{"mode": {"fast", "slow"}, "size": nil}
	word.Args = []spec.Arg{
		{Name: "key", Kind: spec.ArgSetting, Offers: []string{"mode", "size"}},
		{Name: "value", Follow: follow},
		{Name: "key value", Optional: true, Repeated: true, Offers: []string{"mode", "size"}, Follow: follow},
	}
	word.Flags = []spec.Flag{{Name: "envs", Short: "e", Kind: spec.ArgPair, Offers: []string{"mode=fast", "size="}}}
	b := newBench(t, word)
	for text, want := range map[string][]string{
		"setting ":               {"mode", "size"},
		"setting s":              {"size"},
		"setting mode ":          {"fast", "slow"},
		"setting size ":          nil,
		"setting other ":         nil,
		"setting mode fast ":     {"mode", "size"},
		"setting size 1 mode sl": {"slow"},
		"setting -e m":           {"mode=fast"},
	} {
		if got := b.completions(text); !slices.Equal(got, want) {
			t.Errorf("%q is completed by %q, want %q", text, got, want)
		}
	}
}

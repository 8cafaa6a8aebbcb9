package shell

import (
	"maps"
	"slices"
	"strings"

	"shardsh/cluster"
	"shardsh/commands/spec"
)

// vocabulary finds commands by name.
type vocabulary struct {
	all    []spec.Command
	byName map[string][]*spec.Command
}

func newVocabulary(all []spec.Command) *vocabulary {
	v := &vocabulary{all: all, byName: map[string][]*spec.Command{}}
	for i := range v.all {
		c := &v.all[i]
		for _, name := range append([]string{c.Name}, c.Aliases...) {
			v.byName[name] = append(v.byName[name], c)
		}
	}
	return v
}

// lookup finds the descriptors of the word or pair of words a line starts with, and how many words the name took.
func (v *vocabulary) lookup(words []string) ([]*spec.Command, int) {
	if len(words) >= 2 {
		if found := v.byName[words[0]+" "+words[1]]; found != nil {
			return found, 2
		}
	}
	if found := v.byName[words[0]]; found != nil {
		return found, 1
	}
	// A line of a manual begins with a program's path.
	if slash := strings.LastIndexByte(words[0], '/'); slash >= 0 {
		if found := v.byName[words[0][slash+1:]]; len(found) > 0 && found[0].Tool {
			return found, 1
		}
	}
	return nil, 1
}

// identified tells whether the words hold a descriptor's identifying flag, with its value where that matters.
func identified(c *spec.Command, rest []string) bool {
	name, value, valued := strings.Cut(c.Identify, "=")
	if !valued {
		return slices.ContainsFunc(rest, func(w string) bool { return flagName(w) == canonical(name) })
	}
	p, err := parseFlags(c, rest)
	given := p.flags[name]
	return err == nil && len(given) > 0 && given[len(given)-1] == value
}

// located tells whether the words are the arguments of a descriptor that reads from a block service.
func located(c *spec.Command, rest []string, services func() []string) bool {
	p, err := parseFlags(c, rest)
	if err != nil || len(p.args) != len(c.Args) || slices.Contains(rest, "--") {
		return false
	}
	service, _, ok := strings.Cut(p.args[0], ":/")
	return ok && slices.Contains(services(), service)
}

// choose picks among descriptors of one name: the one whose identifying flag, or a location on one of the block services,
// is on the line, else the current system's, else the neutral one.
func choose(found []*spec.Command, rest []string, system string, services func() []string) (*spec.Command, error) {
	var plain []*spec.Command
	for _, c := range found {
		if c.Identify != "" && identified(c, rest) || c.AtLocation && located(c, rest, services) {
			return c, nil
		}
		if !c.AtLocation {
			plain = append(plain, c)
		}
	}
	if len(plain) > 0 {
		found = plain
	}
	for _, c := range found {
		if len(c.Systems) > 0 && slices.Contains(c.Systems, system) {
			return c, nil
		}
	}
	for _, c := range found {
		if len(c.Systems) == 0 {
			return c, nil
		}
	}
	var have []string
	for _, c := range found {
		have = append(have, c.Systems...)
	}
	where := "the current cluster"
	if system == "" {
		return nil, spec.Errorf(spec.Usage, "%s needs a cluster and none is open", found[0].Name).
			WithHint("clusters lists them; cluster NAME opens one of %s", strings.Join(have, ", "))
	}
	return nil, spec.Errorf(spec.Unable, "%s: %s is %s, which has no such word", found[0].Name, where, system).
		WithHint("it is a word of %s", strings.Join(have, ", "))
}

// flagName is the canonical name of a word that looks like a flag: `--data_dir=x` is data-dir; "" otherwise.
func flagName(word string) string {
	name := strings.TrimLeft(word, "-")
	if name == word || name == "" {
		return ""
	}
	name, _, _ = strings.Cut(name, "=")
	return canonical(name)
}

// names lists everything that can start a line, sorted: for completion and did-you-mean.
func (v *vocabulary) names(system string) []string {
	set := map[string]bool{}
	for name, found := range v.byName {
		for _, c := range found {
			if system == "" || c.Matches(system) {
				set[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// sameMeaning answers words of other tools that people try first.
var sameMeaning = map[string]string{
	"tables": "ls", "list": "ls", "list-tables": "ls", "cluster-info": "cluster_info", "info": "cluster_info",
	"put": "set", "delete": "del", "remove": "del", "exists": "exist", "count": "count_data", "status": "cluster_info",
	"cls": "clear", "\\q": "exit", "q": "exit", "?": "help", "env": "get_app_envs", "connect": "cluster",
}

// unknownWord explains a word that is none of ours.
func (v *vocabulary) unknownWord(word, system string) error {
	err := spec.Errorf(spec.Usage, "unknown command %q", word)
	near := spec.Suggest(word, v.names(system))
	for _, name := range v.names(system) {
		if strings.HasPrefix(name, word+" ") {
			near = append([]string{name}, near...)
		}
	}
	if same, ok := sameMeaning[strings.ToLower(word)]; ok && v.byName[same] != nil && !slices.Contains(near, same) {
		near = append([]string{same}, near...)
	}
	if len(near) > 0 {
		return err.WithHint("did you mean %s?", strings.Join(near[:min(3, len(near))], " or "))
	}
	return err.WithHint("help lists the commands")
}

// has reports whether a system has a word: a descriptor that matches, and the abilities it needs.
func (v *vocabulary) has(name string, sys cluster.System) bool {
	for _, c := range v.byName[name] {
		if c.Matches(sys.Name) && !slices.ContainsFunc(c.Needs, func(need string) bool { return !able(sys.Zero, need) }) {
			return true
		}
	}
	return false
}

func able(d cluster.Driver, need string) bool {
	for _, a := range cluster.Abilities() {
		if a.Name == need {
			return a.Has(d)
		}
	}
	return false
}

package sandbox

import (
	"slices"
	"strings"

	"shardsh/commands/spec"
)

// ParseSettings reads settings of systems: "openmldb.strict=true" each. Whether a system has such a setting its emulator
// says when a cluster is started.
func ParseSettings(kinds []Kind, texts ...string) (map[string]map[string]string, error) {
	all := map[string]map[string]string{}
	var systems []string
	for _, k := range kinds {
		systems = append(systems, k.System)
	}
	for _, text := range texts {
		name, value, given := strings.Cut(text, "=")
		system, key, named := strings.Cut(name, ".")
		switch {
		case !given || !named || key == "":
			return nil, spec.Errorf(spec.Usage, "%q is no setting of a sandbox", text).WithHint("write SYSTEM.KEY=VALUE")
		case !slices.Contains(systems, system):
			return nil, spec.Errorf(spec.Usage, "there is no sandbox of %q", system).WithHint("systems: %s", strings.Join(systems, ", "))
		}
		if all[system] == nil {
			all[system] = map[string]string{}
		}
		all[system][key] = value
	}
	return all, nil
}

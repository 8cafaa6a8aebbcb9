package sandbox

import (
	"slices"
	"strings"

	"shardsh/commands/spec"
)

// Compat says which release of its store each emulator speaks like: "2.6" for "pegasus". A system that is missing is
// what its emulator is by default.
type Compat map[string]string

// ParseCompat reads "system=release" pairs, or a release alone where only one of the kinds knows it; several may be
// joined by commas. A system or release that does not exist is spec.Usage.
func ParseCompat(kinds []Kind, texts ...string) (Compat, error) {
	compat := Compat{}
	for part := range strings.SplitSeq(strings.Join(texts, ","), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		system, release, named := strings.Cut(part, "=")
		if !named {
			system, release = "", part
		}
		of, err := compatible(kinds, system, release)
		if err != nil {
			return nil, err
		}
		compat[of] = release
	}
	return compat, nil
}

// Releases lists all there are, as ParseCompat takes them; the first of a system is its default.
func Releases(kinds []Kind) []string {
	var all []string
	for _, k := range kinds {
		for _, release := range k.Compat {
			all = append(all, k.System+"="+release)
		}
	}
	return all
}

// compatible finds the system that knows a release; system may be "".
func compatible(kinds []Kind, system, release string) (string, error) {
	named := slices.DeleteFunc(slices.Clone(kinds), func(k Kind) bool { return system != "" && k.System != system })
	all := Releases(named)
	var found []string
	for _, k := range named {
		if slices.Contains(k.Compat, release) {
			found = append(found, k.System)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", spec.Errorf(spec.Usage, "%s is a release of %s", release, strings.Join(found, " and ")).
			WithHint("write %s=%s", found[0], release)
	case len(all) == 0:
		return "", spec.Errorf(spec.Usage, "there is no sandbox of %q with releases to choose from", system)
	}
	return "", spec.Errorf(spec.Usage, "the sandbox speaks no release %q", release).WithHint("releases: %s", strings.Join(all, ", "))
}

package openmldb

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// ttlText is how operators write a TTL: "0min" for never, "latest 10", or both.
func ttlText(t driver.TTL) string {
	minutes, latest := fmt.Sprintf("%dmin", t.Minutes), fmt.Sprintf("latest %d", t.Versions)
	switch t.Type {
	case "kLatestTime":
		return latest
	case "kAbsAndLat":
		return minutes + " and " + latest
	case "kAbsOrLat":
		return minutes + " or " + latest
	}
	return minutes
}

// ttlTypes are the words that name a type of TTL, and how many numbers follow.
var ttlTypes = map[string]struct {
	Type    string
	Numbers int
}{
	"absolute": {"kAbsoluteTime", 1}, "latest": {"kLatestTime", 1}, "absandlat": {"kAbsAndLat", 2}, "absorlat": {"kAbsOrLat", 2},
}

// ttlWords lists them in the order of help.
var ttlWords = []string{"absolute", "latest", "absandlat", "absorlat"}

// parseTTL reads a type and its numbers: minutes, versions, or both.
func parseTTL(kind string, numbers []string) (driver.TTL, error) {
	t, known := ttlTypes[kind]
	if !known {
		return driver.TTL{}, spec.Errorf(spec.Usage, "%q is no kind of TTL", kind).WithHint("kinds: %s", strings.Join(ttlWords, ", "))
	}
	if len(numbers) != t.Numbers {
		return driver.TTL{}, spec.Errorf(spec.Usage, "a TTL of kind %s takes %s, not %d", kind, commands.Plural(t.Numbers, "number"), len(numbers))
	}
	ttl := driver.TTL{Type: t.Type}
	for i, text := range numbers {
		n, err := strconv.ParseUint(text, 10, 62)
		if err != nil {
			return driver.TTL{}, spec.Errorf(spec.Usage, "%q is no number of minutes or versions", text)
		}
		if kind == "latest" || i == 1 {
			ttl.Versions = n
		} else {
			ttl.Minutes = n
		}
	}
	return ttl, nil
}

// parseTTLWord reads the form that `create` takes: 144000, latest:10, absandlat:60:10.
func parseTTLWord(text string) (driver.TTL, error) {
	parts := strings.Split(text, ":")
	if _, err := strconv.ParseUint(parts[0], 10, 64); err == nil && len(parts) == 1 {
		parts = []string{"absolute", text}
	}
	return parseTTL(parts[0], parts[1:])
}

// ttlLine writes the arguments of setttl that mean a TTL.
func ttlLine(t driver.TTL) string {
	switch t.Type {
	case "kLatestTime":
		return fmt.Sprintf("latest %d", t.Versions)
	case "kAbsAndLat":
		return fmt.Sprintf("absandlat %d %d", t.Minutes, t.Versions)
	case "kAbsOrLat":
		return fmt.Sprintf("absorlat %d %d", t.Minutes, t.Versions)
	}
	return fmt.Sprintf("absolute %d", t.Minutes)
}

// SetTTL changes when rows expire.
func SetTTL(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "setttl",
		Systems: systems,
		Topic:   "tables",
		Summary: "change when the rows of a table expire",
		Long: "Rows that are older than the minutes, or beyond the versions, given are gone after two collections. Without an index " +
			"every index is changed. A shorter TTL loses data.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "[db/]name"},
			{Name: "type", Kind: spec.ArgEnum, Values: ttlWords, Help: "by age, by number of versions, by both, or by either"},
			{Name: "number", Kind: spec.ArgText, Repeated: true, Help: "minutes, versions, or both; then the index, if only one is meant"},
		},
		Examples: []spec.Example{
			{Line: "setttl flow absolute 144000 --yes=flow", Says: "rows live for 100 days"},
		},
		SeeAlso: []string{"showschema", "create"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return setTTL(ctx, env, line)
		},
	}
}

func setTTL(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	numbers, index := line.Rest(2), ""
	if want := ttlTypes[line.Arg(1)].Numbers; len(numbers) == want+1 {
		numbers, index = numbers[:want], numbers[want]
	}
	ttl, err := parseTTL(line.Arg(1), numbers)
	if err != nil {
		return nil, err
	}
	c, t, err := openTable(ctx, env, line, line.Arg(0))
	if err != nil {
		return nil, err
	}
	name, undo, shorter := t.TableName, "", false
	for _, x := range t.Indexes {
		if index != "" && x.Name != index {
			continue
		}
		if back := strings.TrimSpace(fmt.Sprintf("setttl %s %s %s", name, ttlLine(x.TTL), index)); undo == "" || undo == back {
			undo = back
		}
		shorter = shorter || sooner(ttl, x.TTL)
	}
	if undo == "" {
		return nil, spec.Errorf(spec.NotFound, "table %s has no index %q", name, index).WithHint("showschema %s lists them", name)
	}
	step := spec.Step{
		Text: fmt.Sprintf("set the TTL of %s to %s", strings.TrimSpace(name.String()+" "+index), ttlText(ttl)), Objects: []string{name.String()},
		Class: spec.Alter, Undo: undo,
		Check: func(ctx context.Context) (spec.State, error) {
			now, err := c.Describe(ctx, name)
			if err != nil {
				return spec.State{}, err
			}
			for _, x := range now.Indexes {
				if (index == "" || x.Name == index) && x.TTL != ttl {
					return todo, nil
				}
			}
			return done("it is %s", ttlText(ttl)), nil
		},
		Apply: call(func(ctx context.Context) error { return c.SetTTL(ctx, name, index, ttl) }),
	}
	if shorter {
		step.Class = spec.Destroy
	}
	p := oneStep("Set ttl ok ! Note that, it will take effect after two garbage collection intervals (i.e. gc_interval).", step)
	if shorter {
		p.Notes = []string{"rows that expire by it are collected, and do not come back when it is taken back"}
	}
	return p, nil
}

// sooner says whether rows may expire by one TTL that would have stayed by the other.
func sooner(now, before driver.TTL) bool {
	less := func(a, b uint64) bool { return a != 0 && (b == 0 || a < b) }
	return now.Type != before.Type && (now.Minutes != 0 || now.Versions != 0) ||
		less(now.Minutes, before.Minutes) || less(now.Versions, before.Versions)
}

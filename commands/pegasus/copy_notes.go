package pegasus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

const denyEnv = "replica.deny_client_request"

// peekTime bounds looking for a first row in the target.
const peekTime = 2 * time.Second

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// look reads what a person should know before a copy begins.
func (x *rowCopy) look(ctx context.Context) ([]string, error) {
	if x.keep && x.target.there && x.target.app.Duplicating {
		return nil, spec.Errorf(spec.Refused, "%s is being duplicated: its servers take no checked writes, which -n needs", x.target).
			WithHint("leave -n out, or pause_dup first")
	}
	var notes []string
	state, err := x.state(ctx, x.source)
	if err != nil {
		return nil, err
	}
	x.guesses, err = guessRows(ctx, x.source.c, x.source.app)
	notes = append(notes, state+", "+x.estimate(err))
	notes = append(notes, envNotes(x.source, "read")...)
	if !x.target.there {
		if _, left := copiedEnvs(x.source.app.Envs); len(left) > 0 {
			notes = append(notes, fmt.Sprintf("the new table does not get %s", strings.Join(left, ", ")))
		}
		return append(notes, x.expiryNotes(x.source.app.Envs)...), nil
	}
	if state, err = x.state(ctx, x.target); err != nil {
		return nil, err
	}
	notes = append(notes, state)
	notes = append(notes, envNotes(x.target, "write")...)
	notes = append(notes, x.expiryNotes(x.target.app.Envs)...)
	return append(notes, x.occupied(ctx)...), nil
}

// state says how the partitions of a table are.
func (x *rowCopy) state(ctx context.Context, s copySide) (string, error) {
	a, err := s.c.Partitions(ctx, s.app.Name)
	if err != nil {
		return "", err
	}
	short, dead, splitting := 0, 0, 0
	for _, p := range a.Partitions {
		switch {
		case p.Unborn:
			splitting++
		case p.Primary == "":
			dead++
		case !isReady(p):
			short++
		}
	}
	text := fmt.Sprintf("%s has %s", s, commands.Plural(len(a.Partitions), "partition"))
	for _, c := range []struct {
		n    int
		what string
	}{{dead, "without a primary, which will be waited for"}, {short, "short of replicas"}, {splitting, "not ready, of a split that is under way"}} {
		if c.n > 0 {
			text += fmt.Sprintf(", %d %s", c.n, c.what)
		}
	}
	if s.app.BulkLoading {
		text += ", is being bulk loaded, and takes no writes at the end of that"
	}
	return text, nil
}

// estimate says how much there is to copy.
func (x *rowCopy) estimate(err error) string {
	if err != nil {
		return fmt.Sprintf("and how many rows is not known: %v", err)
	}
	var g driver.Guess
	for i, one := range x.guesses {
		if x.partitions == nil || slices.Contains(x.partitions, i) {
			g.Rows += one.Rows
			g.Bytes += one.Bytes
		}
	}
	which := ""
	if x.partitions != nil {
		which = " in the partitions chosen"
	}
	return fmt.Sprintf("about %s%s, %d MB on disk", commands.Rows(g.Rows), which, g.Bytes>>20)
}

// guessRows asks the primaries how many rows and bytes they think they have.
func guessRows(ctx context.Context, c counting, app driver.App) (map[int]driver.Guess, error) {
	at, err := primaries(ctx, c, []driver.App{app})
	if err != nil {
		return nil, err
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	samples, errs, err := sampleNodes(ctx, c, nodes, driver.Wanted{Replica: []string{keysFigure, diskCounter}, App: app.ID}, 0)
	if err != nil {
		return nil, err
	}
	guesses := map[int]driver.Guess{}
	for i, n := range nodes {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if samples[i] == nil {
			continue
		}
		for id, figures := range samples[i].Replicas {
			if id.App == app.ID && at[partitionID{app.ID, id.Partition}] == n.Endpoint {
				guesses[id.Partition] = driver.Guess{Rows: int64(figures[keysFigure]), Bytes: int64(figures[diskCounter] * (1 << 20))}
			}
		}
	}
	return guesses, nil
}

// envNotes tell of settings that keep a copy back; what is "read" or "write".
func envNotes(s copySide, what string) []string {
	var notes []string
	if deny := s.app.Envs[denyEnv]; strings.HasSuffix(deny, "*all") || strings.HasSuffix(deny, "*"+what) {
		notes = append(notes, fmt.Sprintf("%s has %s %s: its servers turn every %s away, and the copy waits until that is gone", s, denyEnv, deny, what))
	}
	for _, name := range []string{"replica." + what + "_throttling", "replica." + what + "_throttling_by_size"} {
		if limit := s.app.Envs[name]; limit != "" {
			notes = append(notes, fmt.Sprintf("%s has %s %s: the copy will be no faster, and other clients feel it", s, name, limit))
		}
	}
	return notes
}

// expiryNotes tell of times to live that rows would get.
func (x *rowCopy) expiryNotes(envs map[string]string) []string {
	ttl := envs["default_ttl"]
	if ttl == "" || ttl == "0" {
		return nil
	}
	which := "rows without a time to live get one"
	if x.noTTL {
		which = "all rows get one"
	}
	return []string{fmt.Sprintf("%s has default_ttl %s: %s of so many seconds", x.target, ttl, which)}
}

// occupied says what becomes of rows that the target has.
func (x *rowCopy) occupied(ctx context.Context) []string {
	guesses, err := guessRows(ctx, x.target.c, x.target.app)
	var about int64
	for _, g := range guesses {
		about += g.Rows
	}
	text := fmt.Sprintf("%s has about %s", x.target, commands.Rows(about))
	if err != nil || about == 0 {
		ctx, cancel := context.WithTimeout(ctx, peekTime)
		defer cancel()
		found, unknown := false, error(nil)
		for p, err := range x.target.c.Count(ctx, x.target.app.Name, driver.ScanOptions{Partition: -1, MaxRows: 1}) {
			if unknown = err; err != nil || p.Rows > 0 {
				found = err == nil
				break
			}
		}
		switch {
		case unknown != nil:
			text = fmt.Sprintf("%s may have rows", x.target)
		case !found:
			return nil
		default:
			text = fmt.Sprintf("%s has rows", x.target)
		}
	}
	if x.keep {
		return []string{text + ": those of the same keys are kept"}
	}
	return []string{text + ": those of the same keys are overwritten; -n keeps them"}
}

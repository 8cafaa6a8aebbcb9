package pegasus

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

var hotkeyFlags = []spec.Flag{
	{Name: "app-name", Short: "a", Kind: spec.ArgTable, Required: true, Help: "the table, by its name or id"},
	{Name: "partition-index", Short: "p", Kind: spec.ArgInt, Required: true, Help: "its partition, counted from 0"},
	{Name: "hotkey-type", Short: "t", Kind: spec.ArgEnum, Required: true, Values: []string{"read", "write"}, Help: "which requests to look at"},
	{
		Name: "detect-action", Short: "c", Kind: spec.ArgEnum, Required: true, Help: "what to do",
		Values: []string{driver.HotkeyStart, driver.HotkeyStop, driver.HotkeyQuery},
	},
	{Name: "address", Short: "d", Kind: spec.ArgEndpoint, Help: "the replica server to ask; the primary when left out"},
}

const hotkeyLong = "A detection looks at the requests of one partition, first in coarse buckets and then in the one that stands out, every " +
	"10 seconds, and ends with the hash key that is asked for far more often than others, or after 150 seconds with nothing. " +
	"What it found stays until it is stopped, which is also how it is started anew. It costs the server a little for each request."

// DetectHotkey starts and stops a detection of hot keys.
func DetectHotkey(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "detect_hotkey",
		Aliases: []string{"detect-hotkey"},
		Systems: systems,
		Topic:   "partitions",
		Summary: "start or stop the detection of the hash key that a partition is asked for most",
		Long:    hotkeyLong,
		Flags:   hotkeyFlags,
		Examples: []spec.Example{
			{Line: "detect_hotkey -a TableA -p 7 -t read -c start", Says: "begin to look at reads"},
			{Line: "detect_hotkey -a TableA -p 7 -t read -c stop", Says: "end it, and forget what it found", Setup: []string{"detect_hotkey -a TableA -p 7 -t read -c start"}},
		},
		SeeAlso: []string{"app_stat", "hash", "get_app_envs"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			h, err := hotspotOf(ctx, env, call)
			if err != nil {
				return nil, err
			}
			return h.plan(call.String("detect-action")), nil
		},
	}
}

// QueryHotkey is detect_hotkey -c query, which only reads.
func QueryHotkey(env commands.Env) spec.Command {
	return spec.Command{
		Name:     "detect_hotkey",
		Aliases:  []string{"detect-hotkey"},
		Systems:  systems,
		Topic:    "partitions",
		Identify: "detect-action=" + driver.HotkeyQuery,
		Summary:  "show what the detection of hot keys has found",
		Long:     hotkeyLong,
		Flags:    hotkeyFlags,
		Examples: []spec.Example{
			{Line: "detect_hotkey -a TableA -p 7 -t read -c query", Says: "the hot key, or how far the detection is"},
		},
		SeeAlso: []string{"app_stat", "hash"},
		Query: func(ctx context.Context, call *spec.Call) (*spec.Table, error) {
			h, err := hotspotOf(ctx, env, call)
			if err != nil {
				return nil, err
			}
			return h.query(ctx)
		},
	}
}

// hotspot is one partition of which hot keys are detected.
type hotspot struct {
	*place
	kind, server string
}

func hotspotOf(ctx context.Context, env commands.Env, call *spec.Call) (*hotspot, error) {
	table, err := hotTable(ctx, env, call)
	if err != nil {
		return nil, err
	}
	p, err := placeOf(ctx, env, call, table, call.String("partition-index"))
	if err != nil {
		return nil, err
	}
	h := &hotspot{place: p, kind: call.String("hotkey-type"), server: p.was.Primary}
	switch at := call.String("address"); {
	case at != "":
		h.server, err = p.nodes.findAlive(at)
	case h.server == "":
		err = spec.Errorf(spec.Unavailable, "%s has no primary that could be asked", p.String()).WithHint("%s", stand(p.was))
	}
	return h, err
}

// hotTable is the table that -a names, which other tools name by its id.
func hotTable(ctx context.Context, env commands.Env, call *spec.Call) (string, error) {
	text := call.String("app-name")
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return text, nil
	}
	c, err := open(ctx, env, call)
	if err != nil {
		return "", err
	}
	apps, err := c.Apps(ctx, "available")
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(apps, func(a driver.App) bool { return a.Name == text }) {
		return text, nil
	}
	i := slices.IndexFunc(apps, func(a driver.App) bool { return int64(a.ID) == id })
	if i < 0 {
		return "", spec.Errorf(spec.NotFound, "no table in use has the name or id %s", text).WithHint("ls lists the tables and their ids")
	}
	return apps[i].Name, nil
}

func (h *hotspot) ask(ctx context.Context, action string) (driver.Hotkey, error) {
	return h.c.DetectHotkey(ctx, h.server, h.appID, h.index, h.kind, action)
}

func (h *hotspot) plan(action string) *spec.Plan {
	text := fmt.Sprintf("%s the detection of %s hot keys in %s on %s", action, h.kind, h.String(), h.server)
	line := func(action string) string {
		return fmt.Sprintf("detect_hotkey -a %s -p %d -t %s -c %s -d %s", h.table, h.index, h.kind, action, h.server)
	}
	step := spec.Step{
		Text: text, Objects: []string{h.String()}, Class: spec.Alter,
		Check: func(ctx context.Context) (spec.State, error) { return h.check(ctx, action) },
		Apply: func(ctx context.Context, report spec.Report) error {
			now, err := h.ask(ctx, action)
			switch {
			case err != nil:
				return err
			case action == driver.HotkeyStart:
				report.Detail("%s shows what it finds", line(driver.HotkeyQuery))
			case now.Hint != "":
				report.Detail("%s", now.Hint)
			}
			return nil
		},
	}
	if action == driver.HotkeyStart {
		step.Undo = line(driver.HotkeyStop)
	}
	return &spec.Plan{Title: text, Steps: []spec.Step{step}}
}

func (h *hotspot) check(ctx context.Context, action string) (spec.State, error) {
	now, err := h.ask(ctx, driver.HotkeyQuery)
	running := now.State == "COARSE_DETECTING" || now.State == "FINE_DETECTING"
	switch {
	case err != nil:
		return spec.State{}, err
	case action == driver.HotkeyStop && now.State == "STOPPED":
		return spec.State{Kind: spec.Done, Why: "it is not running"}, nil
	case action == driver.HotkeyStart && running:
		return spec.State{Kind: spec.Done, Why: "it is running, in state " + now.State}, nil
	case action == driver.HotkeyStart && now.Found:
		return spec.State{Kind: spec.Blocked, Why: fmt.Sprintf("it has found %s; -c stop makes it forget that", quote(string(now.Key)))}, nil
	}
	return spec.State{Kind: spec.Todo}, nil
}

func (h *hotspot) query(ctx context.Context) (*spec.Table, error) {
	now, err := h.ask(ctx, driver.HotkeyQuery)
	if err != nil {
		return nil, err
	}
	var key any
	if now.Found {
		key = now.Key
	}
	t := spec.Record([]spec.Column{
		{Name: "app_name"},
		{Name: "partition_index", Kind: spec.Int},
		{Name: "hotkey_type"},
		{Name: "node"},
		{Name: "state"},
		{Name: "found", Kind: spec.Bool},
		{Name: "hash_key", Kind: spec.Bytes},
	}, h.table, h.index, h.kind, h.server, commands.Word(now.State), now.Found, key)
	if now.Hint != "" {
		t.Notes = func() []string { return []string{now.Hint} }
	}
	return t, nil
}

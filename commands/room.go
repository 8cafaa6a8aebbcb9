package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"shardsh/commands/spec"
	"shardsh/storage"
)

// Writing is what a plan is about to write to a block service.
type Writing struct {
	To      storage.Service
	Dir     string // of the service; it need not be there yet
	Bytes   int64  // about how many; below 0 when that is not known
	Resumed bool   // part of it may be there already: nothing is refused
	Small   bool   // of what is small and fits nothing need be said
	Way     string // what else one can do where there is no room ("rm_backup removes old ones")
}

const (
	// small is what a Writing may have that nothing is said about.
	small = 64 << 20
	// roomPatience bounds how long a service is asked, over all the servers that it may have.
	roomPatience = 15 * time.Second
)

// LookAtRoom compares what a plan writes with the room there is. What fits is a note of the plan, and so is what cannot be
// told; what does not fit blocks it. An error is that of the context only.
func LookAtRoom(ctx context.Context, plan *spec.Plan, x Writing) error {
	r, err := askRoom(ctx, x.To, x.Dir)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	name := x.To.Name()
	switch {
	case err == nil && x.Bytes > r.Free && !x.Resumed:
		why := fmt.Sprintf("%s, and %s: make room, or name another place", freeText(r), x.needed())
		if x.Way != "" {
			why += "; " + x.Way
		}
		plan.Blockers = append(plan.Blockers, spec.Blocker{Object: name, Why: why})
	case x.Small && x.Bytes >= 0 && x.Bytes < small:
	case err != nil:
		plan.Notes = append(plan.Notes, fmt.Sprintf("how much room %s has is not known: %s; %s", name, reasonText(err), x.needed()))
	default:
		plan.Notes = append(plan.Notes, fmt.Sprintf("%s: %s, %s", name, freeText(r), x.needed()))
	}
	return nil
}

func askRoom(ctx context.Context, s storage.Service, dir string) (storage.Room, error) {
	ctx, cancel := context.WithTimeout(ctx, roomPatience)
	defer cancel()
	return storage.RoomOf(ctx, s, dir)
}

func (x Writing) needed() string {
	text := ""
	switch {
	case x.Bytes < 0:
		text = "how much is needed is not known"
	case x.Bytes == 0: // of what is told in whole MB
		text = "about 0 MB needed"
	default:
		text = fmt.Sprintf("about %s needed", spec.SizeText(x.Bytes))
	}
	if x.Resumed {
		text += ", of which part may be there"
	}
	return text
}

// freeText tells what is free, and of what.
func freeText(r storage.Room) string {
	text := spec.SizeText(r.Free) + " free"
	if about := roomRemark(r); about != "" {
		text += " (" + about + ")"
	}
	return text
}

// roomRemark is what one has to know about the figures, "" when nothing.
func roomRemark(r storage.Room) string {
	text := ""
	add := func(format string, args ...any) {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf(format, args...)
	}
	if r.Bound != "" {
		add("within %s", r.Bound)
	}
	if r.Copies > 1 {
		add("for files that are stored %d times", r.Copies)
	}
	if r.Unsure != "" {
		add("%s", r.Unsure)
	}
	return text
}

// reasonText is why a service did not tell its room, without what was attempted.
func reasonText(err error) string {
	var e *spec.Error
	switch {
	case !errors.As(err, &e) || e.Err == nil || e.Endpoint == "":
		return err.Error()
	case e.Kind == spec.Unable:
		return e.Err.Error()
	}
	return e.Endpoint + ": " + e.Err.Error()
}

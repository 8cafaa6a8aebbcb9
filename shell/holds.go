package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// holds keeps what settings were before a plan changed them, one file each under $STATE/holds. The shell that holds a
// setting keeps its file locked, so that a file without a lock is what a killed shell left behind.
type holds struct {
	dir string
	own func(cluster string) bool // tells the clusters of this process's own sandbox
}

// heldRecord is the content of one file.
type heldRecord struct {
	Time    time.Time `json:"time"`
	User    string    `json:"user"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Cluster string    `json:"cluster"`
	Setting string    `json:"setting"`
	Was     string    `json:"was"`
	During  string    `json:"during"`
	Restore string    `json:"restore"` // the line that puts it back
	Line    string    `json:"line"`    // the command it was taken for
	Kept    bool      `json:"kept"`    // on purpose, beyond its plan
	// Sandbox is the process whose own sandbox the cluster is: with it the cluster is gone, and the hold means nothing.
	Sandbox int `json:"sandbox,omitempty"`
}

// held is a hold that this process has taken.
type held struct {
	hold spec.Hold
	was  string
	path string
	lock *flock.Flock
}

type heldSet []held

// take reads each setting, makes what it was durable, and only then changes it. On an error what was taken is given
// back.
func (h *holds) take(ctx context.Context, call *spec.Call, wanted []spec.Hold) (heldSet, error) {
	var set heldSet
	for i, w := range wanted {
		one, err := h.takeOne(ctx, call, w, i)
		if one != nil {
			set = append(set, *one)
		}
		if err != nil {
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBack)
			defer cancel()
			_, rerr := set.release(back, false)
			return nil, errors.Join(err, rerr)
		}
	}
	return set, nil
}

func (h *holds) takeOne(ctx context.Context, call *spec.Call, w spec.Hold, n int) (*held, error) {
	now, err := w.Read(ctx)
	if err != nil {
		return nil, &spec.Error{Kind: spec.KindOf(err), Op: "read " + w.Setting + " before holding it", Err: err}
	}
	one, err := h.adopt(call.Cluster, w)
	giveUp := (*held).letGo
	if err == nil && one == nil && now != w.During {
		one, err = h.begin(w, now, n)
		giveUp = (*held).forget
	}
	if err != nil || one == nil {
		return nil, err
	}
	if err := h.record(call, one); err != nil {
		giveUp(one)
		return nil, spec.Errorf(spec.Refused, "hold %s: what it is could not be recorded: %w", w.Setting, err)
	}
	if now == w.During {
		return one, nil
	}
	return one, w.Write(ctx, w.During)
}

// adopt takes over a setting that a killed shell has left held, whatever it was held at and for: who holds it now puts it
// back to what it was before that one. nil when there is none.
func (h *holds) adopt(cluster string, w spec.Hold) (*held, error) {
	all, err := h.list()
	if err != nil {
		return nil, err
	}
	for _, l := range all {
		if l.active || l.Kept || l.Cluster != cluster || l.Setting != w.Setting {
			continue
		}
		lock := flock.New(l.path + ".lock")
		if free, err := lock.TryLock(); err != nil || !free {
			continue
		}
		return &held{hold: w, was: l.Was, path: l.path, lock: lock}, nil
	}
	return nil, nil
}

// begin makes a hold that nobody has had before. n tells those of one plan apart.
func (h *holds) begin(w spec.Hold, was string, n int) (*held, error) {
	path := filepath.Join(h.dir, fmt.Sprintf("%d-%d-%d.json", time.Now().UnixNano(), os.Getpid(), n))
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(path + ".lock")
	if _, err := lock.TryLock(); err != nil {
		return nil, spec.Errorf(spec.Refused, "hold %s: %w", w.Setting, err)
	}
	return &held{hold: w, was: was, path: path, lock: lock}, nil
}

// record makes durable what a setting was.
func (h *holds) record(call *spec.Call, one *held) error {
	w := one.hold
	record := heldRecord{
		Time: time.Now().UTC(), User: userName(), PID: os.Getpid(), Cluster: call.Cluster, Setting: w.Setting,
		Was: one.was, During: w.During, Restore: w.Restore(one.was), Line: call.Line, Kept: w.Keep,
	}
	record.Host, _ = os.Hostname()
	if h.own != nil && h.own(call.Cluster) {
		record.Sandbox = os.Getpid()
	}
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	return writeDurably(one.path, text)
}

// release puts everything back, last taken first. What cannot be put back keeps its file. After a plan that succeeded,
// what is meant to stay stays. The rows are what became of the others, as outcomes of a plan.
func (set heldSet) release(ctx context.Context, succeeded bool) (rows []spec.Row, err error) {
	var errs []error
	for _, one := range slices.Backward(set) {
		if one.hold.Keep && succeeded {
			one.letGo()
			continue
		}
		text := fmt.Sprintf("put %s back to %s", one.hold.Setting, one.was)
		if err := one.hold.Write(ctx, one.was); err != nil {
			rows = append(rows, spec.Row{text, one.hold.Setting, outcomeFailed, err.Error()})
			errs = append(errs, &spec.Error{
				Kind: spec.PartlyDone, Op: text, Err: err,
				Hint: "holds restore tries again",
			})
			one.letGo()
			continue
		}
		rows = append(rows, spec.Row{text, one.hold.Setting, outcomeDone, nil})
		one.forget()
	}
	return rows, errors.Join(errs...)
}

// letGo leaves the hold on disk, where holds restore finds it.
func (one *held) letGo() { _ = one.lock.Unlock() }

func (one *held) forget() {
	os.Remove(one.path)
	one.lock.Unlock()
	os.Remove(one.lock.Path())
}

// left is a hold found on disk.
type left struct {
	heldRecord
	path   string
	active bool // the shell that took it is still running
}

// list answers every hold on disk, oldest first. Files that cannot be read are an error: they may hold what a setting
// was.
func (h *holds) list() ([]left, error) {
	names, err := filepath.Glob(filepath.Join(h.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []left
	for _, name := range names {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // put back in this moment
		}
		l := left{path: name}
		if err == nil {
			err = json.Unmarshal(text, &l.heldRecord)
		}
		if err != nil {
			return nil, spec.Errorf(spec.Failed, "read the hold %s: %w", name, err)
		}
		lock := flock.New(name + ".lock")
		free, err := lock.TryLock()
		if err != nil {
			return nil, spec.Errorf(spec.Failed, "read the hold %s: %w", name, err)
		}
		l.active = !free
		if free {
			lock.Unlock()
		}
		if free && l.Sandbox != 0 && l.Sandbox != os.Getpid() {
			if err := l.remove(); err != nil {
				return nil, spec.Errorf(spec.Failed, "forget the hold of a sandbox that is gone: %w", err)
			}
			continue
		}
		all = append(all, l)
	}
	return all, nil
}

// end forgets the kept holds of a cluster on these settings: a plan has put them right.
func (h *holds) end(cluster string, settings []string) error {
	if len(settings) == 0 {
		return nil
	}
	all, err := h.list()
	for _, l := range all {
		if l.Cluster == cluster && slices.Contains(settings, l.Setting) && !l.active {
			err = errors.Join(err, l.remove())
		}
	}
	return err
}

func (l left) remove() error {
	os.Remove(l.path + ".lock")
	return os.Remove(l.path)
}

// Holds implements commands.Env.
func (s *Shell) Holds(name string) ([]commands.Held, error) {
	all, err := s.holds.list()
	if err != nil {
		return nil, err
	}
	var out []commands.Held
	for _, l := range all {
		if l.Cluster == name {
			out = append(out, commands.Held{Setting: l.Setting, Was: l.Was, During: l.During, Kept: l.Kept, Active: l.active})
		}
	}
	return out, nil
}

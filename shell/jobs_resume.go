package shell

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"shardsh/cluster/systems"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// resume plans the recorded call of a job again and runs it with its journals.
func (s *Shell) resume(ctx context.Context, id string, x extras) (*spec.Table, error) {
	f, err := s.jobs.find(id)
	if err != nil {
		return nil, err
	}
	if f.status.State == jobDone {
		return nil, spec.Errorf(spec.Refused, "job %s is done", id)
	}
	r := &jobRun{shell: s, folder: f.jobFolder}
	if r.held, err = f.lock(); err != nil {
		return nil, err
	}
	begun := false
	defer func() {
		if !begun {
			r.held.Unlock()
		}
	}()
	if err := f.read(); err != nil { // again, under the lock
		return nil, err
	}
	r.spec, r.status = f.spec, f.status
	back, err := s.goWhere(&r.spec)
	if err != nil {
		return nil, err
	}
	defer back()
	defer s.callTimeout.Store(s.callTimeout.Load())
	call, p, err := s.recall(ctx, &r.spec)
	if err != nil {
		return nil, &spec.Error{Kind: spec.KindOf(err), Op: "resume job " + id, Err: err, Hint: spec.HintOf(err)}
	}
	if err := r.same(p); err != nil {
		return nil, err
	}
	if x.Plan || s.flags.plan {
		return s.showPlan(call, x, p)
	}
	if p.Class() > spec.Read {
		if err := s.mayChange("job resume"); err != nil {
			return nil, err
		}
	}
	begun = true
	return s.applyJob(ctx, call, x, p, r)
}

// goWhere takes the session to where a job was asked for, with the clusters of then by their addresses of then, and answers
// the way back. What config.ini says of a cluster of that name goes before.
func (s *Shell) goWhere(j *jobSpec) (back func(), err error) {
	pinned := map[string]target{}
	for name, c := range j.Clusters {
		if known, ok := s.conf.Cluster(name); ok && known.Address != "" {
			continue
		}
		sys, ok := systems.Find(c.System)
		if !ok {
			return nil, spec.Errorf(spec.Unable, "cluster %s: this version does not speak to %s", name, c.System)
		}
		pinned[name] = target{name: name, system: sys, address: c.Address}
	}
	aside := s.session.aside()
	unpin := s.session.pin(pinned, j.Blocks)
	back = func() { unpin(); aside() }
	if j.Cluster != "" {
		if err := s.choose(j.Cluster); err != nil {
			back()
			return nil, err
		}
	}
	s.session.mu.Lock()
	s.session.table, s.session.node = j.Table, j.Node
	s.session.mu.Unlock()
	return back, nil
}

// pin gives names other meanings, with drivers and block services of their own, and answers the way back. Those stay open
// until the session ends: what a plan answered may still be read from them.
func (s *session) pin(names map[string]target, stood map[string]string) (unpin func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	open, resolved, pinned, blocks, places, before := s.open, s.resolved, s.pinned, s.blocks, s.places, s.stood
	s.open, s.resolved, s.pinned = map[string]*opened{}, map[string]target{}, names
	s.blocks, s.places, s.stood = map[string]storage.Service{}, map[string]string{}, stood
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, o := range s.open {
			s.retired = append(s.retired, o.driver)
		}
		for _, b := range s.blocks {
			s.retired = append(s.retired, b)
		}
		s.open, s.resolved, s.pinned, s.blocks, s.places, s.stood = open, resolved, pinned, blocks, places, before
	}
}

// recall resolves and plans a recorded call.
func (s *Shell) recall(ctx context.Context, j *jobSpec) (*spec.Call, *spec.Plan, error) {
	call, x, err := s.resolve(j.Words)
	if err != nil {
		return nil, nil, err
	}
	if call.Command.Change == nil {
		return nil, nil, spec.Errorf(spec.Refused, "%s moves nothing", j.Line)
	}
	if x.Timeout > 0 {
		s.callTimeout.Store(int64(x.Timeout))
	}
	call.Line, call.Wait, call.Force, call.Resumed = j.Line, j.Wait, j.Force, true
	filesFrom(call, j.Dir)
	if !call.Command.Offline {
		if err := s.able(ctx, call); err != nil {
			return nil, nil, err
		}
	}
	p, err := call.Command.Change(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	s.secrets.hidePlan(p)
	return call, p, nil
}

// filesFrom makes a call mean the files that it meant in the directory of then.
func filesFrom(call *spec.Call, dir string) {
	from := func(names []string) []string {
		names = slices.Clone(names)
		for i, name := range names {
			if dir != "" && name != "" && !filepath.IsAbs(name) {
				names[i] = strings.TrimSuffix(dir, "/") + "/" + name // Join would take off what a path ends in
			}
		}
		return names
	}
	if args := call.Command.Args; len(args) > 0 {
		call.Args = slices.Clone(call.Args)
		for i := range call.Args {
			if args[min(i, len(args)-1)].Kind == spec.ArgFile {
				copy(call.Args[i:], from(call.Args[i:i+1]))
			}
		}
	}
	for _, f := range call.Command.Flags {
		if f.Kind == spec.ArgFile && call.Has(f.Key()) {
			call.Flags = maps.Clone(call.Flags)
			call.Flags[f.Key()] = from(call.Flags[f.Key()])
		}
	}
}

// same demands that a plan's jobs are what they were. One that has nothing left to do is done.
func (r *jobRun) same(p *spec.Plan) error {
	if len(p.Steps) == 0 {
		return nil
	}
	there := map[string]bool{}
	for _, st := range p.Steps {
		if st.Job == nil {
			continue
		}
		there[st.Job.Name] = true
		was, known := r.spec.Identities[st.Job.Name]
		why := "it was not part of it"
		if known {
			why = identityDiffers(was, st.Job.Identity)
		}
		if why != "" {
			return spec.Errorf(spec.Refused, "job %s is not what it was: %s: %s", r.folder.id(), st.Job.Name, why).
				WithHint("run the command again to begin anew; nothing was sent")
		}
	}
	for name := range r.spec.Identities {
		if !there[name] && !slices.Contains(r.status.Finished, name) {
			return spec.Errorf(spec.Refused, "job %s is not what it was: the plan has no %s any more", r.folder.id(), name).
				WithHint("run the command again to begin anew; nothing was sent")
		}
	}
	return nil
}

// agreed answers how a plan was confirmed when its job began, if it asks for no more than then.
func (r *jobRun) agreed(p *spec.Plan) (how string, ok bool) {
	if p.Class().String() != r.spec.Class && p.Class() >= classNamed(r.spec.Class) {
		return "", false
	}
	return strings.TrimSpace(fmt.Sprintf("job %s: %s", r.folder.id(), r.spec.Answer)), true
}

// accepted reports whether all that blocks a plan was accepted with --force when its job began.
func (r *jobRun) accepted(p *spec.Plan) bool {
	return !slices.ContainsFunc(blockerTexts(p), func(text string) bool { return !slices.Contains(r.spec.Accepts, text) })
}

// classNamed is the class of that name; the lowest for one that is none, so that everything is asked again.
func classNamed(name string) spec.Class {
	for c := spec.Destroy; c > spec.Read; c-- {
		if c.String() == name {
			return c
		}
	}
	return spec.Read
}

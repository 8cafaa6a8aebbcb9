package shell

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/systems"
	"shardsh/commands/spec"
	"shardsh/shell/config"
	"shardsh/storage"
)

// session is what a line may change: where the shell looks, and its variables.
type session struct {
	mu       sync.Mutex // completion reads from another goroutine
	cluster  string     // name or address, "" when none
	table    string     // or database
	node     string     // the endpoint that lines are aimed at, "" for the cluster itself
	vars     map[string]string
	options  map[string]string // set by `option`, above flags, environment and config.ini
	open     map[string]*opened
	blocks   map[string]storage.Service
	places   map[string]string // of the sandbox's block services that are open
	resolved map[string]target
	pinned   map[string]target // names that mean something else meanwhile
	stood    map[string]string // where the sandbox's block services were then
	retired  []io.Closer       // what names meant something else for
}

// target is where a cluster name leads.
type target struct {
	name     string
	system   cluster.System
	address  string // "" for a sandbox cluster until it runs
	sandbox  bool
	own      bool // a sandbox that this shell starts, and that ends with it
	settings map[string]string
}

// opened is a driver shared by everything that names its cluster.
type opened struct {
	driver cluster.Driver
	target target
}

func newSession() *session {
	return &session{
		vars: map[string]string{}, options: map[string]string{}, open: map[string]*opened{}, blocks: map[string]storage.Service{}, places: map[string]string{}, resolved: map[string]target{},
	}
}

// where answers the current cluster and table.
func (s *session) where() (name, table string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster, s.table
}

// on answers the node that lines are aimed at.
func (s *session) on() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node
}

// system is the name of the current cluster's system, "" when none is chosen.
func (s *session) system() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resolved[s.cluster].system.Name
}

func (s *session) target() target {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resolved[s.cluster]
}

// aside remembers where the session looks, and answers the way back.
func (s *session) aside() (back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, table, node := s.cluster, s.table, s.node
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cluster, s.table, s.node = name, table, node
	}
}

// find resolves a cluster's name or address without dialling anything.
func (s *Shell) find(name string) (target, error) {
	s.session.mu.Lock()
	t, ok := s.session.pinned[name]
	s.session.mu.Unlock()
	if ok {
		return t, nil
	}
	if c, ok := s.conf.Cluster(name); ok {
		return s.configured(c)
	}
	for _, sys := range systems.All() {
		if sys.Accepts(name) {
			return target{name: name, system: sys, address: name}, nil
		}
	}
	var known []string
	for _, c := range s.conf.Clusters() {
		known = append(known, c.Name)
	}
	err := spec.Errorf(spec.NotFound, "no cluster is called %q, and it is not an address", name)
	if near := spec.Suggest(name, known); len(near) > 0 {
		return target{}, err.WithHint("did you mean %s?", near[0])
	}
	return target{}, err.WithHint("clusters lists them; config.ini names more")
}

func (s *Shell) configured(c config.Cluster) (target, error) {
	sys, ok := systems.Find(c.System)
	if !ok {
		return target{}, spec.Errorf(spec.Unable, "cluster %s: this version does not speak to %s", c.Name, c.System)
	}
	return target{name: c.Name, system: sys, address: c.Address, sandbox: c.Sandbox, own: c.Sandbox && c.Address == "", settings: c.Settings}, nil
}

// choose makes a cluster the current one; the table is forgotten.
func (s *Shell) choose(name string) error {
	t, err := s.find(name)
	if err != nil {
		return err
	}
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	s.session.resolved[name] = t
	if s.session.cluster != name {
		s.session.cluster, s.session.table, s.session.node = name, "", ""
	}
	return nil
}

// Open implements commands.Env.
func (s *Shell) Open(ctx context.Context, name string) (cluster.Driver, error) {
	if name == "" {
		return nil, spec.Errorf(spec.Usage, "no cluster is open").WithHint("clusters lists them; cluster NAME opens one")
	}
	s.session.mu.Lock()
	o := s.session.open[name]
	s.session.mu.Unlock()
	if o != nil {
		return o.driver, nil
	}
	t, err := s.find(name)
	if err != nil {
		return nil, err
	}
	if t.own {
		if t.address, err = s.sandbox.open(ctx, name); err != nil {
			return nil, err
		}
	}
	// Only the driver is given the secrets; what is kept of the target names where they are.
	settings, err := config.WithSecrets(ctx, t.settings, s.getenv)
	if err != nil {
		return nil, err
	}
	driver, err := t.system.Open(t.address, s.driverOptions(t, settings))
	if err != nil {
		return nil, err
	}
	return s.keep(name, &opened{driver: driver, target: t}).driver, nil
}

// keep stores a driver unless another goroutine was quicker, and answers the one to use.
func (s *Shell) keep(name string, o *opened) *opened {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	if first := s.session.open[name]; first != nil {
		o.driver.Close()
		return first
	}
	s.session.open[name] = o
	return o
}

func (s *Shell) driverOptions(t target, settings map[string]string) cluster.Options {
	return cluster.Options{
		Name:     t.name,
		Timeout:  func() time.Duration { return s.timeout(t) },
		Trace:    s.trace,
		Settings: settings,
	}
}

// ready answers the driver of a cluster if it is open already. It never dials.
func (s *Shell) ready(name string) (cluster.Driver, bool) {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	o := s.session.open[name]
	if o == nil {
		return nil, false
	}
	return o.driver, true
}

// closeAll closes every driver and block service.
func (s *Shell) closeAll() error {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	var errs []error
	for _, c := range s.session.retired {
		errs = append(errs, c.Close())
	}
	for name, o := range s.session.open {
		errs = append(errs, o.driver.Close())
		delete(s.session.open, name)
	}
	for name, b := range s.session.blocks {
		errs = append(errs, b.Close())
		delete(s.session.blocks, name)
	}
	return errors.Join(errs...)
}

// lookup answers a variable: `let`, then --let.
func (s *Shell) lookup(name string) (string, bool) {
	v, ok := s.session.vars[name]
	return v, ok
}

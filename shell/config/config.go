// Package config reads config.ini: the settings of the shell, the clusters it knows by name, and the block services.
//
// One file is read, the first there is of: --config, $SHARDSH_CONFIG, ./config.ini (when it belongs to the user or root
// and not everybody may write it), $XDG_CONFIG_HOME/shardsh/config.ini, /etc/shardsh/config.ini. A setting of the shell is
// taken from its flag, else from the environment (SHARDSH_OUTPUT for output), else from the file, else it has the
// default of the table in keys.go; every value remembers where it came from.
//
// Names are global: of all clusters, etcd services and block services in the file, no two may share one. Only the
// clusters that come with the program give way to a configured name.
//
// Secrets never stand in the file; what stands there is where to get them (Secret). Sections of other programs are
// passed over, so that the configuration of Pegasus's own shell serves as it is.
package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// Options is all that loading depends on.
type Options struct {
	Path    string              // --config; "" searches
	Env     func(string) string // os.Getenv; nil is an empty environment
	WorkDir string              // where ./config.ini is looked for; "" is the current directory
	// Builtin are the clusters that come with the program, one entry for each name and alias. A configured name takes
	// the place of an entry silently.
	Builtin []Cluster
	// Services are the block services that come with the program. They give way as Builtin does.
	Services []BlockService
	// Sections maps the sections that list clusters to their systems: "pegasus.clusters" to "pegasus".
	Sections map[string]string
	// Flags holds settings of the shell that were given as flags of the program, by Key.Name.
	Flags map[string]string
	// Strict turns warnings into an error, as does the setting strict.
	Strict bool

	system string // instead of /etc/shardsh/config.ini
}

// Config is a loaded configuration. It does not change; what it returns is not to be changed either.
type Config struct {
	path     string
	shell    map[string]Value
	clusters []Cluster
	services []BlockService
	entries  []Entry
}

// Value is a setting of the shell, in the spelling Check gives it.
type Value struct {
	Value string
	// Source is "default", "file /p/config.ini:12", "environment SHARDSH_OUTPUT" or "flag".
	Source string
}

// Bool reads a setting of kind ArgBool.
func (v Value) Bool() bool { return v.Value == "true" }

// Int reads a setting of kind ArgInt.
func (v Value) Int() int64 {
	n, _ := strconv.ParseInt(v.Value, 10, 64)
	return n
}

// Duration reads a setting of kind ArgDuration.
func (v Value) Duration() time.Duration {
	d, _ := spec.ParseDuration(v.Value, time.Second)
	return d
}

// Cluster is a place that can be opened by name.
type Cluster struct {
	Name    string
	System  string // "pegasus", …; "etcd" for an [etcd.NAME]
	Address string // as the system writes addresses, without blanks around its commas
	Sandbox bool   // it comes with the program, or names the control socket of a sandbox
	Source  string // as in Value
	// Settings are those of [cluster.NAME], and of [etcd.NAME] itself. Values are as Check spells them; paths are
	// absolute, taken from the directory of the file.
	Settings map[string]string
}

// BlockService is a place for backups and files: a [block_service.NAME].
type BlockService struct {
	Name     string
	Type     string            // "hdfs_service", "s3_service", "local_service", …
	Args     []string          // args, split at blanks; quotes keep them together
	Settings map[string]string // the other keys, as in Cluster
	Sandbox  bool              // it comes with the program: the sandbox tells where it is
	Source   string
}

// Entry is a line of `config show`.
type Entry struct {
	Section, Key, Value, Source string
}

// Path is the file that was read, "" when there is none.
func (c *Config) Path() string { return c.path }

// Shell returns a setting of the shell, one of Keys.
func (c *Config) Shell(key string) Value {
	v, ok := c.shell[key]
	if !ok {
		panic("config: there is no setting " + key)
	}
	return v
}

// Clusters lists the clusters: those of the file by name, then the built-in ones by name.
func (c *Config) Clusters() []Cluster { return slices.Clone(c.clusters) }

// Cluster finds a cluster by name. An etcd service also answers to etcd:NAME.
func (c *Config) Cluster(name string) (Cluster, bool) {
	for _, known := range c.clusters {
		if known.Name == name || known.System == etcdSystem && etcdSystem+":"+known.Name == name {
			return known, true
		}
	}
	return Cluster{}, false
}

// BlockServices lists the block services by name.
func (c *Config) BlockServices() []BlockService { return slices.Clone(c.services) }

// All lists everything for `config show`: the settings of the shell, then the file in its order, then the built-in
// clusters and block services. Commands that fetch secrets are shown by their first word only.
func (c *Config) All() []Entry { return slices.Clone(c.entries) }

// Load reads the configuration. The warnings are sentences for people, each naming file and line.
func Load(o Options) (*Config, []string, error) {
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	if o.system == "" {
		o.system = systemPath
	}
	path, data, warnings, err := find(o)
	if err != nil {
		return nil, nil, err
	}
	l := newLoader(o, path)
	l.warnings = warnings
	if err := l.load(data); err != nil {
		return nil, nil, err
	}
	if len(l.warnings) > 0 && (o.Strict || l.config.Shell("strict").Bool()) {
		return nil, nil, spec.Errorf(spec.Usage, "%s", strings.Join(l.warnings, "\n"))
	}
	return l.config, l.warnings, nil
}

// shellValues fills in the settings of the shell, each from the strongest place that has it.
func (l *loader) shellValues() error {
	for name := range l.o.Flags {
		if _, ok := find1(shellKeys, name); !ok {
			return spec.Errorf(spec.Failed, "a flag sets %s, which is no setting of the shell", name)
		}
	}
	for _, key := range shellKeys {
		v := Value{key.Default, "default"}
		if s, ok := l.shell[key.Name]; ok {
			v = Value{s.value, s.source}
		}
		variable := "SHARDSH_" + strings.ToUpper(key.Name)
		places := []struct {
			value, source string
			given         bool
		}{
			{l.o.Env(variable), "environment " + variable, l.o.Env(variable) != ""},
			{l.o.Flags[key.Name], "flag", has(l.o.Flags, key.Name)},
		}
		for _, p := range places {
			if !p.given {
				continue
			}
			value, err := key.check(p.value)
			if err != nil {
				err.Op = p.source + ", " + key.Name
				return err
			}
			v = Value{value, p.source}
		}
		l.config.shell[key.Name] = v
	}
	return nil
}

func has(m map[string]string, key string) bool {
	_, ok := m[key]
	return ok
}

// finish puts the result in order.
func (l *loader) finish() {
	shell := make([]Entry, 0, len(shellKeys))
	for _, key := range shellKeys {
		v := l.config.shell[key.Name]
		shell = append(shell, Entry{"shell", key.Name, v.Value, v.Source})
	}
	l.config.entries = slices.Concat(shell, l.entries)

	for _, name := range slices.Sorted(maps.Keys(l.clusters)) {
		l.config.clusters = append(l.config.clusters, *l.clusters[name])
	}
	for _, name := range slices.Sorted(maps.Keys(l.builtin)) {
		c := *l.builtin[name]
		l.config.clusters = append(l.config.clusters, c)
		l.config.entries = append(l.config.entries, Entry{c.System + ".clusters", c.Name, c.Address, c.Source})
	}
	for _, name := range slices.Sorted(maps.Keys(l.provided)) {
		b := *l.provided[name]
		l.services[name] = &b
		l.config.entries = append(l.config.entries, Entry{"block_service." + name, "type", b.Type, b.Source})
	}
	for _, name := range slices.Sorted(maps.Keys(l.services)) {
		l.config.services = append(l.config.services, *l.services[name])
	}
}

package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"shardsh/commands/spec"
)

const etcdSystem = "etcd"

// families are the sections of ours that carry a name.
var families = map[string][]Key{"cluster": clusterKeys, "etcd": etcdKeys, "block_service": serviceKeys}

// isOurs tells whether the keys of a section are read.
func isOurs(section string) bool {
	family, _, named := strings.Cut(section, ".")
	return section == "shell" || strings.HasSuffix(section, ".clusters") || named && families[family] != nil
}

// placeholder finds what deployment scripts have not filled in yet: @CLUSTER_NAME@, %{meta.server.list}.
var placeholder = regexp.MustCompile(`@\w+@|%\{[^}]*\}`)

// credentials finds a password in a URL.
var credentials = regexp.MustCompile(`://[^/@\s]*:[^/@\s]+@`)

// setting is a value of the file and where it stands.
type setting struct{ value, source string }

// loader turns rows into a Config.
type loader struct {
	o        Options
	path     string
	config   *Config
	warnings []string
	entries  []Entry

	shell    map[string]setting
	places   map[string]string // a name, and the line that defines it
	clusters map[string]*Cluster
	builtin  map[string]*Cluster
	services map[string]*BlockService
	provided map[string]*BlockService // those of Options.Services that did not give way
	options  map[string]*options      // of [cluster.NAME]
}

// options are the keys of a named section.
type options struct {
	name   string
	line   int
	values map[string]string
	seen   map[string]int // the line of each key
}

func newLoader(o Options, path string) *loader {
	l := &loader{
		o: o, path: path, config: &Config{path: path, shell: map[string]Value{}},
		shell: map[string]setting{}, places: map[string]string{}, clusters: map[string]*Cluster{},
		builtin: map[string]*Cluster{}, services: map[string]*BlockService{}, provided: map[string]*BlockService{}, options: map[string]*options{},
	}
	for _, c := range o.Builtin {
		c.Settings = maps.Clone(c.Settings)
		if c.Settings == nil {
			c.Settings = map[string]string{}
		}
		if c.Source == "" {
			c.Source = "built in"
		}
		l.builtin[c.Name] = &c
	}
	for _, b := range o.Services {
		b.Settings = maps.Clone(b.Settings)
		l.provided[b.Name] = &b
	}
	return l
}

func (l *loader) place(line int) string { return fmt.Sprintf("%s:%d", l.path, line) }

func (l *loader) source(line int) string { return "file " + l.place(line) }

func (l *loader) failf(line int, format string, args ...any) *spec.Error {
	err := spec.Errorf(spec.Usage, format, args...)
	err.Op = l.place(line)
	return err
}

func (l *loader) warnf(line int, hint, format string, args ...any) {
	text := l.place(line) + ": " + fmt.Sprintf(format, args...)
	if hint != "" {
		text += "; " + hint
	}
	l.warnings = append(l.warnings, text)
}

func (l *loader) load(data []byte) error {
	rows, err := parse(l.path, data)
	if err != nil {
		return err
	}
	for start := 0; start < len(rows); {
		end := start + 1
		for end < len(rows) && rows[end].key != "" {
			end++
		}
		if err := l.section(rows[start], rows[start+1:end]); err != nil {
			return err
		}
		start = end
	}
	if err := l.shellValues(); err != nil {
		return err
	}
	l.applyOptions()
	l.finish()
	return nil
}

func (l *loader) section(head row, rows []row) error {
	family, name, named := strings.Cut(head.section, ".")
	name = strings.TrimSpace(name)
	switch {
	case head.section == "shell":
		return l.shellSection(rows)
	case named && families[family] != nil:
		if name == "" {
			return l.failf(head.line, "the section wants a name: [%s.NAME]", family)
		}
		if placeholder.MatchString(name) {
			return nil
		}
		return l.namedSection(family, name, head, rows)
	case strings.HasSuffix(head.section, ".clusters"):
		return l.clusterSection(head, rows)
	}
	l.unknownSection(head, family, named)
	return nil
}

// unknownSection warns where a section of another program looks like a misspelt one of ours.
func (l *loader) unknownSection(head row, family string, named bool) {
	hint := didYouMean(head.section, append(slices.Sorted(maps.Keys(l.o.Sections)), "shell"))
	if hint == "" && named {
		hint = didYouMean(family, slices.Sorted(maps.Keys(families)))
	}
	if hint != "" {
		l.warnf(head.line, hint, "the section [%s] is not known", head.section)
	}
}

func (l *loader) shellSection(rows []row) error {
	for _, r := range rows {
		name := canonical("shell", r.key)
		key, ok := find1(shellKeys, name)
		if !ok {
			if err := l.unknownKey(r, shellKeys); err != nil {
				return err
			}
			continue
		}
		if old, ok := l.shell[name]; ok {
			return l.failf(r.line, "%s is set twice, first at %s", name, strings.TrimPrefix(old.source, "file "))
		}
		value, err := l.value(key, r)
		if err != nil {
			return err
		}
		l.shell[name] = setting{value, l.source(r.line)}
	}
	return nil
}

// value checks what a row says for a key.
func (l *loader) value(key Key, r row) (string, error) {
	text := unquote(r.value)
	if credentials.MatchString(text) {
		return "", l.failf(r.line, "a password stands in the value of %s", r.key).
			WithHint("secrets do not stand in this file: use %s", secretKeys["password"])
	}
	value, err := key.check(text)
	if err != nil {
		err.Op = l.place(r.line) + ": " + r.key
		return "", err
	}
	if key.Kind == spec.ArgFile && value != "" {
		value = l.resolve(value)
	}
	return value, nil
}

// resolve makes a path absolute: ~/ is the home directory, anything else is taken from where the file is.
func (l *loader) resolve(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home := l.o.Env("HOME"); home != "" {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(l.path), path)
}

func (l *loader) unknownKey(r row, keys []Key) error {
	if instead, ok := secretKeys[strings.ToLower(r.key)]; ok {
		return l.failf(r.line, "%s stands in the file", r.key).
			WithHint("secrets do not stand in this file: use %s", instead)
	}
	l.warnf(r.line, didYouMean(r.key, names(keys)), "the key %s is not known in [%s]", r.key, r.section)
	return nil
}

// claim takes a name, which nothing else may have.
func (l *loader) claim(name string, line int) error {
	if first, ok := l.places[name]; ok {
		return l.failf(line, "the name %s is taken at %s", name, first).
			WithHint("names of clusters, etcd services and block services are one namespace; rename one of the two")
	}
	l.places[name] = l.place(line)
	delete(l.builtin, name)
	delete(l.provided, name)
	return nil
}

func (l *loader) clusterSection(head row, rows []row) error {
	system, known := l.o.Sections[head.section]
	if !known {
		if len(rows) > 0 {
			hint := didYouMean(head.section, slices.Sorted(maps.Keys(l.o.Sections)))
			l.warnf(head.line, hint, "the section [%s] is of no system known here", head.section)
		}
		return nil
	}
	for _, r := range rows {
		if placeholder.MatchString(r.key) || placeholder.MatchString(r.value) {
			continue
		}
		address, err := l.value(Key{Name: r.key}, r)
		if err != nil {
			return err
		}
		if err := l.claim(r.key, r.line); err != nil {
			return err
		}
		address = withoutBlanks(address)
		l.clusters[r.key] = &Cluster{
			Name: r.key, System: system, Address: address, Source: l.source(r.line), Settings: map[string]string{},
		}
		l.entries = append(l.entries, Entry{head.section, r.key, address, l.source(r.line)})
	}
	return nil
}

// withoutBlanks takes blanks off around the commas of a list.
func withoutBlanks(list string) string {
	parts := strings.Split(list, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return strings.Join(parts, ",")
}

func (l *loader) namedSection(family, name string, head row, rows []row) error {
	opts := &options{name: name, line: head.line, values: map[string]string{}, seen: map[string]int{}}
	if family == "cluster" {
		if earlier := l.options[name]; earlier != nil {
			opts = earlier
		}
		l.options[name] = opts
	}
	var args []string
	for _, r := range rows {
		key, ok := find1(families[family], canonical(family, r.key))
		if !ok {
			if err := l.unknownKey(r, families[family]); err != nil {
				return err
			}
			continue
		}
		if first, ok := opts.seen[key.Name]; ok {
			return l.failf(r.line, "%s is set twice, first at %s", key.Name, l.place(first))
		}
		value, err := l.value(key, r)
		if err != nil {
			return err
		}
		opts.seen[key.Name] = r.line
		opts.values[key.Name] = value
		if key.Name == "args" {
			args = fields(r.value)
		}
		l.entries = append(l.entries, Entry{head.section, key.Name, redacted(key.Name, value), l.source(r.line)})
	}
	if err := l.oneSecret(opts); err != nil {
		return err
	}
	switch family {
	case "etcd":
		return l.etcd(opts)
	case "block_service":
		return l.blockService(opts, args)
	}
	return nil
}

// redacted is what may be shown of a value: a command that fetches a secret may hold one.
func redacted(key, value string) string {
	if !strings.HasSuffix(key, "_command") {
		return value
	}
	first, rest, _ := strings.Cut(value, " ")
	if rest == "" {
		return first
	}
	return first + " ***"
}

// oneSecret refuses two sources of one password.
func (l *loader) oneSecret(opts *options) error {
	for _, secret := range ClusterSecrets {
		first := ""
		for _, kind := range secretSources {
			key := secret + "_" + kind
			if _, ok := opts.values[key]; !ok {
				continue
			}
			if first != "" {
				line := max(opts.seen[key], opts.seen[first])
				return l.failf(line, "both %s and %s are set", first, key).WithHint("keep one of the two")
			}
			first = key
		}
	}
	return nil
}

func (l *loader) etcd(opts *options) error {
	endpoints := withoutBlanks(opts.values["endpoints"])
	if endpoints == "" {
		return l.failf(opts.line, "[etcd.%s] wants endpoints", opts.name)
	}
	if placeholder.MatchString(endpoints) {
		return nil
	}
	if err := l.claim(opts.name, opts.line); err != nil {
		return err
	}
	delete(opts.values, "endpoints")
	l.clusters[opts.name] = &Cluster{
		Name: opts.name, System: etcdSystem, Address: endpoints, Source: l.source(opts.line), Settings: opts.values,
	}
	return nil
}

func (l *loader) blockService(opts *options, args []string) error {
	kind := opts.values["type"]
	if kind == "" {
		return l.failf(opts.line, "[block_service.%s] wants a type", opts.name).
			WithHint("hdfs_service, s3_service or local_service")
	}
	if slices.ContainsFunc(append(args, kind), placeholder.MatchString) {
		return nil
	}
	if err := l.claim(opts.name, opts.line); err != nil {
		return err
	}
	delete(opts.values, "type")
	delete(opts.values, "args")
	l.services[opts.name] = &BlockService{
		Name: opts.name, Type: kind, Args: args, Settings: opts.values, Source: l.source(opts.line),
	}
	return nil
}

// applyOptions gives each [cluster.NAME] to its cluster, which may stand anywhere in the file or be built in.
func (l *loader) applyOptions() {
	var unknown []*options
	for name, opts := range l.options {
		c := l.clusters[name]
		if c == nil {
			c = l.builtin[name]
		}
		if c == nil {
			unknown = append(unknown, opts)
			continue
		}
		maps.Copy(c.Settings, opts.values)
		c.Sandbox = c.Sandbox || c.Settings["sandbox"] != ""
	}
	slices.SortFunc(unknown, func(a, b *options) int { return a.line - b.line })
	known := append(slices.Sorted(maps.Keys(l.clusters)), slices.Sorted(maps.Keys(l.builtin))...)
	for _, opts := range unknown {
		l.warnf(opts.line, didYouMean(opts.name, known), "[cluster.%s] is about a cluster that is not known", opts.name)
	}
}

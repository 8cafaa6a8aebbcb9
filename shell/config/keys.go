package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// Key describes a setting.
type Key struct {
	Name    string
	Kind    spec.ArgKind // ArgText, ArgEnum, ArgBool, ArgInt, ArgDuration or ArgFile
	Default string
	Values  []string // for ArgEnum
	Help    string   // without a full stop

	mayBeEmpty bool
}

// shellKeys are the settings of the shell, in the order of config.ini. This is the only place with their defaults.
var shellKeys = []Key{
	{Name: "cluster", Default: "onebox", mayBeEmpty: true, Help: "the cluster to open at the start, by name or address"},
	{
		Name: "output", Kind: spec.ArgEnum, Default: "auto", Help: "how answers are written: " + strings.Join(formats, " "),
		Values: formats,
	},
	{Name: "timeout", Kind: spec.ArgDuration, Default: "10s", Help: "how long one call to a server may take"},
	{Name: "wait", Kind: spec.ArgDuration, Default: "0s", Help: "how long a change is waited for; 0s: until it is done"},
	{Name: "read_only", Kind: spec.ArgBool, Default: "false", Help: "refuse every change"},
	{
		Name: "confirm", Kind: spec.ArgEnum, Default: "risky", Values: []string{"risky", "change"},
		Help: "the least that is asked about: risky, or every change; what destroys is always asked about",
	},
	{Name: "audit", Kind: spec.ArgBool, Default: "true", Help: "record every change, before and after it"},
	{Name: "history", Kind: spec.ArgInt, Default: "10000", Help: "how many lines are remembered; 0: none"},
	{
		Name: "state", Kind: spec.ArgFile, mayBeEmpty: true,
		Help: "the directory for history, audit, jobs and holds; empty: shardsh in $XDG_STATE_HOME",
	},
	{Name: "pager", Default: "auto", Help: "what shows long answers: auto ($PAGER, or less -FRSX), off, or a command"},
	{
		Name: "color", Kind: spec.ArgEnum, Default: "auto", Values: []string{"auto", "always", "never"},
		Help: "colours: auto (on a terminal, unless $NO_COLOR is set), always, never",
	},
	{Name: "highlight", Kind: spec.ArgBool, Default: "true", Help: "colour the line while it is typed"},
	{
		Name: "timing", Kind: spec.ArgEnum, Default: "auto", Values: []string{"auto", "on", "off"},
		Help: "say how long a command took: auto (half a second and more), on, off",
	},
	{Name: "progress", Kind: spec.ArgBool, Default: "true", Help: "show how far a job has come: a line that moves on a terminal, elsewhere one each second"},
	{Name: "trace", Kind: spec.ArgBool, Default: "false", Help: "one line on stderr for each call to a server"},
	{Name: "bytes", Kind: spec.ArgBool, Default: "false", Help: "write sizes as plain numbers of bytes"},
	{Name: "escape_all", Kind: spec.ArgBool, Default: "false", Help: "write every byte of keys and values as \\xHH"},
	{Name: "keep_going", Kind: spec.ArgBool, Default: "false", Help: "in a script: go on after a failure"},
	{
		Name: "process_per_node", Kind: spec.ArgBool, Default: "false",
		Help: "run each node of the shell's own sandbox in a process of its own, which kill -9 can end",
	},
	{Name: "strict", Kind: spec.ArgBool, Default: "false", Help: "take warnings about this file as errors"},
	{
		Name: "sandbox_compat", mayBeEmpty: true,
		Help: "the release that the sandbox of a store speaks like, such as pegasus=2.6; empty: the newest released",
	},
}

var formats = []string{"auto", "table", "vertical", "plain", "json", "jsonl", "csv", "tsv", "yaml", "markdown"}

// clusterKeys are those of [cluster.NAME].
var clusterKeys = []Key{
	{Name: "user"},
	{Name: "password_file", Kind: spec.ArgFile},
	{Name: "password_command"},
	{Name: "password_env"},
	{Name: "zk_user"}, // for the ZooKeeper that a cluster is found in
	{Name: "zk_password_file", Kind: spec.ArgFile},
	{Name: "zk_password_command"},
	{Name: "zk_password_env"},
	{Name: "tls_ca", Kind: spec.ArgFile},
	{Name: "tls_cert", Kind: spec.ArgFile},
	{Name: "tls_key", Kind: spec.ArgFile},
	{Name: "timeout", Kind: spec.ArgDuration},
	{Name: "read_only", Kind: spec.ArgBool},
	{Name: "colour", Kind: spec.ArgEnum, Values: []string{"red", "green", "yellow", "blue", "magenta", "cyan", "white", "none"}},
	{Name: "store"},  // the block service that holds the cluster's own objects, and a root in it
	{Name: "backup"}, // the block service backups go to by default, and a root in it
	{Name: "sandbox", Kind: spec.ArgFile},
	{Name: "audit", Kind: spec.ArgBool},
}

// etcdKeys are those of [etcd.NAME].
var etcdKeys = []Key{
	{Name: "endpoints"},
	{Name: "user"},
	{Name: "password_file", Kind: spec.ArgFile},
	{Name: "password_command"},
	{Name: "password_env"},
	{Name: "tls_ca", Kind: spec.ArgFile},
	{Name: "tls_cert", Kind: spec.ArgFile},
	{Name: "tls_key", Kind: spec.ArgFile},
}

// serviceKeys are those of [block_service.NAME].
var serviceKeys = []Key{
	{Name: "type"},
	{Name: "args", mayBeEmpty: true},
	{Name: "access_key_env"},
	{Name: "secret_key_env"},
	{Name: "use_ssl", Kind: spec.ArgBool},
	{Name: "region"},
	{Name: "ca", Kind: spec.ArgFile},
	{Name: "style", Kind: spec.ArgEnum, Values: []string{"path", "virtual"}}, // how S3 addresses name the bucket
	{Name: "user"},                       // of an HDFS without Kerberos
	{Name: "principal"},                  // of an HDFS with Kerberos
	{Name: "keytab", Kind: spec.ArgFile}, // its key
	{Name: "meta", Kind: spec.ArgEnum, Values: []string{"required", "optional", "none"}}, // the .F.meta of a local_service
}

// secretKeys are what people write when they mean to put a secret into the file, and what to write instead.
var secretKeys = map[string]string{
	"password":    "password_file, password_command or password_env",
	"passwd":      "password_file, password_command or password_env",
	"secret":      "password_file, password_command or password_env, in a block service secret_key_env",
	"token":       "password_file, password_command or password_env",
	"secret_key":  "secret_key_env",
	"access_key":  "access_key_env",
	"zk_password": "zk_password_file, zk_password_command or zk_password_env",
}

// Keys lists the settings of the shell.
func Keys() []Key { return slices.Clone(shellKeys) }

// Check validates a value for a setting of the shell, as a file, a flag or a session would set it, and returns how
// it is spelled from then on: true or false for whatever means that.
func Check(key, value string) (string, error) {
	k, ok := find1(shellKeys, canonical("shell", key))
	if !ok {
		return "", spec.Errorf(spec.Usage, "there is no setting %s", key).WithHint("%s", didYouMean(key, names(shellKeys)))
	}
	value, err := k.check(value)
	if err != nil {
		err.Op = k.Name
		return "", err
	}
	return value, nil
}

func (k Key) check(value string) (string, *spec.Error) {
	if value == "" {
		if k.mayBeEmpty {
			return "", nil
		}
		return "", spec.Errorf(spec.Usage, "a value is missing")
	}
	switch k.Kind {
	case spec.ArgBool:
		switch strings.ToLower(value) {
		case "true", "yes", "on", "1":
			return "true", nil
		case "false", "no", "off", "0":
			return "false", nil
		}
		return "", spec.Errorf(spec.Usage, "%q is neither true nor false", value)
	case spec.ArgInt:
		if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 0 {
			return "", spec.Errorf(spec.Usage, "%q is no number that counts something", value)
		}
	case spec.ArgDuration:
		d, err := spec.ParseDuration(value, time.Second)
		if err != nil || d < 0 {
			return "", spec.Errorf(spec.Usage, "%q is not a duration", value).WithHint("write 500ms, 30s or 2h")
		}
		return d.String(), nil
	case spec.ArgEnum:
		if !slices.Contains(k.Values, value) {
			return "", spec.Errorf(spec.Usage, "%q is none of %s", value, strings.Join(k.Values, ", "))
		}
	}
	return value, nil
}

// canonical returns the name under which a key is known in a section of that family.
func canonical(family, key string) string {
	switch {
	case family == "shell" && key == "colour":
		return "color"
	case family == "cluster" && key == "color":
		return "colour"
	}
	return key
}

func find1(keys []Key, name string) (Key, bool) {
	for _, k := range keys {
		if k.Name == name {
			return k, true
		}
	}
	return Key{}, false
}

func names(keys []Key) []string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.Name
	}
	return all
}

// didYouMean is a sentence, or "" when nothing is near.
func didYouMean(word string, among []string) string {
	if near := spec.Suggest(word, among); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}

package spec

import (
	"context"
	"slices"
	"strings"
)

// Command describes one word of the shell. Exactly one of Query and Change is set; where the arguments decide which
// it is (`confget` and `confset`), there are two descriptors.
type Command struct {
	// Name is what one types; it may be two words ("sandbox kill").
	Name    string
	Aliases []string
	// Systems lists the stores that have the word; empty means all of them.
	Systems []string
	// Topic is the heading in `help` under which the word stands (see Topics).
	Topic string
	// Summary is one line without a full stop. Long says what the word does to the cluster, in whole sentences.
	Summary, Long string

	Args     []Arg
	Flags    []Flag
	Examples []Example
	SeeAlso  []string

	// Needs names the abilities a driver must have (cluster.Abilities); asked before Query or Change runs.
	Needs []string
	// Identify names a flag whose presence on the line selects this descriptor among several of the same name,
	// whatever the current cluster is (`backup -lookup L` is ZanKV's); "flag=value" asks for that value of it.
	Identify string
	// AtLocation selects this descriptor among several of the same name when the first argument is SERVICE:/PATH on a
	// block service that is configured, and there are as many arguments as it takes: `get disk:/b/7 HASH SORT` reads a
	// backup. Behind a `--` the argument is no location, so that any bytes can be a key.
	AtLocation bool
	// FlagsFirst recognises flags only before the first argument, so that data words take `incr a b -1` as data.
	FlagsFirst bool
	// Offline words need no cluster: they run without a current one.
	Offline bool
	// Tool marks the name of a store's own program: lines of its manuals begin with it, also behind a path
	// (./bin/openmldb).
	Tool bool

	// Query reads and answers. It may start reading only when the rows are pulled.
	Query func(ctx context.Context, call *Call) (*Table, error)
	// Change looks at the cluster and answers what would be done. It must not change anything.
	Change func(ctx context.Context, call *Call) (*Plan, error)
	// Reads, when set, tells from a call alone, asking nobody, whether its Change answers a plan of class Read. Such a
	// call is let through where only reading is allowed; should its plan change something after all it is refused.
	Reads func(call *Call) bool
}

// Topics orders the headings of `help` and of the command matrix.
var Topics = []string{"cluster", "tables", "partitions", "failover", "settings", "rows", "tablet", "storage", "shell", "sandbox"}

// Example is a line that help shows and that the tests run. Setup lines run before it and are not shown.
type Example struct {
	Line  string
	Says  string
	Setup []string
}

// Arg is a positional argument. Only the last ones may be Optional, only the last one Repeated.
type Arg struct {
	Name     string
	Kind     ArgKind
	Help     string
	Values   []string // for ArgEnum
	Optional bool
	Repeated bool
	// Offers are what completion offers for any other kind; other values are as good. Where the word before is a key
	// of Follow, its values are offered instead: a setting's name is followed by what it may be.
	Offers []string
	Follow map[string][]string
	// Names marks a first argument that names the next one, in pairs: a setting, a variable. The value of a name that
	// sounds like a secret (SecretName) is treated as a secret flag's is.
	Names bool
}

// Flag is a named option. Long names are accepted with one dash or two, and with `-` or `_` between their words.
type Flag struct {
	Name    string // "" for a flag that has only a letter
	Short   string // one letter, or ""
	Kind    ArgKind
	Default string
	Help    string
	Values  []string // for ArgEnum
	Offers  []string // what completion offers for any other kind; other values are as good
	// Secret values reach no history, audit, trace, error or screen: they are written as Hidden.
	Secret   bool
	Required bool
	// Repeated flags may be given several times; their values are read with Call.Strings.
	Repeated bool
}

// Key is the name under which a Call carries the flag: its long name, or its letter when it has none.
func (f Flag) Key() string {
	if f.Name != "" {
		return f.Name
	}
	return f.Short
}

// ArgKind says what a value is. It drives validation before the command runs, and completion.
type ArgKind int

const (
	ArgText      ArgKind = iota // any text
	ArgBytes                    // arbitrary bytes: a key or a value
	ArgInt                      // a decimal integer, may be negative
	ArgBool                     // as a flag: present means true; as an argument: true or false
	ArgDuration                 // Go's syntax ("500ms", "2h") or a bare number, which is seconds
	ArgMillis                   // a bare number of milliseconds, as the stores' own shells take it, or Go's syntax
	ArgEnum                     // one of Values
	ArgTable                    // the name of a table
	ArgDatabase                 // the name of a database
	ArgPartition                // the number of a partition of the table in use
	ArgEndpoint                 // host:port of a node
	ArgDisk                     // the tag of a disk of a node
	ArgCluster                  // the name of a configured cluster, or an address
	ArgSetting                  // the name of a setting of the table or cluster
	ArgService                  // the name of a block service
	ArgLocation                 // a path on a block service: SERVICE:PATH
	ArgPair                     // k=v, several joined by commas
	ArgFile                     // a path on this machine
	ArgRate                     // how much per second, as ParseRate reads it: 50000rows/s, 20MB/s
	ArgJob                      // the id of a job
	ArgCommand                  // the name of a command
	ArgLine                     // the rest of the line: a command with its own flags, taken as it stands
)

// Matches reports whether the command exists on a system.
func (c *Command) Matches(system string) bool {
	return len(c.Systems) == 0 || slices.Contains(c.Systems, system)
}

// Usage is the synopsis: `create <table> [-p <n>] …`.
func (c *Command) Usage() string {
	parts := []string{c.Name}
	for _, f := range c.Flags {
		parts = append(parts, f.usage())
	}
	for _, a := range c.Args {
		text := "<" + a.Name + ">"
		if a.Repeated {
			text += "…"
		}
		if a.Optional {
			text = "[" + strings.NewReplacer("<", "", ">", "").Replace(text) + "]"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

func (f Flag) usage() string {
	var names []string
	if f.Short != "" {
		names = append(names, "-"+f.Short)
	}
	if f.Name != "" {
		names = append(names, "--"+f.Name)
	}
	text := strings.Join(names, "|")
	switch {
	case f.Kind == ArgBool:
	case len(f.Values) > 0:
		text += " " + strings.Join(f.Values, "|")
	default:
		text += " <" + f.Kind.String() + ">"
	}
	if !f.Required {
		text = "[" + text + "]"
	}
	return text
}

var argKindNames = map[ArgKind]string{
	ArgText: "text", ArgBytes: "bytes", ArgInt: "n", ArgBool: "true|false", ArgDuration: "duration", ArgMillis: "ms",
	ArgEnum: "word", ArgTable: "table", ArgDatabase: "database", ArgPartition: "partition", ArgEndpoint: "host:port", ArgDisk: "disk",
	ArgCluster: "cluster", ArgSetting: "setting", ArgService: "service", ArgLocation: "service:path",
	ArgPair: "k=v,…", ArgFile: "file", ArgRate: "rate", ArgJob: "id", ArgCommand: "command", ArgLine: "command…",
}

func (k ArgKind) String() string { return argKindNames[k] }

// Label is how messages name the flag: --partitions, or -p when it has only a letter.
func (f Flag) Label() string {
	if f.Name != "" {
		return "--" + f.Name
	}
	return "-" + f.Short
}

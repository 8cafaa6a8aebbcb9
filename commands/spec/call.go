package spec

import (
	"strconv"
	"time"
)

// Call is one line, understood: a command with its arguments and flags, already validated against the description,
// and the place it is aimed at. It carries everything a command may depend on, so that a job or a plan file can be
// planned again from it alone.
type Call struct {
	Command *Command
	Line    string // as typed, secrets replaced by Hidden
	Secret  bool   // they were: the line cannot be run again
	Cluster string // the current cluster; commands that open another name it in a flag
	Table   string // the current table, or database where the store has those; "" when none
	Node    string // the storage node that the line is aimed at (`on NODE`), "" when none: as typed, or its endpoint
	Args    []string
	// Flags holds what was given, by Flag.Key; absent flags answer their default.
	Flags map[string][]string
	// Wait bounds waiting for what a change caused: 0 means until it is done, negative means not at all (--no-wait).
	Wait time.Duration
	// Force is --force: a command that checks names or values before they are sent lets unknown ones pass.
	Force bool
	// Again: the call is that of a job, planned again to go on with it, so that what it has made so far is there.
	Again bool
}

// Changes reports whether the call may change something, before anybody is asked.
func (c *Call) Changes() bool {
	return c.Command.Change != nil && (c.Command.Reads == nil || !c.Command.Reads(c))
}

// Arg returns argument i, or "" when it was not given.
func (c *Call) Arg(i int) string {
	if i < len(c.Args) {
		return c.Args[i]
	}
	return ""
}

// Rest returns the arguments from i on.
func (c *Call) Rest(i int) []string {
	if i < len(c.Args) {
		return c.Args[i:]
	}
	return nil
}

// ArgInt returns argument i as an integer. The argument must be declared ArgInt, which validated it.
func (c *Call) ArgInt(i int) int64 {
	n, _ := strconv.ParseInt(c.Arg(i), 10, 64)
	return n
}

// ArgBool returns argument i as a truth value, false when it was not given. The argument must be declared ArgBool.
func (c *Call) ArgBool(i int) bool {
	b, _ := strconv.ParseBool(c.Arg(i))
	return b
}

// Has reports whether the flag was given on the line.
func (c *Call) Has(name string) bool {
	_, ok := c.Flags[name]
	return ok
}

// String returns the last value of the flag, or its default.
func (c *Call) String(name string) string {
	if values := c.Flags[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	for _, f := range c.Command.Flags {
		if f.Key() == name {
			return f.Default
		}
	}
	panic("spec: command " + c.Command.Name + " asks for the flag " + name + " it does not declare")
}

// Strings returns every value given for a repeated flag.
func (c *Call) Strings(name string) []string { return c.Flags[name] }

// Bool returns a flag declared ArgBool.
func (c *Call) Bool(name string) bool {
	b, _ := strconv.ParseBool(c.String(name))
	return b
}

// Int returns a flag declared ArgInt.
func (c *Call) Int(name string) int64 {
	n, _ := strconv.ParseInt(c.String(name), 10, 64)
	return n
}

// Duration returns a flag declared ArgDuration or ArgMillis, 0 when it has neither value nor default.
func (c *Call) Duration(name string) time.Duration {
	unit := time.Second
	for _, f := range c.Command.Flags {
		if f.Key() == name && f.Kind == ArgMillis {
			unit = time.Millisecond
		}
	}
	d, _ := ParseDuration(c.String(name), unit)
	return d
}

// ParseDuration reads Go's syntax, or a bare integer in the given unit; "" is 0.
func ParseDuration(text string, unit time.Duration) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		d := time.Duration(n) * unit
		if n != 0 && d/unit != time.Duration(n) {
			return 0, Errorf(Usage, "%q is too long a time", text)
		}
		return d, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, Errorf(Usage, "%q is not a duration", text).WithHint("write 500ms, 30s, 2h or a bare number")
	}
	return d, nil
}

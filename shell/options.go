package shell

import (
	"errors"
	"slices"
	"time"

	"shardsh/commands/spec"
	"shardsh/shell/config"
	"shardsh/shell/render"
)

// sessionOptions are the settings of config.ini that `option` may change while the shell runs.
var sessionOptions = []string{
	"output", "timeout", "wait", "confirm", "timing", "progress", "trace", "bytes", "escape_all", "read_only", "keep_going", "pager", "highlight",
}

func formatNames() []string {
	var names []string
	for _, f := range render.Formats() {
		names = append(names, f.Name)
	}
	return names
}

// option answers a setting and where it comes from: the session, else a flag, the environment, config.ini, the default.
func (s *Shell) option(name string) config.Value {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	if v, ok := s.session.options[name]; ok {
		return config.Value{Value: v, Source: "option"}
	}
	return s.conf.Shell(name)
}

// setOption changes a setting for the rest of the session.
func (s *Shell) setOption(name, value string) error {
	if !slices.Contains(sessionOptions, name) {
		return spec.Errorf(spec.Usage, "%s cannot be changed while the shell runs", name).WithHint("set it in config.ini")
	}
	value, err := config.Check(name, value)
	if err != nil {
		return err
	}
	s.session.mu.Lock()
	s.session.options[name] = value
	s.session.mu.Unlock()
	s.tracing.Store(s.option("trace").Bool())
	return nil
}

// timeout of one call to a cluster: the command's flag, the session's option or program flag, the cluster's own
// setting, the default.
func (s *Shell) timeout(t target) time.Duration {
	if d := s.callTimeout.Load(); d > 0 {
		return time.Duration(d)
	}
	v := s.option("timeout")
	if own := t.settings["timeout"]; own != "" && v.Source != "option" && v.Source != "flag" {
		v.Value = own
	}
	return v.Duration()
}

// waitFor is how long a call waits for what it caused.
func (s *Shell) waitFor(x extras) time.Duration {
	if x.WaitSet {
		return x.Wait
	}
	return s.option("wait").Duration()
}

// readOnly reports why changes are refused now, "" when they are not.
func (s *Shell) readOnly() string {
	if v := s.option("read_only"); v.Bool() {
		return "the shell is read-only (" + v.Source + ")"
	}
	if t := s.session.target(); t.settings["read_only"] == "true" {
		return "cluster " + t.name + " is read-only in config.ini"
	}
	return ""
}

// mayChange refuses a change where only reading is allowed.
func (s *Shell) mayChange(word string) error {
	if why := s.readOnly(); why != "" {
		return &spec.Error{Kind: spec.Refused, Op: word, Err: errors.New(why), Hint: "--plan shows what it would do"}
	}
	return nil
}

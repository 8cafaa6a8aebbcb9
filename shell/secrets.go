package shell

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"

	"shardsh/commands/spec"
	"shardsh/shell/line"
)

// secrets are the values that this shell was given as secrets. They are taken out of everything that is written about
// what it does: history, audit, plans, outcomes, and all of standard error.
type secrets struct {
	mu    sync.RWMutex
	known []string // and how they look when they are quoted; the longest first
}

// shortestHidden is how long a value must be to be looked for in any text: a shorter one would hide too much else. In the
// line that named it as a secret it is hidden all the same.
const shortestHidden = 4

func (s *secrets) learn(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		inJSON, _ := json.Marshal(v) // of a string: it cannot fail
		for _, form := range []string{v, strconv.Quote(v), string(inJSON), line.QuoteAll([]string{v})} {
			if n := len(form); n > 1 && form != v && (form[0] == '"' || form[0] == '\'') {
				form = form[1 : n-1]
			}
			if len(v) >= shortestHidden && form != spec.Hidden && !slices.Contains(s.known, form) {
				s.known = append(s.known, form)
			}
		}
	}
	slices.SortFunc(s.known, func(a, b string) int { return len(b) - len(a) })
}

// hide replaces what is known by ***.
func (s *secrets) hide(text string) string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, v := range s.known {
		text = strings.ReplaceAll(text, v, spec.Hidden)
	}
	return text
}

// hidePlan takes secrets out of what a plan says.
func (s *secrets) hidePlan(p *spec.Plan) {
	p.Title = s.hide(p.Title)
	for i, note := range p.Notes {
		p.Notes[i] = s.hide(note)
	}
	for i := range p.Steps {
		st := &p.Steps[i]
		st.Text, st.Undo = s.hide(st.Text), s.hide(st.Undo)
		st.Objects = slices.Clone(st.Objects)
		for j, o := range st.Objects {
			st.Objects[j] = s.hide(o)
		}
	}
}

// discreet makes the call's line one that may be written down. A secret that was not kept cannot be used again.
func (s *Shell) discreet(call *spec.Call, words []string) error {
	own := call.Secrets()
	if slices.Contains(own, spec.Hidden) {
		return spec.Errorf(spec.Usage, "%s stands for a secret that was not kept", spec.Hidden).WithHint("type the line again with the secret in its place")
	}
	call.Line = s.secrets.hide(redacted(call, words))
	call.Secret = call.Line != line.QuoteAll(words)
	return nil
}

// redacted is a line without the secrets that its command's description tells of.
func redacted(call *spec.Call, words []string) string {
	own := call.Secrets()
	out := slices.Clone(words)
	for i, w := range out {
		parts := strings.Split(w, ",")
		for j, part := range parts {
			for _, v := range own {
				if name, ok := strings.CutSuffix(part, "="+v); ok {
					parts[j] = name + "=" + spec.Hidden
				}
			}
		}
		out[i] = strings.Join(parts, ",")
		for _, v := range own {
			name, has := strings.CutSuffix(w, v)
			short := has && len(name) == 2 && name[0] == '-' && name[1] != '-' // -pVALUE
			switch {
			case w == v:
				out[i] = spec.Hidden
			case short || has && strings.HasPrefix(name, "-") && strings.HasSuffix(name, "="):
				out[i] = name + spec.Hidden
			}
		}
	}
	return line.QuoteAll(out)
}

// withoutSecrets is a typed line as it may be stored. Where it cannot be understood nobody knows what in it is a secret:
// it is stored only when nothing in it sounds like one.
func (s *Shell) withoutSecrets(text string) string {
	cmds, err := line.Parse(text)
	risky := err != nil && s.mentionsSecret(text)
	var parts []string
	changed := false
	for _, cmd := range cmds {
		words := typedWords(cmd)
		if len(words) == 0 {
			continue
		}
		stored, clear := s.withoutOwnSecrets(words)
		parts, changed = append(parts, stored), changed || stored != line.QuoteAll(words)
		risky = risky || !clear && (s.mentionsSecret(text) || s.takesSecrets(words))
	}
	switch {
	case risky:
		return spec.Hidden + " (a line that was not understood and may hold a secret)"
	case changed:
		text = strings.Join(parts, "; ")
	}
	return s.secrets.hide(text)
}

// typedWords are a command's words with their variables not expanded.
func typedWords(cmd line.Command) []string {
	var words []string
	for _, w := range cmd.Words {
		word, ok := w.Literal()
		if !ok {
			word = cmd.Text[w.Pos-cmd.Pos : w.End-cmd.Pos]
		}
		words = append(words, word)
	}
	return words
}

// withoutOwnSecrets redacts one command, as every descriptor of its word would; not clear when none can read it.
func (s *Shell) withoutOwnSecrets(words []string) (text string, clear bool) {
	found, n := s.words.lookup(words)
	text = line.QuoteAll(words)
	for _, c := range found {
		p, err := parseFlags(c, words[n:])
		if err != nil {
			continue
		}
		clear = true
		call := &spec.Call{Command: c, Args: p.args, Flags: p.flags}
		if quoted := redacted(call, words); quoted != line.QuoteAll(words) {
			text = quoted
		}
	}
	return text, clear
}

// takesSecrets reports whether the word that was typed, or meant, has secret flags.
func (s *Shell) takesSecrets(words []string) bool {
	for _, c := range s.words.all {
		meant := append([]string{c.Name}, c.Aliases...)
		if !slices.Contains(meant, words[0]) && len(spec.Suggest(words[0], meant)) == 0 {
			continue
		}
		if slices.ContainsFunc(c.Flags, func(f spec.Flag) bool { return f.Secret }) {
			return true
		}
	}
	return false
}

func (s *Shell) mentionsSecret(text string) bool {
	if spec.SecretName(text) {
		return true
	}
	for _, c := range s.words.all {
		for _, f := range c.Flags {
			if f.Secret && strings.Contains(canonical(text), "-"+canonical(f.Name)) {
				return true
			}
		}
	}
	return false
}

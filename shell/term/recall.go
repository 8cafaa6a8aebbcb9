package term

import (
	"strings"
	"unicode/utf8"
)

// recall walks through the history of one line: the entries that begin with what was typed before the first Up.
type recall struct {
	entries []string
	at      int // the entry shown; len(entries) when none is
	typed   string
	active  bool
}

func (r *recall) begin(entries []string) { *r = recall{entries: entries, at: len(entries)} }

// older answers the next older entry that begins with what was typed and differs from what is shown.
func (r *recall) older(shown string) (string, bool) {
	if !r.active {
		r.active, r.typed, r.at = true, shown, len(r.entries)
	}
	for i := r.at - 1; i >= 0; i-- {
		if entry := oneLine(r.entries[i]); strings.HasPrefix(entry, r.typed) && entry != shown {
			r.at = i
			return entry, true
		}
	}
	return "", false
}

// newer answers the next newer entry, and in the end what was typed.
func (r *recall) newer(shown string) (string, bool) {
	if !r.active {
		return "", false
	}
	for i := r.at + 1; i < len(r.entries); i++ {
		if entry := oneLine(r.entries[i]); strings.HasPrefix(entry, r.typed) && entry != shown {
			r.at = i
			return entry, true
		}
	}
	r.active = false
	return r.typed, true
}

// search is Ctrl-R: the newest entry that contains the query, then older ones.
type search struct {
	active bool
	query  string
	at     int
	failed bool
	was    snapshot // the line before the search
}

// find looks from an entry on, in the direction of step, and answers the entry and where in it the query begins, in
// runes.
func (s *search) find(entries []string, from, step int, unlike string) (string, int, bool) {
	for i := from; i >= 0 && i < len(entries); i += step {
		entry := oneLine(entries[i])
		if at := strings.Index(entry, s.query); at >= 0 && entry != unlike {
			s.at, s.failed = i, false
			return entry, utf8.RuneCountInString(entry[:at]), true
		}
	}
	s.failed = s.query != ""
	return "", 0, false
}

func (s *search) prompt() string {
	if s.failed {
		return "(no entry with '" + s.query + "') "
	}
	return "(history '" + s.query + "') "
}

// oneLine makes an entry of the history fit for the line.
func oneLine(entry string) string {
	if strings.ContainsAny(entry, "\n\r\t") {
		entry = strings.NewReplacer("\\\n", " ", "\r\n", " ", "\n", " ", "\t", " ").Replace(entry)
	}
	return clean(entry)
}

// lastWord returns the last word of a line as it was typed, quotes and backslashes included.
func lastWord(line string) string {
	line = strings.TrimRight(line, " ")
	start := 0
	quote := rune(0)
	escaped := false
	for i, r := range line {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == ' ':
			start = i + 1
		}
	}
	return line[start:]
}

package line

import (
	"strings"

	"shardsh/commands/spec"
)

// Word is one word of a command: literal text and variables, not expanded yet.
type Word struct {
	// Pos and End are the byte offsets of its source, quotes included.
	Pos, End int
	// Quoted tells whether any of it stood in quotes.
	Quoted bool
	parts  []part
}

// part is a run of a word that is of one sort.
type part struct {
	text     string // the bytes meant, or the name of the variable
	pos, end int
	sort     partSort
	quote    byte // the quote it stands in, 0 when it stands in none
}

type partSort uint8

const (
	partText partSort = iota
	partVariable
	partBad // a malformed escape or variable; text is its source
)

// Expand puts the word together, with each variable replaced by what lookup answers. The result is never split again.
func (w Word) Expand(lookup func(name string) (string, bool)) (string, error) {
	if text, ok := w.Literal(); ok {
		return text, nil
	}
	var b strings.Builder
	for _, p := range w.parts {
		text := p.text
		if p.sort == partVariable {
			value, ok := lookup(p.text)
			if !ok {
				return "", spec.Errorf(spec.Usage, "the variable %s is not set", p.text).
					WithHint("set it with: let %s VALUE", p.text)
			}
			text = value
		}
		if b.Len()+len(text) > Limit {
			return "", spec.Errorf(spec.Usage, "the variable %s makes the word longer than %d MiB", p.text, Limit>>20)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// Literal returns the word when it holds no variable.
func (w Word) Literal() (string, bool) {
	if len(w.parts) == 1 && w.parts[0].sort == partText {
		return w.parts[0].text, true
	}
	var b strings.Builder
	for _, p := range w.parts {
		if p.sort == partVariable {
			return "", false
		}
		b.WriteString(p.text)
	}
	return b.String(), true
}

// shown puts the word together with its variables as they stand in the source.
func (w Word) shown(src []byte) string {
	var b strings.Builder
	for _, p := range w.parts {
		if p.sort == partVariable {
			b.Write(src[p.pos:p.end])
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

package line

import (
	"encoding/hex"

	"shardsh/commands/spec"
)

// wordLexer cuts one word.
type wordLexer struct {
	*lexer
	token *token

	parts  []part
	quoted bool
	text   []byte // the literal run being read
	from   int    // where it starts
	quote  byte   // the quote it stands in
}

func (w *wordLexer) run() {
	w.from = w.at
	for w.at < len(w.src) && !w.ends() {
		switch c := w.src[w.at]; c {
		case '\'', '"':
			w.quotedRun(c)
		case '\\':
			w.escape()
		case '$', '{':
			w.variable()
		default:
			w.plain()
		}
	}
	w.flush(w.at)
	w.token.word = Word{Pos: w.token.pos, End: w.at, Quoted: w.quoted, parts: w.parts}
}

// ends tells whether the word is over, outside quotes.
func (w *wordLexer) ends() bool {
	switch c := w.src[w.at]; c {
	case ' ', '\t', '\r', '\n', ';', '|':
		return true
	case '>':
		return w.at == w.token.pos || w.src[w.at-1] != '-'
	case '\\':
		return w.suffixAt(w.at)
	}
	return false
}

func (w *wordLexer) plain() {
	w.text = append(w.text, w.src[w.at])
	w.at++
}

// flush ends the literal run before the offset. Quotes make a run of their own, even an empty one.
func (w *wordLexer) flush(end int) {
	if len(w.text) > 0 || w.quote != 0 && end > w.from {
		w.parts = append(w.parts, part{text: string(w.text), pos: w.from, end: end, quote: w.quote})
	}
	w.text, w.from = w.text[:0], end
}

func (w *wordLexer) quotedRun(q byte) {
	w.flush(w.at)
	w.quoted, w.quote = true, q
	open := w.at
	w.at++
	for w.has(w.at) {
		switch c := w.src[w.at]; {
		case c == q:
			w.at++
			w.flush(w.at)
			w.quote = 0
			return
		case q == '\'':
			w.plain()
		case c == '\\':
			if !w.has(w.at + 1) {
				w.at++
				continue
			}
			w.escape()
		case c == '$' || c == '{':
			w.variable()
		default:
			w.plain()
		}
	}
	w.token.open = q
	w.token.fail(w.lineAt(max(open, w.counted)), incomplete("a %c is not closed", q))
	w.flush(w.at)
}

// escapes are those of double quotes, beside \xHH; outside quotes a backslash makes any character plain.
var escapes = map[byte]byte{'"': '"', '\\': '\\', '$': '$', '{': '{', 'n': '\n', 't': '\t', 'r': '\r'}

func (w *wordLexer) escape() {
	if n := w.continuation(w.at); n > 0 {
		w.at += n
		return
	}
	if w.at+1 >= len(w.src) {
		w.at++
		w.token.open = '\\'
		w.token.fail(w.lineAt(w.at), incomplete(`a line of a script cannot end in a backslash`))
		return
	}
	c := w.src[w.at+1]
	if c == 'x' {
		w.hexByte()
		return
	}
	if w.quote == '"' {
		meant, ok := escapes[c]
		if !ok {
			w.plain()
			return
		}
		c = meant
	}
	w.text = append(w.text, c)
	w.at += 2
}

func (w *wordLexer) hexByte() {
	var b [1]byte
	if w.at+4 <= len(w.src) {
		if _, err := hex.Decode(b[:], w.src[w.at+2:w.at+4]); err == nil {
			w.text = append(w.text, b[0])
			w.at += 4
			return
		}
	}
	w.bad(2, spec.Errorf(spec.Usage, `\x wants two hexadecimal digits`).WithHint(`a plain backslash is \\, or stands in '…'`))
}

// variable takes $name, ${name} or {{name}}; anything else that begins so is data, but for a malformed ${.
func (w *wordLexer) variable() {
	name, n := variableAt(w.src[w.at:])
	switch {
	case n > 0:
		w.flush(w.at)
		w.parts = append(w.parts, part{text: name, pos: w.at, end: w.at + n, sort: partVariable, quote: w.quote})
		w.at += n
		w.from = w.at
	case w.src[w.at] == '$' && w.at+1 < len(w.src) && w.src[w.at+1] == '{':
		w.bad(2, spec.Errorf(spec.Usage, "${ wants the name of a variable and }").WithHint(`a plain $ is \$, or stands in '…'`))
	default:
		w.plain()
	}
}

func (w *wordLexer) bad(n int, err *spec.Error) {
	w.token.fail(w.lineAt(w.at), err)
	w.flush(w.at)
	w.parts = append(w.parts, part{text: string(w.src[w.at : w.at+n]), pos: w.at, end: w.at + n, sort: partBad, quote: w.quote})
	w.at += n
	w.from = w.at
}

// variableAt returns the name of the variable that src begins with, and the length of the reference.
func variableAt(src []byte) (name string, n int) {
	open, end := 1, ""
	if src[0] == '{' {
		if len(src) < 2 || src[1] != '{' {
			return "", 0
		}
		open, end = 2, "}}"
	} else if len(src) > 1 && src[1] == '{' {
		open, end = 2, "}"
	}
	i := open
	skip := func() {
		for end == "}}" && i < len(src) && (src[i] == ' ' || src[i] == '\t') {
			i++
		}
	}
	skip()
	start := i
	for i < len(src) && isNameByte(src[i], i > start) {
		i++
	}
	name = string(src[start:i])
	skip()
	if name == "" || len(src)-i < len(end) || string(src[i:i+len(end)]) != end {
		return "", 0
	}
	return name, i + len(end)
}

func isNameByte(c byte, inside bool) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || inside && c >= '0' && c <= '9'
}

// IsName tells whether text can be the name of a variable.
func IsName(text string) bool {
	for i := range len(text) {
		if !isNameByte(text[i], i > 0) {
			return false
		}
	}
	return text != ""
}

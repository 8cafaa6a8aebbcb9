package line

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"shardsh/commands/spec"
)

type tokenKind uint8

const (
	tokenWord     tokenKind = iota
	tokenEnd                // ;
	tokenNewline            // a line end that separates
	tokenPipe               // | and the rest of the line
	tokenShell              // ! and the rest of the line
	tokenRedirect           // > or >>
	tokenSuffix             // \G or \J
	tokenComment
	tokenMark // a prompt mark, dropped
)

type token struct {
	kind     tokenKind
	pos, end int
	mark     int  // the end of the operator itself, where text follows it
	what     byte // G or J; 'a' for >>; the operator of a raw text
	line     int
	word     Word
	open     byte // the quote left open, or \ for a backslash at the end
	err      *spec.Error
	errLine  int
}

func (t *token) fail(line int, err *spec.Error) {
	if t.err == nil {
		t.err, t.errLine = err, line
	}
}

// lexer cuts a logical line into tokens. It accepts anything: what is wrong is noted in the token, and it goes on.
type lexer struct {
	src []byte
	at  int
	// more appends a line feed and the next physical line to src; asked only where the line cannot end.
	more func() bool

	lineStart    bool // a prompt mark may stand here
	commandStart bool // ! starts a shell command here

	counted, line int // line is the number of the line that holds src[counted]
}

func newLexer(src []byte) *lexer {
	return &lexer{src: src, lineStart: true, commandStart: true, line: 1}
}

// lineAt returns the line number of an offset; offsets must not decrease.
func (l *lexer) lineAt(pos int) int {
	l.line += bytes.Count(l.src[l.counted:pos], []byte{'\n'})
	l.counted = pos
	return l.line
}

// has tells whether src reaches beyond i, after asking for more where that is possible.
func (l *lexer) has(i int) bool {
	for i >= len(l.src) {
		if l.more == nil || !l.more() {
			return false
		}
	}
	return true
}

func (l *lexer) next() (token, bool) {
	if l.lineStart {
		l.lineStart = false
		if n := promptMark(l.src[l.at:]); n > 0 {
			t := token{kind: tokenMark, pos: l.at, end: l.at + n, line: l.lineAt(l.at)}
			l.at += n
			return t, true
		}
	}
	l.skipBlanks()
	if l.at >= len(l.src) {
		return token{}, false
	}
	t := token{pos: l.at, mark: l.at + 1, line: l.lineAt(l.at)}
	start := l.commandStart
	l.commandStart = false
	switch c := l.src[l.at]; {
	case c == ';':
		l.at++
		t.kind, l.commandStart = tokenEnd, true
	case c == '\n':
		l.at++
		t.kind, l.commandStart, l.lineStart = tokenNewline, true, true
	case c == '#':
		t.kind = tokenComment
		l.at = l.lineEnd(l.at)
	case c == '|', c == '!' && start:
		t.kind, t.what = tokenPipe, c
		if c == '!' {
			t.kind = tokenShell
		}
		l.rawText(&t)
	case c == '>':
		t.kind = tokenRedirect
		l.at++
		if l.at < len(l.src) && l.src[l.at] == '>' {
			l.at++
			t.what = 'a'
		}
		t.mark = l.at
	case l.suffixAt(l.at):
		t.kind, t.what = tokenSuffix, l.src[l.at+1]
		l.at += 2
		t.mark = l.at
	case start && l.quitAt(l.at):
		t.word = Word{Pos: l.at, End: l.at + 2, parts: []part{{text: `\q`, pos: l.at, end: l.at + 2}}}
		l.at += 2
	default:
		w := wordLexer{lexer: l, token: &t}
		w.run()
	}
	t.end = l.at
	return t, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

func (l *lexer) skipBlanks() {
	for l.at < len(l.src) {
		switch c := l.src[l.at]; {
		case isBlank(c):
			l.at++
		case c == '\\':
			n := l.continuation(l.at)
			if n == 0 {
				return
			}
			l.at += n
		default:
			return
		}
	}
}

// continuation returns the length of a backslash and the line end behind it, 0 when there is none at i.
func (l *lexer) continuation(i int) int {
	switch {
	case !l.has(i + 1):
		return 0
	case l.src[i+1] == '\n':
		return 2
	case l.src[i+1] == '\r' && i+2 < len(l.src) && l.src[i+2] == '\n':
		return 3
	}
	return 0
}

func (l *lexer) lineEnd(from int) int {
	if n := bytes.IndexByte(l.src[from:], '\n'); n >= 0 {
		return from + n
	}
	return len(l.src)
}

// rawText takes everything to the end of the line. A backslash before the line end continues it, and stays in the
// text: the system's shell has the same rule.
func (l *lexer) rawText(t *token) {
	for {
		start := l.at
		l.at = l.lineEnd(l.at)
		if !oddBackslashes(bytes.TrimRight(l.src[start:l.at], "\r")) {
			return
		}
		if !l.has(l.at) {
			t.open = '\\'
			t.fail(l.lineAt(start), incomplete(`a line of a script cannot end in a backslash`))
			return
		}
		l.at++
	}
}

// oddBackslashes tells whether text ends in a backslash that is not itself escaped.
func oddBackslashes(text []byte) bool {
	return (len(text)-len(bytes.TrimRight(text, `\`)))%2 == 1
}

// suffixAt tells whether \G or \J stands at i, with nothing of its command behind it but | or >.
func (l *lexer) suffixAt(i int) bool {
	if i+1 >= len(l.src) || l.src[i] != '\\' || l.src[i+1] != 'G' && l.src[i+1] != 'J' {
		return false
	}
	rest := bytes.TrimLeft(l.src[i+2:], " \t\r")
	if len(rest) == 0 {
		return true
	}
	switch rest[0] {
	case ';', '\n', '|', '>':
		return true
	case '#':
		return len(rest) < len(l.src)-i-2
	}
	return false
}

// quitAt tells whether the word \q stands at i, which the shell knows as a command.
func (l *lexer) quitAt(i int) bool {
	if i+1 >= len(l.src) || l.src[i] != '\\' || l.src[i+1] != 'q' {
		return false
	}
	return i+2 == len(l.src) || isBlank(l.src[i+2]) || strings.IndexByte(";\n|>", l.src[i+2]) >= 0
}

func incomplete(format string, args ...any) *spec.Error {
	return spec.Errorf(spec.Usage, "%s: %w", fmt.Sprintf(format, args...), ErrIncomplete)
}

// promptMarks: a mark alone; the glued >>> of a Pegasus prompt, which no redirection can be; any prompt that begins
// with a [label], which no command can be.
var promptMarks = regexp.MustCompile(`^[ \t]*(?:>{1,3}|\$[ \t]` +
	`|(?:` + promptWord + ` )?` + promptWord + `>>>[ \t]` +
	`|\[[a-z -]+\] ` + promptWord + `(?: ` + promptWord + `){0,5}>(?:>>)?[ \t])[ \t]*`)

const promptWord = `[^\s<>;|'"\\$#!\[\]]+`

// promptMark returns the length of the prompt mark that src begins with, 0 for none.
func promptMark(src []byte) int {
	const window = 256 // no prompt is longer, and lines may have megabytes
	src = src[:min(len(src), window)]
	if n := bytes.IndexByte(src, '\n'); n >= 0 {
		src = src[:n]
	}
	return len(promptMarks.Find(src))
}

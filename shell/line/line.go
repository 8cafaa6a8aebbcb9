// Package line is the language of the prompt: it splits a line into commands and words, quotes words back, reads
// scripts, and serves completion and highlighting. There is one lexer (lex.go) under all of them, so that what is
// coloured, what is completed and what is run cannot disagree.
//
//	word word …          a command; words are separated by blanks
//	a ; b                two commands; a line end separates too
//	# …                  a comment, where a word could start; a # inside a word is data
//	\ at a line end      the line goes on
//	'…'                  taken as it stands
//	"…"                  with \" \\ \$ \{ \n \t \r \xHH; any other backslash is data
//	\xHH                 that byte, also outside quotes; \ and another character is that character
//	$v ${v} {{v}}        a variable, outside quotes and in "…"; never split again. A lone $ and $1 are data
//	\G \J                at the end of a command: its answer vertically, as JSON
//	| command            the rest of the line goes to the system's shell, with the answer as its input
//	> file, >> file      the answer goes to a file
//	!command             the rest of the line goes to the system's shell
//
// A prompt mark in front (">>> ", "> ", "$ ", or a whole pasted prompt such as "onebox TableA>>> ") is dropped, which is
// why a redirection needs a command before it. The characters * ~ ? & < ( ) and "->" are data.
//
// Words are bytes, not text: invalid UTF-8 passes through. A NUL byte can only be written \x00.
package line

import (
	"bytes"
	"errors"
	"strings"

	"shardsh/commands/spec"
)

// Limit bounds a logical line, in bytes. A value of 1 MiB takes 4 MiB when every byte is written \xHH.
const Limit = 16 << 20

// ErrIncomplete is in the chain of an error that more input would cure: a quote that is still open, or a backslash at
// the end. A prompt asks for another line, appends a line feed and that line, and parses again.
var ErrIncomplete = errors.New("the line is not complete")

// Command is one command of a line. Either Words or Shell is set.
type Command struct {
	Words    []Word
	Vertical bool   // \G
	JSON     bool   // \J
	Pipe     string // after |: text for the system's shell, to the end of the line
	File     string // after > or >>: the name, or its source text while it holds a variable
	FileWord *Word  // the same as a word; nil when there is no redirection
	Append   bool   // >>
	Shell    string // after a leading !: text for the system's shell, to the end of the line
	Text     string // the source of the command, trimmed, with its pipe, file and format suffix
	Pos      int    // where Text starts in the source; Text[w.Pos-Pos:] is the text from the word w on
	Line     int    // the line on which it starts, counted from 1
}

// Parse splits one logical line into its commands: none for an empty line or a comment. Errors are usage errors.
func Parse(src string) ([]Command, error) {
	if len(src) > Limit {
		return nil, tooLong()
	}
	if i := strings.IndexByte(src, 0); i >= 0 {
		return nil, holdsNUL()
	}
	commands, fault := assemble(newLexer([]byte(src)))
	if fault != nil {
		return nil, fault.err
	}
	return commands, nil
}

func tooLong() *spec.Error {
	return spec.Errorf(spec.Usage, "the line is longer than %d MiB", Limit>>20)
}

func holdsNUL() *spec.Error {
	return spec.Errorf(spec.Usage, "the line holds a NUL byte").WithHint(`write it \x00`)
}

// fault is an error and the line of the source on which it stands.
type fault struct {
	err  *spec.Error
	line int
}

// assemble turns tokens into commands. It reads to the end of the logical line even after a fault, so that a script
// goes on behind it; the first fault is the answer.
func assemble(l *lexer) ([]Command, *fault) {
	a := assembler{lexer: l}
	for {
		t, ok := l.next()
		if !ok {
			break
		}
		if t.err != nil {
			a.fail(t.errLine, t.err)
		}
		a.token(&t)
	}
	a.finish()
	if a.fault != nil {
		return nil, a.fault
	}
	return a.commands, nil
}

type assembler struct {
	lexer    *lexer
	commands []Command
	fault    *fault

	current  Command
	started  bool
	end      int   // where the last token of the current command ends
	redirect token // the > that still wants its file
	waiting  bool
}

func (a *assembler) fail(line int, err *spec.Error) {
	if a.fault == nil {
		a.fault = &fault{err, line}
	}
}

func (a *assembler) failf(t *token, format string, args ...any) {
	a.fail(t.line, spec.Errorf(spec.Usage, format, args...))
}

func (a *assembler) token(t *token) {
	switch t.kind {
	case tokenMark, tokenComment:
		return
	case tokenEnd, tokenNewline:
		a.finish()
		return
	}
	if !a.started {
		a.started = true
		a.current = Command{Pos: t.pos, Line: t.line}
	}
	a.end = t.end
	c := &a.current
	switch t.kind {
	case tokenWord:
		a.word(t)
	case tokenSuffix:
		a.wantsCommand(t)
		c.Vertical, c.JSON = t.what == 'G', t.what == 'J'
	case tokenRedirect:
		a.startRedirect(t)
	case tokenPipe:
		a.wantsCommand(t)
		if c.FileWord != nil || a.waiting {
			a.failf(t, "an answer goes to a file or to a pipe, not to both")
		}
		c.Pipe = a.raw(t)
	case tokenShell:
		c.Shell = a.raw(t)
	}
}

// raw returns text for the system's shell, and ends the command where it ends. Blanks around it go, but for one that a
// backslash keeps.
func (a *assembler) raw(t *token) string {
	source := a.lexer.src[t.mark:t.end]
	text := bytes.TrimRight(source, " \t\r")
	if oddBackslashes(text) && len(text) < len(source) {
		text = source[:len(text)+1]
	}
	a.end = t.mark + len(text)
	text = bytes.TrimLeft(text, " \t\r")
	if len(text) == 0 {
		a.failf(t, "%c wants a command of the system's shell after it", t.what)
	}
	return string(text)
}

func (a *assembler) wantsCommand(t *token) {
	if len(a.current.Words) == 0 {
		a.failf(t, "%s needs a command before it", a.lexer.src[t.pos:t.mark])
	}
}

func (a *assembler) word(t *token) {
	c := &a.current
	switch {
	case a.waiting:
		a.waiting = false
		w := t.word
		c.FileWord = &w
		if text, ok := w.Literal(); ok {
			c.File = text
		} else {
			c.File = string(a.lexer.src[w.Pos:w.End])
		}
	case c.FileWord != nil:
		a.failf(t, "nothing may follow the file of a redirection")
	default:
		c.Words = append(c.Words, t.word)
	}
}

func (a *assembler) startRedirect(t *token) {
	c := &a.current
	a.wantsCommand(t)
	if c.FileWord != nil || a.waiting {
		a.failf(t, "only one redirection fits a command")
	}
	if n := len(c.Words); n > 0 && c.Words[n-1].End == t.pos && isNumber(a.lexer.src[c.Words[n-1].Pos:t.pos]) {
		a.fail(t.line, spec.Errorf(spec.Usage, "descriptors cannot be redirected").
			WithHint("put a blank before > when the number is an argument"))
	}
	if t.end < len(a.lexer.src) && a.lexer.src[t.end] == '&' {
		a.failf(t, "descriptors cannot be redirected")
	}
	c.Append = t.what == 'a'
	a.redirect, a.waiting = *t, true
}

func (a *assembler) finish() {
	if a.waiting {
		a.failf(&a.redirect, "%s wants a file after it", a.lexer.src[a.redirect.pos:a.redirect.end])
	}
	if a.started {
		a.current.Text = string(a.lexer.src[a.current.Pos:a.end])
		a.commands = append(a.commands, a.current)
	}
	a.current, a.started, a.waiting = Command{}, false, false
}

func isNumber(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(text) > 0
}

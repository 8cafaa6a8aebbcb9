package line

import "strings"

// Partial is an unfinished line up to the cursor, as completion wants it.
type Partial struct {
	// Words are those of the command being typed before the one under the cursor, unquoted; a variable stands as
	// written.
	Words []string
	// Current is the word under the cursor up to the cursor, unquoted; Start is where its source begins, so that a
	// completion replaces the source from Start to the cursor by Quote of what it offers.
	Current string
	Start   int
	// Quote is the quote that is open at the cursor, 0 for none.
	Quote byte
	// AfterPipe tells that the cursor is in text which is not ours: after | or !, or in a comment.
	AfterPipe bool
	// Redirect tells that the word under the cursor is the file of a redirection.
	Redirect bool
	// CommandIndex counts the commands before this one in the line.
	CommandIndex int
}

// Complete splits the line up to the byte offset pos, and accepts anything.
func Complete(src string, pos int) Partial {
	pos = max(0, min(pos, len(src)))
	l := newLexer([]byte(src[:pos]))
	p := Partial{Start: pos}
	started := false
	for {
		t, ok := l.next()
		if !ok {
			return p
		}
		touches := t.end == pos
		switch t.kind {
		case tokenMark:
			continue
		case tokenEnd, tokenNewline:
			if started {
				p.CommandIndex++
			}
			p.Words, p.Redirect, p.AfterPipe, started = nil, false, false, false
			continue
		case tokenComment:
			p.AfterPipe = touches
			continue
		case tokenPipe, tokenShell:
			p.AfterPipe = touches
		case tokenRedirect:
			p.Redirect = true
		case tokenWord:
			text := t.word.shown(l.src)
			switch {
			case touches:
				p.Current, p.Start = text, t.pos
				if t.open != '\\' {
					p.Quote = t.open
				}
			case p.Redirect:
				p.Redirect = false
			default:
				p.Words = append(p.Words, text)
			}
		}
		started = true
	}
}

// SpanKind says what a span is, for colouring.
type SpanKind int

const (
	SpanWord     SpanKind = iota
	SpanFlag              // a word that begins with a dash
	SpanString            // in quotes, or text for the system's shell
	SpanVariable          // $v ${v} {{v}}
	SpanComment           // a comment, or a prompt mark that is dropped
	SpanOperator          // ; | ! > >> \G \J
	SpanError             // a malformed escape or variable
)

// Span is a run of the source, in byte offsets.
type Span struct {
	Start, End int
	Kind       SpanKind
}

// Spans cuts the line for highlighting, and accepts anything. The spans are in order and do not overlap; what they
// leave out is blank.
func Spans(src string) []Span {
	l := newLexer([]byte(src))
	var spans []Span
	add := func(start, end int, kind SpanKind) {
		if start < end {
			spans = append(spans, Span{start, end, kind})
		}
	}
	for {
		t, ok := l.next()
		if !ok {
			return spans
		}
		switch t.kind {
		case tokenWord:
			wordSpans(&t, add)
		case tokenNewline:
		case tokenComment, tokenMark:
			add(t.pos, t.end, SpanComment)
		default:
			add(t.pos, t.mark, SpanOperator)
			add(t.mark, t.end, SpanString)
		}
	}
}

func wordSpans(t *token, add func(start, end int, kind SpanKind)) {
	parts := t.word.parts
	plain := SpanWord
	if len(parts) > 0 && parts[0].quote == 0 && parts[0].sort == partText && strings.HasPrefix(parts[0].text, "-") {
		plain = SpanFlag
	}
	at := t.pos
	for _, p := range parts {
		kind := plain
		switch {
		case p.sort == partBad:
			kind = SpanError
		case p.sort == partVariable:
			kind = SpanVariable
		case p.quote != 0:
			kind = SpanString
		}
		add(at, p.pos, plain) // an escaped line end before the part
		add(p.pos, p.end, kind)
		at = p.end
	}
	add(at, t.end, plain)
}

package term

import (
	"bytes"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// key is what one event asks for.
type key int

const (
	keyNone key = iota // swallowed
	keyText            // event.text is typed
	keyEnter
	keyTab
	keyBackTab
	keyEscape
	keyInterrupt // Ctrl-C
	keyEOF       // Ctrl-D
	keySuspend   // Ctrl-Z
	keyAbort     // Ctrl-G
	keyClear
	keyUp
	keyDown
	keyLeft
	keyRight
	keyHome
	keyEnd
	keyBackspace
	keyDelete
	keyWordLeft
	keyWordRight
	keyKillEnd
	keyKillStart
	keyKillBlankWord // Ctrl-W: back to a blank
	keyKillWordLeft  // Alt-Backspace: back to the start of a word
	keyKillWordRight
	keyYank
	keyYankPop
	keyTranspose
	keyUndo
	keySearch
	keySearchNewer
	keyLastArg
	keyRefresh // Wake was called
)

// event is one key, a run of typed text, or a line of a paste.
type event struct {
	key    key
	text   string
	pasted bool
}

const (
	// escapeWait is how long the rest of a key may take; a lone ESC is the Escape key after it.
	escapeWait = 100 * time.Millisecond
	// pasteWait is how long a paste may stall before it counts as ended.
	pasteWait = 2 * time.Second
	// maxPaste bounds a paste; a longer one is dropped whole, since half of it would be another command.
	maxPaste = 16 << 20
	// maxSequence bounds an escape sequence; longer strings (OSC, DCS) are dropped.
	maxSequence = 4096
)

var pasteEnd = []byte("\x1b[201~")

var controlKeys = map[byte]key{
	0x01: keyHome, 0x02: keyLeft, 0x03: keyInterrupt, 0x04: keyEOF, 0x05: keyEnd, 0x06: keyRight, 0x07: keyAbort,
	0x08: keyBackspace, 0x09: keyTab, 0x0a: keyEnter, 0x0b: keyKillEnd, 0x0c: keyClear, 0x0d: keyEnter, 0x0e: keyDown,
	0x10: keyUp, 0x12: keySearch, 0x13: keySearchNewer, 0x14: keyTranspose, 0x15: keyKillStart, 0x17: keyKillBlankWord,
	0x19: keyYank, 0x1a: keySuspend, 0x1f: keyUndo, 0x7f: keyBackspace,
}

// sequenceKeys are the sequences that follow ESC [ or ESC O: those of xterm, rxvt, tmux and the Linux console.
var sequenceKeys = map[string]key{
	"A": keyUp, "B": keyDown, "C": keyRight, "D": keyLeft, "H": keyHome, "F": keyEnd, "Z": keyBackTab,
	"1~": keyHome, "7~": keyHome, "4~": keyEnd, "8~": keyEnd, "3~": keyDelete,
	"1;5C": keyWordRight, "1;5D": keyWordLeft, "1;3C": keyWordRight, "1;3D": keyWordLeft,
	"5C": keyWordRight, "5D": keyWordLeft, "3;5~": keyKillWordRight, "3;3~": keyKillWordRight,
	"M": keyEnter, // ESC O M, Enter of the keypad; ESC [ M is the mouse and handled before
}

var altKeys = map[byte]key{
	'b': keyWordLeft, 'B': keyWordLeft, 'f': keyWordRight, 'F': keyWordRight, 'd': keyKillWordRight, 'D': keyKillWordRight,
	'.': keyLastArg, '_': keyLastArg, 'y': keyYankPop, 'Y': keyYankPop, 0x7f: keyKillWordLeft, 0x08: keyKillWordLeft,
}

// decoder cuts what a terminal sends into events. Reads may cut the stream anywhere: what is incomplete waits.
type decoder struct {
	buf     []byte
	paste   bool // buf holds a paste, without its start mark
	dropped bool // the paste is too long
	scanned int  // bytes of the paste known not to begin the end mark
	afterCR bool
}

// feed takes what was read and answers the events that are complete.
func (d *decoder) feed(b []byte) []event {
	d.buf = append(d.buf, b...)
	var events []event
	for len(d.buf) > 0 {
		if d.paste {
			found := d.endPaste()
			if found == nil {
				break
			}
			events = append(events, found...)
			continue
		}
		ev, n := d.next()
		if n == 0 {
			break
		}
		d.buf = d.buf[n:]
		if ev.key != keyNone {
			events = append(events, ev)
		}
	}
	if len(d.buf) == 0 {
		d.buf = nil
	}
	return events
}

// wait is how long to wait for the rest of what is incomplete before idle is called; 0 when nothing is.
func (d *decoder) wait() time.Duration {
	switch {
	case d.paste:
		return pasteWait
	case len(d.buf) > 0:
		return escapeWait
	}
	return 0
}

// idle says that nothing more came for the time of wait.
func (d *decoder) idle() []event {
	buf := d.buf
	d.buf = nil
	switch {
	case d.paste:
		return d.leavePaste(buf)
	case len(buf) == 1 && buf[0] == 0x1b:
		return []event{{key: keyEscape}}
	case len(buf) > 0 && buf[0] != 0x1b:
		return []event{{key: keyText, text: string(utf8.RuneError)}}
	}
	return nil
}

// next decodes the first event of buf and how many bytes it took, 0 when it is incomplete.
func (d *decoder) next() (event, int) {
	c, afterCR := d.buf[0], d.afterCR
	d.afterCR = c == '\r'
	switch {
	case c == '\n' && afterCR:
		return event{}, 1
	case c == 0x1b:
		return d.escape()
	case c < 0x20 || c == 0x7f:
		return event{key: controlKeys[c]}, 1
	}
	return d.run()
}

// run takes as many whole runes as there are.
func (d *decoder) run() (event, int) {
	n := 0
	for n < len(d.buf) && d.buf[n] >= 0x20 && d.buf[n] != 0x7f && utf8.FullRune(d.buf[n:]) {
		_, size := utf8.DecodeRune(d.buf[n:])
		n += size
	}
	return event{key: keyText, text: clean(string(d.buf[:n]))}, n
}

func (d *decoder) escape() (event, int) {
	if len(d.buf) == 1 {
		return event{}, 0
	}
	switch c := d.buf[1]; c {
	case 0x1b:
		return event{key: keyEscape}, 1
	case '[':
		return d.control()
	case 'O':
		if len(d.buf) < 3 {
			return event{}, 0
		}
		return event{key: sequenceKeys[string(d.buf[2:3])]}, 3
	case ']', 'P', 'X', '^', '_':
		// OSC, DCS, SOS, PM, APC: answers of a terminal, up to BEL or ST. Alt-_ is the only key among them.
		if c == '_' && len(d.buf) == 2 {
			return event{key: keyLastArg}, 2
		}
		return d.stringSequence()
	default:
		if c >= 0x80 {
			if !utf8.FullRune(d.buf[1:]) {
				return event{}, 0
			}
			_, size := utf8.DecodeRune(d.buf[1:])
			return event{}, 1 + size
		}
		return event{key: altKeys[c]}, 2
	}
}

// control decodes ESC [ parameters intermediates final (ECMA-48, 5.4).
func (d *decoder) control() (event, int) {
	b := d.buf[2:]
	switch {
	case len(b) == 0:
		return event{}, 0
	case b[0] == '[': // function keys of the Linux console: ESC [ [ A
		return event{}, complete(d.buf, 4)
	case b[0] == 'M': // a mouse report in the X10 encoding: three bytes follow
		return event{}, complete(d.buf, 6)
	}
	for i, c := range b {
		switch {
		case c >= 0x40 && c <= 0x7e:
			sequence := string(b[:i+1])
			if sequence == "200~" {
				d.paste, d.dropped, d.scanned = true, false, 0
				return event{}, 3 + i
			}
			return event{key: sequenceKeys[sequence]}, 3 + i
		case c < 0x20 || c > 0x7e || i > maxSequence:
			return event{}, 2 + i
		}
	}
	return event{}, 0
}

func complete(b []byte, n int) int {
	if len(b) < n {
		return 0
	}
	return n
}

func (d *decoder) stringSequence() (event, int) {
	for i := 2; i < len(d.buf); i++ {
		switch {
		case d.buf[i] == 0x07:
			return event{}, i + 1
		case d.buf[i] == '\\' && d.buf[i-1] == 0x1b:
			return event{}, i + 1
		case i > maxSequence:
			return event{}, i
		}
	}
	return event{}, 0
}

// endPaste looks for the end mark; nil when it is not there yet. The lines of a paste become events only when all of
// it is here: otherwise its second half could answer a question that its first half caused.
func (d *decoder) endPaste() []event {
	at := bytes.Index(d.buf[d.scanned:], pasteEnd)
	if at >= 0 {
		at += d.scanned
		text := d.buf[:at]
		d.buf = d.buf[at+len(pasteEnd):]
		return d.leavePaste(text)
	}
	if len(d.buf) > maxPaste {
		d.dropped = true
		d.buf = append([]byte(nil), d.buf[len(d.buf)-len(pasteEnd)+1:]...)
	}
	d.scanned = max(0, len(d.buf)-len(pasteEnd)+1)
	return nil
}

func (d *decoder) leavePaste(text []byte) []event {
	d.paste = false
	if d.dropped {
		return []event{{key: keyNone}}
	}
	return pasteEvents(string(text))
}

// pasteEvents turns pasted text into its lines, each followed by Enter, except for the last one. A tab becomes a
// blank: the line has no way to show it.
func pasteEvents(text string) []event {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\t", " ").Replace(text)
	events := []event{}
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			events = append(events, event{key: keyEnter, pasted: true})
		}
		if line = clean(line); line != "" {
			events = append(events, event{key: keyText, text: line, pasted: true})
		}
	}
	return events
}

// clean drops control characters, which a line cannot hold, and makes visible the ones that reorder text: a line must
// read as it will run.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r):
			return -1
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x2028, r == 0x2029:
			return utf8.RuneError
		}
		return r
	}, text)
}

package term

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// decoded feeds a stream in pieces of a size and joins runs of text.
func decoded(d *decoder, stream string, size int) []event {
	var events []event
	for len(stream) > 0 {
		n := min(size, len(stream))
		for _, ev := range d.feed([]byte(stream[:n])) {
			last := len(events) - 1
			if ev.key == keyText && last >= 0 && events[last].key == keyText && events[last].pasted == ev.pasted {
				events[last].text += ev.text
				continue
			}
			if ev.key != keyNone {
				events = append(events, ev)
			}
		}
		stream = stream[n:]
	}
	return events
}

func text(s string) event { return event{key: keyText, text: s} }

func TestDecode(t *testing.T) {
	for stream, want := range map[string][]event{
		"ab\x03c\r":                          {text("ab"), {key: keyInterrupt}, text("c"), {key: keyEnter}},
		"a\r\nb\n":                           {text("a"), {key: keyEnter}, text("b"), {key: keyEnter}},
		"\x1b[A\x1bOA\x1b[1;5D\x1b[3~":       {{key: keyUp}, {key: keyUp}, {key: keyWordLeft}, {key: keyDelete}},
		"\x1bb\x1b.\x1b\x7f":                 {{key: keyWordLeft}, {key: keyLastArg}, {key: keyKillWordLeft}},
		"a\x1b[15;2~b\x1b[[Ac\x1b[M !!d":     {text("abcd")},
		"a\x1b]11;rgb:0/0/0\x1b\\b\x1bPx\ac": {text("abc")},
		"a\x1béb\x1bqc":                      {text("abc")},
		"表格é👩‍👧":                             {text("表格é👩‍👧")},
		"a\u202eb\u0085c":                    {text("a\ufffdbc")},
		"\x1b[200~one\r\ntwo\tx\x1b[A\x03\x1b[201~y": {
			{key: keyText, text: "one", pasted: true},
			{key: keyEnter, pasted: true},
			{key: keyText, text: "two x[A", pasted: true},
			text("y"),
		},
		"\x1b[200~\x1b[201~z": {text("z")},
	} {
		for size := 1; size <= len(stream); size++ {
			var d decoder
			if diff := cmp.Diff(want, decoded(&d, stream, size), cmp.AllowUnexported(event{})); diff != "" {
				t.Fatalf("%q in pieces of %d: %s", stream, size, diff)
			}
			if d.wait() != 0 {
				t.Errorf("%q in pieces of %d: something is left: %q", stream, size, d.buf)
			}
		}
	}
}

func TestDecodeGivesUpOnWhatDoesNotEnd(t *testing.T) {
	for stream, want := range map[string][]event{
		"\x1b":               {{key: keyEscape}},
		"\x1b[":              nil,
		"\x1b[12;":           nil,
		"\x1b]0;title":       nil,
		"\xe8\xa1":           {text("\ufffd")},
		"\x1b[200~half a":    {{key: keyText, text: "half a", pasted: true}},
		"\x1b[200~one\rhalf": {{key: keyText, text: "one", pasted: true}, {key: keyEnter, pasted: true}, {key: keyText, text: "half", pasted: true}},
	} {
		var d decoder
		if got := d.feed([]byte(stream)); len(got) > 0 {
			t.Errorf("%q: %v came too early", stream, got)
		}
		if d.wait() == 0 {
			t.Errorf("%q: nothing is waited for", stream)
		}
		if diff := cmp.Diff(want, d.idle(), cmp.AllowUnexported(event{})); diff != "" {
			t.Errorf("%q: %s", stream, diff)
		}
		if got := d.feed([]byte("x")); d.wait() != 0 || len(got) != 1 || got[0].text != "x" {
			t.Errorf("%q: the key after it is %v", stream, got)
		}
	}
}

// Half of a paste would be another command: one that is too long is dropped whole, and so is its memory.
func TestDecodeDropsAPasteThatIsTooLong(t *testing.T) {
	var d decoder
	d.feed([]byte("\x1b[200~"))
	chunk := []byte(strings.Repeat("x", 1<<16))
	for sent := 0; sent <= maxPaste+len(chunk); sent += len(chunk) {
		if got := d.feed(chunk); got != nil {
			t.Fatalf("%d events", len(got))
		}
		if len(d.buf) > maxPaste+len(chunk) {
			t.Fatalf("%d bytes are held", len(d.buf))
		}
	}
	got := decoded(&d, "\x1b[201~next", 3)
	if diff := cmp.Diff([]event{text("next")}, got, cmp.AllowUnexported(event{})); diff != "" {
		t.Error(diff)
	}
}

// FuzzDecode: whatever a terminal sends, in whatever pieces, gives the same events, and no text that a line cannot
// hold.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"abc\r", "\x1b[A\x1bOB\x1b[200~a\rb\x1b[201~", "\x1b]0;x\x07\xe8\xa1\xa8", "\x1b\x1b[\x1b[M123"} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, stream string, size int) {
		size = max(1, min(size, 64))
		var whole, cut decoder
		events := decoded(&whole, stream, max(1, len(stream)))
		events = append(events, whole.idle()...)
		pieces := decoded(&cut, stream, size)
		pieces = append(pieces, cut.idle()...)
		// Alt-_ is told from the start of an APC only by its end: it may differ.
		if !strings.Contains(stream, "\x1b_") {
			if diff := cmp.Diff(events, pieces, cmp.AllowUnexported(event{})); diff != "" {
				t.Errorf("pieces of %d: %s", size, diff)
			}
		}
		for _, ev := range events {
			if ev.text != clean(ev.text) || !utf8.ValidString(ev.text) {
				t.Errorf("%q is not clean", ev.text)
			}
		}
	})
}

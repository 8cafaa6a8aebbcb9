//go:build unix

package term

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// typed sends keys in one write, Enter included, and checks what was run.
func (r *rig) typed(n int, keys, want string) {
	r.t.Helper()
	r.send(keys + "\r")
	r.ran(n, want)
	r.at(n + 1)
}

func TestKeysInOneWrite(t *testing.T) {
	r := start(t, "plain")
	n := 0
	for _, c := range []struct{ keys, want string }{
		{"alpha beta", "alpha beta"},
		{"\x1b[15;2~a\x1b[1;6Zb\x1bOsc\x1b[<0;3;4Md\x1b]0;title\x07e\x1bP1$r\x1b\\f\x1b[[Ag\x1b[M !!h", "abcdefgh"}, // unknown sequences
		{"one two three\x1bb\x1bbX", "one Xtwo three"},
		{"one two three\x01\x1bd\x1bfY", " twoY three"},
		{"one two\x1b[1;5D\x1b[1;5DZ\x1b[1;5CW", "ZoneW two"},
		{"cut this\x17\x19\x19", "cut thisthis"},
		{"a b c\x17\x17\x19", "a b c"}, // cuts in a row join
		{"first\x15second\x15\x19\x1by", "first"},
		{"head tail\x1b[D\x1b[D\x1b[D\x1b[D\x0b\x01\x19 ", "tail head "},
		{"abc\x1b[H1\x1b[F2\x1b[1~3\x1b[4~4\x1bOD5", "31abc254"},
		{"ab\x1b[D\x1b[3~c\x1b[D\x04", "a"},
		{"ba\x14", "ab"},
		{"word\x17other\x1f\x1f", "word"},
		{"表格 测试\x1b[D\x1b[D插\x7f", "表格 测试"},
		{"naïve 👩‍👩‍👧 é", "naïve 👩‍👩‍👧 é"},
		{"a\x00b\x1cc\x1dd", "abcd"},
	} {
		r.typed(n, c.keys, c.want)
		n++
	}
	r.send("exit\r")
	r.exit(0)
}

func TestCtrlCThenTextInOneWrite(t *testing.T) {
	r := start(t, "plain")
	r.send("half a li\x03next\r")
	r.shows("dropped 0")
	if !r.shows(`ran 1: "next"`).has("0> half a li^C") {
		t.Error("the dropped line does not end in ^C")
	}
	r.at(2)
	r.send("exit\r")
	r.exit(0)
}

// A read may cut the stream anywhere: runes and sequences are put together again.
func TestKeysByteByByte(t *testing.T) {
	r := start(t, "plain")
	keys := "表\x1b[D格\x1b[1;5C末"
	for i := range len(keys) {
		r.send(keys[i : i+1])
	}
	r.send("\r")
	r.ran(0, "格表末")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

func TestTypeAheadStaysInOrder(t *testing.T) {
	r := start(t, "plain")
	r.send("hold\r")
	r.shows("holding")
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("line %d", i))
		r.send(want[i] + "\r")
	}
	r.send("rest")
	r.shows("line 19")
	r.signal(syscall.SIGUSR1)
	for i, text := range want {
		r.rawHas(fmt.Sprintf("ran %d: %q", i+1, text))
	}
	r.line("21> rest")
	r.send(" of it\r")
	r.ran(21, "rest of it")
	r.send("exit\r")
	r.exit(0)
}

func TestInterruptDropsTypeAhead(t *testing.T) {
	r := start(t, "plain")
	paste(r, "child echo begun; sleep 1000", "danger", "more danger", "")
	r.shows("\nbegun")
	r.send("typed danger\r\x03")
	r.shows("child ended")
	if v := r.at(1); strings.Contains(v.raw, `: "danger"`) {
		t.Error("a pasted line survived Ctrl-C")
	}
	r.typed(1, "safe", "safe")
	r.send("exit\r")
	r.exit(0)
}

func paste(r *rig, lines ...string) {
	r.t.Helper()
	r.send("\x1b[200~" + strings.Join(lines, "\r") + "\x1b[201~")
}

func TestPasteOfThreeLines(t *testing.T) {
	r := start(t, "plain")
	r.rawHas(pasteOn)
	r.send("be")
	r.line("0> be")
	paste(r, "gin one", "beta two", "gam\tma", "half")
	r.ran(0, "begin one")
	r.ran(1, "beta two")
	r.ran(2, "gam ma")
	r.line("3> half")
	r.send(" done\r")
	r.ran(3, "half done")
	r.at(4)
	// Lines of any length and rune boundaries anywhere.
	long := strings.Repeat("x", 1023) + "表格"
	paste(r, long, "")
	r.rawHas(fmt.Sprintf("ran 4: %q\r\n", long))
	r.at(5)
	r.send("exit\r")
	r.exit(0)
}

func TestConfirmIgnoresWhatWasTypedBefore(t *testing.T) {
	r := start(t, "plain")
	paste(r, "confirm", "yes", "yes", "")
	r.until("the question", func(v view) bool { return v.row() == "really?" })
	r.send("no, 表\x7f never\r")
	r.shows(`answer "no,  never" <nil>`)
	r.ran(0, "confirm")
	r.at(1) // the pasted lines are gone
	// Ahead by typing, in the same write.
	r.send("confirm\ryes\ryes\r")
	r.until("the question", func(v view) bool { return v.row() == "really?" })
	r.send("\x03")
	r.shows(`answer "" interrupted`)
	r.at(2)
	r.send("confirm\r")
	r.until("the question", func(v view) bool { return v.row() == "really?" })
	r.send("\x04")
	r.shows(`answer "" EOF`)
	r.at(3)
	r.send("\x1b[A\x1b[A\x1b[A\r") // no answer is in the history
	r.until("the question", func(v view) bool { return v.row() == "really?" })
	r.send("1\r")
	r.at(4)
	r.send("exit\r")
	r.exit(0)
}

func TestSecretIsNotShown(t *testing.T) {
	r := start(t, "plain")
	r.send("secret\r")
	r.until("the question", func(v view) bool { return v.row() == "secret:" })
	r.send("Tr0ub4dor \r")
	v := r.shows("secret has 10 bytes, err <nil>")
	if strings.Contains(v.raw, "Tr0ub") {
		t.Error("the secret was shown")
	}
	r.at(1)
	r.send("secret\r")
	r.until("the question", func(v view) bool { return strings.Count(v.raw, "secret: ") == 2 })
	r.send("half\x03")
	r.shows("secret has 0 bytes, err interrupted")
	r.at(2)
	if now := r.modes(); now.Lflag == r.before.Lflag {
		t.Error("the prompt is not raw")
	}
	r.send("exit\r")
	r.exit(0)
}

func TestQuestionEndsBySignal(t *testing.T) {
	r := start(t, "plain")
	r.send("secret\r")
	r.until("the question", func(v view) bool { return v.row() == "secret:" })
	r.signal(syscall.SIGTERM)
	r.exit(128 + int(syscall.SIGTERM))
}

func TestHistory(t *testing.T) {
	r := start(t, "plain")
	for i, text := range []string{"apple one", "banana", "apple two", "apple two", "cherry 'x y'"} {
		r.typed(i, text, text)
	}
	r.typed(5, "\x1b[A\x1b[A\x1b[A", "banana") // the same entry is not shown twice in a row
	r.typed(6, "app\x1b[A\x1b[A", "apple one")
	r.typed(7, "app\x1b[A\x1b[A\x1b[B", "apple one")
	r.send("zz\x1b[A\x1b[A\x1b[B")
	r.line("8> zz") // nothing begins so: the line stays
	r.send("\x15")
	r.typed(8, "x \x1b. \x1b.\x1b.", "x one banana")
	r.send("\x12anan")
	r.line("(history 'anan') x one banana")
	r.send("\x12")
	r.line("(history 'anan') banana")
	r.send("\x12\x12")
	r.line("(no entry with 'anan') banana")
	r.send("\x13")
	r.line("(history 'anan') x one banana")
	r.send("\x07")
	r.line("9>")
	r.send("kept\x12chErry\x7f\x7f\x7f\x7f\x7fherry")
	r.line("(history 'cherry') cherry 'x y'")
	r.send("\x07")
	r.line("9> kept")
	r.send("\x15\x12cherry")
	r.line("(history 'cherry') cherry 'x y'")
	r.send("\x05!")
	r.line("9> cherry 'x y'!")
	r.send("\x15\x12ban\r")
	r.ran(9, "x one banana")
	r.at(10)
	r.send("exit\r")
	r.exit(0)
}

func TestClearScreenKeepsTheLine(t *testing.T) {
	r := start(t, "plain")
	r.typed(0, "first", "first")
	r.send("kept\x0c")
	v := r.line("1> kept")
	if v.y != 0 || v.has("first") {
		t.Errorf("the screen was not cleared:\n%s", v)
	}
	r.send("\r")
	r.ran(1, "kept")
	r.at(2)
	r.send("exit\r")
	r.exit(0)
}

// Output without a line end stays, and the prompt begins a row of its own.
func TestPromptAfterAPartialRow(t *testing.T) {
	r := start(t, "plain")
	r.send("child printf partial\r")
	r.at(1)
	r.shows("partialchild ended")
	r.send("partial\r")
	r.at(2)
	r.send("exit\r")
	r.exit(0)
}

func TestNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer func() { _ = r.Close(); _ = w.Close() }()
	if _, err := NewTerminal(Options{In: r, Out: w}); err != ErrNoTerminal {
		t.Errorf("a pipe is taken for a terminal: %v", err)
	}
	if _, err := NewTerminal(Options{}); err != ErrNoTerminal {
		t.Errorf("nothing is taken for a terminal: %v", err)
	}
}

//go:build unix

package term

import (
	"strings"
	"syscall"
	"testing"

	"github.com/hinshun/vt10x"
)

func TestTabCompletesThenOpensTheMenu(t *testing.T) {
	r := start(t, "plain")
	r.send("tab")
	r.line("0> tab")
	r.send("\t") // what all have in common, and the menu
	v := r.until("the menu", func(v view) bool { return v.row() == "0> table" && v.has("table_alpha") })
	if !v.has("first") || !v.has("tables") || v.has("unique") {
		t.Errorf("the menu is not right:\n%s", v)
	}
	r.send("_")
	r.until("the menu narrows", func(v view) bool { return v.row() == "0> table_" && !v.has("tables") && v.has("table_beta") })
	r.send("\t")
	r.line("0> table_alpha")
	r.send("\x1b[B")
	r.line("0> table_beta")
	r.send("\t") // behind the last one comes what was typed
	r.line("0> table_")
	r.send("\x1b[Z")
	r.line("0> table_beta")
	r.send("\x1b[A")
	r.line("0> table_alpha")
	r.send("\r") // takes it, does not run it
	r.until("the menu is closed", func(v view) bool { return v.row() == "0> table_alpha" && v.x == 15 && !v.has("table_beta") })
	r.send("uni\t--o\tjson")
	r.line("0> table_alpha unique --output=json")
	r.send(" quot\t\r")
	r.ran(0, "table_alpha unique --output=json 'quoted name' ")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

func TestMenuCloses(t *testing.T) {
	r := start(t, "plain")
	open := func() {
		r.send("table\t\t")
		r.until("an open menu", func(v view) bool { return v.row() == "0> table_alpha" && v.has("table_beta") })
	}
	closed := func(line string) {
		r.until("a closed menu", func(v view) bool { return v.row() == line && !v.has("table_beta") })
	}
	open()
	r.send("\x1b") // Escape: what was typed
	closed("0> table")
	r.send("\x15")
	open()
	r.send("X") // any other key takes what is selected
	closed("0> table_alphaX")
	r.send("\x15")
	open()
	r.send("\x03")
	r.shows("0> table_alpha^C")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

func TestMenuScrolls(t *testing.T) {
	r := start(t, "plain")
	r.send("many\t")
	r.shows("1–5 of 40")
	r.send(strings.Repeat("\t", 12))
	r.line("0> many11")
	r.shows("8–12 of 40")
	r.resize(80, 3) // room for two rows
	r.until("a small menu", func(v view) bool { return v.row() == "0> many11" && v.has("of 40") && !v.has("many10") })
	r.resize(80, 1)
	r.line("0> many11")
	r.resize(80, 24)
	r.until("the menu", func(v view) bool { return v.row() == "0> many11" && v.has("of 40") && v.has("many15") })
	r.send("\r\r")
	r.ran(0, "many11 ")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

// A candidate that is being fetched appears without a key, and Tab does then what it would have done.
func TestPendingCandidatesAppearByThemselves(t *testing.T) {
	r := start(t, "slow")
	r.send("table\t")
	r.until("the menu", func(v view) bool { return v.row() == "0> table" && v.has("table_alpha") && v.has("table_beta") })
	r.send("\x15uni\t")
	r.line("0> unique")
	r.send("nothing\t.")
	r.line("0> unique nothing.")
	r.send("\r")
	r.ran(0, "unique nothing.")
	r.send("exit\r")
	r.exit(0)
}

func (r *rig) cell(x, y int) vt10x.Glyph {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.screen.Cell(x, y)
}

func TestHighlightAndHint(t *testing.T) {
	r := start(t, "plain")
	r.send("tables ")
	v := r.until("the hint", func(v view) bool { return v.row() == "0> tables [--detail] [name]" && v.x == 10 })
	if c := r.cell(3, v.y); c.FG != vt10x.Green {
		t.Errorf("a known word has colour %v", c.FG)
	}
	if c := r.cell(0, v.y); c.FG != vt10x.LightRed {
		t.Errorf("the prompt has colour %v", c.FG)
	}
	if c := r.cell(12, v.y); c.FG != vt10x.DarkGrey {
		t.Errorf("the hint has colour %v", c.FG)
	}
	r.send("--x")
	v = r.line("0> tables --x")
	if c := r.cell(11, v.y); c.FG != vt10x.Cyan {
		t.Errorf("a flag has colour %v", c.FG)
	}
	r.send("\x15tablez\x01x")
	v = r.line("0> xtablez")
	if c := r.cell(3, v.y); c.FG != vt10x.Red {
		t.Errorf("an unknown word has colour %v", c.FG)
	}
	r.send("\x15\x0btables \r") // the hint does not stay in the line that ran
	r.ran(0, "tables ")
	r.at(1)
	if !r.at(1).has("0> tables\n") {
		t.Error("the hint stays behind a line that ran")
	}
	r.send("exit\r")
	r.exit(0)
}

func TestNoColorWritesNoColor(t *testing.T) {
	r := start(t, "mono")
	r.send("tables \ttable\t\t")
	r.until("a mark", func(v view) bool { return v.has("> table_alpha") && v.has("  table_beta") })
	r.send("\r\r")
	r.ran(0, "tables table_alpha ")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
	for _, sequence := range strings.Split(string(r.raw), "\x1b[")[1:] {
		if end := strings.IndexAny(sequence, "mABCDHJKhl"); end >= 0 && sequence[end] == 'm' {
			t.Fatalf("a colour was written: ESC [ %s", sequence[:end+1])
		}
	}
}

func TestDumbTerminalGetsNoEscape(t *testing.T) {
	r := launch(t, "dumb", 80, 24)
	r.at(0)
	r.send("hello\x7fp\r")
	r.ran(0, "hellp")
	r.at(1)
	r.send("half\x03")
	r.shows("dropped 1")
	r.at(2)
	r.send("confirm\r")
	r.until("the question", func(v view) bool { return v.row() == "really?" })
	r.send("yes\r")
	r.shows(`answer "yes" <nil>`)
	r.at(3)
	r.send("secret\r")
	r.until("the question", func(v view) bool { return v.row() == "secret:" })
	r.send("hidden\r")
	r.shows("secret has 6 bytes, err <nil>")
	r.at(4)
	r.send("child echo begun; sleep 1000\r")
	r.shows("\nbegun")
	r.send("\x03")
	r.shows("cause interrupted")
	r.at(5)
	r.send("hold\rahead\r") // typed ahead stays in order here too
	r.shows("holding")
	r.signal(syscall.SIGUSR1)
	r.ran(6, "ahead")
	r.at(7)
	r.send("\x04")
	r.exit(0)
	if strings.ContainsRune(string(r.raw), 0x1b) {
		t.Errorf("an escape sequence was written: %q", r.raw)
	}
}

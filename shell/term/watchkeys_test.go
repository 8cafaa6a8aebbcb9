//go:build unix

package term

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTakeKeys(t *testing.T) {
	text := func(s string) event { return event{key: keyText, text: s} }
	enter := event{key: keyEnter}
	for name, c := range map[string]struct {
		queue, left []event
		pressed     string
	}{
		"alone":                {[]event{text("+")}, nil, "+"},
		"several":              {[]event{text("++-"), text("+")}, nil, "++-+"},
		"before a line":        {[]event{text("+ls -l")}, []event{text("ls -l")}, "+"},
		"within a line":        {[]event{text("get a"), text("+"), text("b")}, []event{text("get a"), text("+"), text("b")}, ""},
		"after a line":         {[]event{text("ls"), enter, text("-")}, []event{text("ls"), enter}, "-"},
		"a line that is wiped": {[]event{text("表x"), {key: keyBackspace}, {key: keyBackspace}, text("+")}, []event{text("表x"), {key: keyBackspace}, {key: keyBackspace}}, "+"},
		"a line that is cut":   {[]event{text("x y"), {key: keyKillStart}, text("+")}, []event{text("x y"), {key: keyKillStart}}, "+"},
		"a line recalled":      {[]event{{key: keyUp}, text("+")}, []event{{key: keyUp}, text("+")}, ""},
		"moved about":          {[]event{{key: keyLeft}, text("+")}, []event{{key: keyLeft}}, "+"},
		"pasted":               {[]event{{key: keyText, text: "+", pasted: true}}, []event{{key: keyText, text: "+", pasted: true}}, ""},
	} {
		left, pressed, _ := takeKeys(c.queue, "+-")
		if pressed != c.pressed || !slices.Equal(left, c.left) {
			t.Errorf("%s: pressed %q, left %v", name, pressed, left)
		}
		if again, pressed, suspend := takeKeys(left, "+-"); pressed != "" || suspend || !slices.Equal(again, left) {
			t.Errorf("%s, looked at again: pressed %q, left %v", name, pressed, again)
		}
	}
	left, pressed, suspend := takeKeys([]event{text("a"), {key: keySuspend}, text("+")}, "+-")
	if want := []event{text("a"), text("+")}; !suspend || pressed != "" || !slices.Equal(left, want) {
		t.Errorf("with Ctrl-Z: pressed %q, left %v, suspend %t", pressed, left, suspend)
	}
}

// watching begins to watch keys and waits until the terminal is set for it.
func (r *rig) watching() {
	r.t.Helper()
	r.send("keys\r")
	r.shows("watching true")
	r.keyed()
}

// keyed waits until keys come one by one and without echo, and are signals still.
func (r *rig) keyed() {
	r.t.Helper()
	r.until("keys are read", func(view) bool { return r.modes() == keyModes(r.before) })
	if r.modes().Lflag&unix.ISIG == 0 {
		r.t.Error("Ctrl-C would be no signal")
	}
}

func TestWatchKeys(t *testing.T) {
	r := start(t, "plain")
	r.watching()
	r.send("+")
	r.rawHas("pressed +")
	r.send("-")
	r.rawHas("pressed -")
	// Whatever else is typed is for the next prompts, in its order.
	r.send("get a+b-c\r")
	r.forget()
	r.send("+")
	r.rawHas("pressed +")
	r.send("second\rwhat is lef")
	r.forget()
	r.signal(syscall.SIGUSR1)
	r.rawHas("watched, cause <nil>")
	r.ran(1, "get a+b-c")
	r.ran(2, "second")
	if v := r.line("3> what is lef"); strings.Count(strings.Join(v.rows, "\n"), "get a+b-c") != 2 {
		t.Errorf("what is typed ahead is not seen just at the prompt and where it ran:\n%s", v)
	}
	r.send("t\r")
	r.ran(3, "what is left")
	r.send("hold\r")
	r.shows("holding")
	r.cooked()
	r.signal(syscall.SIGUSR1)
	r.at(5)
	r.send("exit\r")
	r.exit(0)
}

// What is typed at the very end is either read by the watch or by the prompt, and never lost.
func TestWatchKeysAgainstTheNextPrompt(t *testing.T) {
	r := start(t, "plain")
	for n := range 20 {
		r.forget()
		r.send("keys\r")
		r.rawHas("watching true")
		text := strings.Repeat("typed at the end ", n)
		r.signal(syscall.SIGUSR1)
		r.send("x" + text + "\r")
		r.rawHas("ran " + strconv.Itoa(2*n+1) + `: "x` + text + `"`)
		r.at(2*n + 2)
		r.send("\x0c")
		r.at(2*n + 2)
	}
	r.send("exit\r")
	r.exit(0)
}

func TestWatchKeysInterrupted(t *testing.T) {
	r := start(t, "plain")
	for n := range 3 {
		r.forget()
		r.send("keys\r")
		r.rawHas("watching true")
		r.keyed()
		r.send("danger\r\x03")
		r.rawHas("watched, cause interrupted")
		r.at(n + 1)
		if v := r.at(n + 1); strings.Contains(v.raw, `: "danger"`) {
			t.Error("what was typed ahead survived Ctrl-C")
		}
	}
	r.send("exit\r")
	r.exit(0)
}

func TestWatchKeysEndedBySignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		r := start(t, "plain")
		r.watching()
		r.signal(sig)
		r.exit(128 + int(sig))
	}
	r := start(t, "plain")
	r.watching()
	r.signal(syscall.SIGQUIT)
	r.exit(2)
}

func TestWatchKeysStopped(t *testing.T) {
	r := start(t, "jobs")
	r.watching()
	for n := range 3 {
		r.send("\x1a")
		r.until("stopped", func(v view) bool { return strings.Count(v.raw, "job stopped") == n+1 })
		if now := r.modes(); now != r.before {
			t.Errorf("modes while stopped: %+v, before: %+v", now, r.before)
		}
		r.send("\r")
		r.until("continued", func(v view) bool { return strings.Count(v.raw, "job continued") == n+1 })
		r.keyed()
		r.send("+")
		r.until("pressed", func(v view) bool { return strings.Count(v.raw, "pressed +") == n+1 })
	}
	// In the background the terminal is somebody else's.
	r.send("\x1a")
	r.until("stopped", func(v view) bool { return strings.Count(v.raw, "job stopped") == 4 })
	r.send("bg\r")
	r.shows("job in the background")
	r.send("+\r")
	r.shows(`the shell read "+\n"`)
	r.keyed()
	r.send("+")
	r.until("pressed", func(v view) bool { return strings.Count(v.raw, "pressed +") == 4 })
	r.send("\x03")
	r.shows("watched, cause interrupted")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

func TestWatchKeysStoppedFromOutside(t *testing.T) {
	r := start(t, "plain")
	r.watching()
	r.signal(syscall.SIGSTOP)
	r.control(func(fd int) error { return setModes(fd, r.before, reqSetModes) })
	r.signal(syscall.SIGCONT)
	r.keyed()
	r.send("+")
	r.shows("pressed +")
	// Nobody could continue an orphaned process group: Ctrl-Z does nothing, as without keys.
	r.send("\x1a-")
	r.shows("pressed -")
	r.keyed()
	r.signal(syscall.SIGUSR1)
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

// Lines that no prompt has read may watch keys, too; what is typed meanwhile is the prompt's, if there is one.
func TestTakeOver(t *testing.T) {
	r := launch(t, "before", 80, 24)
	r.shows("watching true")
	r.keyed()
	r.send("+first\rrest")
	r.shows("pressed +")
	r.send("\x7f\x7f\x7fun \xe8\xa1") // a rune is cut in two
	r.signal(syscall.SIGUSR1)
	r.ran(0, "first")
	r.send("\xa8")
	r.line("1> run 表")
	r.send("\r")
	r.ran(1, "run 表")
	r.at(2)
	r.send("exit\r")
	r.exit(0)
}

func TestWatchKeysLeavesNothing(t *testing.T) {
	r := start(t, "plain")
	counts := func(n int) string {
		r.forget()
		r.send("memory\r")
		r.rawHas("ran " + strconv.Itoa(n))
		_, text, _ := strings.Cut(r.at(n+1).raw, "memory is ")
		fields := strings.Fields(text)
		return fields[1] + " goroutines, " + fields[2] + " files"
	}
	n := 0
	once := func() {
		r.forget()
		r.send("keys\r")
		r.rawHas("watching true")
		r.send("+")
		r.rawHas("pressed +")
		r.signal(syscall.SIGUSR1)
		r.rawHas("ran " + strconv.Itoa(n))
		n++
		r.at(n)
	}
	once() // what the runtime keeps for signals is there from then on
	before := counts(n)
	n++
	for range 10 {
		once()
		r.send("\x0c")
		r.at(n)
	}
	if after := counts(n); after != before {
		t.Errorf("%s before, %s after", before, after)
	}
	r.send("exit\r")
	r.exit(0)
}

//go:build unix

package term

import (
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// quiet is how long nothing may arrive before a question is asked: the rest of a paste is still on its way.
	quiet = 50 * time.Millisecond
	// quietAtMost bounds the wait for it.
	quietAtMost = 3 * time.Second
)

// Confirm asks a question and reads one line, see LineReader.
func (t *Terminal) Confirm(question string) (string, error) { return t.ask(question, askingModes) }

// ReadSecret asks without echo, see LineReader.
func (t *Terminal) ReadSecret(question string) (string, error) { return t.ask(question, hiddenModes) }

func (t *Terminal) ask(question string, change func(unix.Termios) unix.Termios) (string, error) {
	if t.closed {
		return "", io.EOF
	}
	t.signals.settle()
	t.waiting.Store(true)
	defer t.waiting.Store(false)
	t.broken.Store(false)
	defer t.Restore()
	t.discard()
	modes := change(t.modes)
	if err := t.arm(modes, reqSetModesFlush); err != nil && isEnd(err) {
		return "", io.EOF
	}
	_, _ = t.out.WriteString(cleanLines(question))
	return t.readCooked(&modes)
}

// discard throws away what was typed and pasted so far, and goes on until nothing more comes.
func (t *Terminal) discard() {
	silent := rawModes(t.modes)
	silent.Lflag |= unix.ISIG
	_ = t.arm(silent, reqSetModes)
	last := time.Now().Add(quietAtMost)
	for time.Now().Before(last) {
		readable, woken := t.waitInput(quiet)
		if woken && !readable {
			continue
		}
		if !readable {
			break
		}
		if n, err := readTTY(t.fd, t.chunk[:]); n == 0 || err != nil {
			break
		}
	}
	t.decoder = decoder{}
	t.dropQueue()
}

// readPlain reads a line without any drawing.
func (t *Terminal) readPlain(p Prompt) (string, error) {
	_, _ = t.out.WriteString(cleanLines(p.Text))
	return t.readCooked(nil)
}

// readCooked reads one line as the kernel edits it. modes, when given, are set again after the process was stopped.
func (t *Terminal) readCooked(modes *unix.Termios) (string, error) {
	var line []byte
	for {
		if sig := t.signal.Load(); sig != nil {
			return "", sig
		}
		if t.broken.Swap(false) {
			_, _ = t.out.WriteString("\n")
			t.dropQueue()
			return "", ErrInterrupted
		}
		if t.continued.Swap(false) && modes != nil {
			_ = t.arm(*modes, reqSetModes)
		}
		if readable, _ := t.waitInput(time.Second); !readable {
			continue
		}
		n, err := readTTY(t.fd, t.chunk[:])
		if n <= 0 || err != nil {
			if err != nil && !isEnd(err) {
				continue
			}
			return string(line), endOf(line)
		}
		line = append(line, t.chunk[:n]...)
		if text, whole := strings.CutSuffix(string(line), "\n"); whole {
			return text, nil
		}
	}
}

// endOf is the error for a line that the end of input cut short: none, if there is something on it.
func endOf(line []byte) error {
	if len(line) > 0 {
		return nil
	}
	return io.EOF
}

// cleanLines is clean that keeps line ends.
func cleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

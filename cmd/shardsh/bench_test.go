package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/creack/pty"
)

// startRuns is how often each program is started; the median of each is compared.
const startRuns = 15

// BenchmarkFirstPrompt compares the time from starting the shell to its first prompt, on a terminal and with a fresh
// sandbox behind it, with starting and ending a Go program that does nothing.
func BenchmarkFirstPrompt(b *testing.B) {
	empty := emptyProgram(b)
	for range b.N {
		var ours, theirs []time.Duration
		for range startRuns {
			ours = append(ours, untilPrompt(b))
			started := time.Now()
			if err := exec.Command(empty).Run(); err != nil {
				b.Fatal(err)
			}
			theirs = append(theirs, time.Since(started))
		}
		o, t := median(ours), median(theirs)
		fmt.Printf("BENCH first_prompt ours=%.1f reference=%.1f ratio=%.1f unit=ms (an empty Go program from start to end; bar: ours <= 100)\n",
			ms(o), ms(t), float64(o)/float64(t))
		if o > 100*time.Millisecond {
			b.Errorf("the first prompt takes %s", o)
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func emptyProgram(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	source := filepath.Join(dir, "empty.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	binary := filepath.Join(dir, "empty")
	if out, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return binary
}

// untilPrompt starts the shell on a terminal and answers when its prompt was there.
func untilPrompt(b *testing.B) time.Duration {
	b.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), isolated(b.TempDir())...)
	started := time.Now()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 100})
	if err != nil {
		b.Fatal(err)
	}
	defer tty.Close()
	if err := tty.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		b.Fatal(err)
	}
	var seen []byte
	chunk := make([]byte, 4096)
	for !bytes.Contains(seen, []byte("onebox>>> ")) {
		n, err := tty.Read(chunk)
		if err != nil {
			b.Fatalf("no prompt: %v\n%s", err, seen)
		}
		seen = append(seen, chunk[:n]...)
	}
	took := time.Since(started)
	if _, err := tty.Write([]byte{4}); err != nil { // Ctrl-D
		b.Fatal(err)
	}
	for err == nil {
		_, err = tty.Read(chunk)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return took
}

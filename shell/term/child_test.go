//go:build unix

package term

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary, started with childEnv set, is the program the pty tests type into: a loop that echoes its lines and
// knows a few words.
const childEnv = "SHARDSH_TERM_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "jobs":
		os.Exit(jobControl())
	default:
		os.Exit(child(os.Getenv(childEnv)))
	}
}

// toy is an Assistant with a few words, some of which must be fetched first.
type toy struct {
	mu      sync.Mutex
	wake    func()
	slow    time.Duration // what fetching takes; 0 for words at hand
	known   map[string]bool
	history []string
	none    bool
	wait    sync.WaitGroup
}

var toyWords = []Item{
	{Text: "table_alpha", Help: "first"},
	{Text: "table_beta", Help: "second"},
	{Text: "tables", Help: "list"},
	{Text: "'quoted name'", Show: "quoted name"},
	{Text: "unique"},
	{Text: "--output="},
}

func (a *toy) Complete(text string, pos int) Completions {
	if a.none {
		return Completions{}
	}
	if text == "assistant panics" {
		panic("the assistant is broken")
	}
	start := strings.LastIndexByte(text[:pos], ' ') + 1
	word := text[start:pos]
	found := Completions{Start: start}
	if a.slow > 0 && !a.fetched(word) {
		found.Pending = true
		return found
	}
	for _, item := range toyWords {
		if word != "" && (strings.HasPrefix(item.Text, word) || strings.HasPrefix(item.Show, word)) {
			found.Items = append(found.Items, item)
		}
	}
	if word == "many" {
		for i := range 40 {
			found.Items = append(found.Items, Item{Text: fmt.Sprintf("many%02d", i)})
		}
	}
	return found
}

// fetched reports whether a word's candidates are there, and has them fetched.
func (a *toy) fetched(word string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	done, asked := a.known[word]
	if !asked {
		a.known[word] = false
		a.wait.Add(1)
		time.AfterFunc(a.slow, func() {
			defer a.wait.Done()
			a.mu.Lock()
			a.known[word] = true
			a.mu.Unlock()
			a.wake()
		})
	}
	return done
}

func (a *toy) Spans(text string) []Span {
	word, _, _ := strings.Cut(text, " ")
	style := StyleError
	if strings.HasPrefix(word, "table") {
		style = StyleCommand
	}
	spans := []Span{{0, len(word), style}}
	if at := strings.Index(text, "--"); at > 0 {
		spans = append(spans, Span{at, len(text), StyleFlag})
	}
	return spans
}

func (a *toy) Hint(text string) string {
	if text == "tables " {
		return "[--detail] [name]"
	}
	return ""
}

func (a *toy) History() []string { return a.history }

// child runs the loop. mode lists options: dumb, mono, bare (no candidates), slow.
func child(mode string) int {
	a := &toy{known: map[string]bool{}, none: strings.Contains(mode, "bare")}
	if strings.Contains(mode, "slow") {
		a.slow = 100 * time.Millisecond
	}
	if strings.Contains(mode, "nohup") {
		signal.Ignore(syscall.SIGHUP)
	}
	var before *Terminal
	if strings.Contains(mode, "before") {
		before, _ = NewTerminal(Options{In: os.Stdin, Out: os.Stderr, Dumb: true})
		watchKeys(before)
	}
	t, err := NewTerminal(Options{
		In: os.Stdin, Out: os.Stdout, Assistant: a,
		Color: !strings.Contains(mode, "mono"), Dumb: strings.Contains(mode, "dumb"),
	})
	if err != nil {
		fmt.Printf("no terminal: %v\n", errors.Is(err, ErrNoTerminal))
		return 2
	}
	if before != nil {
		t.TakeOver(before)
	}
	a.wake = t.Wake
	defer func() {
		_ = t.Close()
		_ = t.Close()
		a.wait.Wait()
		if r := recover(); r != nil {
			fmt.Printf("recovered: %.40v\n", r)
			os.Exit(3)
		}
	}()
	return loop(t, a)
}

func loop(t *Terminal, a *toy) int {
	for n := 0; ; n++ {
		text, err := t.ReadLine(Prompt{Text: fmt.Sprintf("%d> ", n), Color: "red"})
		var sig *SignalError
		switch {
		case errors.As(err, &sig):
			fmt.Printf("signal: %v\n", sig.Signal)
			return 128 + int(sig.Signal.(syscall.Signal))
		case err == io.EOF:
			fmt.Println("end of input")
			return 0
		case errors.Is(err, ErrInterrupted):
			fmt.Printf("dropped %d\n", n)
			continue
		case err != nil:
			fmt.Println("error:", err)
			return 1
		}
		a.history = append(a.history, text)
		if text == "exit" {
			return 0
		}
		run(t, text)
		fmt.Printf("ran %d: %q\n", n, text)
	}
}

func run(t *Terminal, text string) {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "panic":
		panic("a command panicked")
	case "child":
		runChild(rest)
	case "stubborn":
		stubborn()
	case "hold":
		hold()
	case "keys":
		watchKeys(t)
	case "confirm":
		answer, err := t.Confirm("really? ")
		fmt.Printf("answer %q %v\n", answer, err)
	case "secret":
		answer, err := t.ReadSecret("secret: ")
		fmt.Printf("secret has %d bytes, err %v\n", len(answer), err)
	case "partial":
		fmt.Print("no line end")
	case "title":
		fmt.Print("\x1b]2;mine\a")
	case "size":
		fmt.Printf("size %dx%d\n", t.Width(), t.Height())
	case "memory":
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fds, _ := os.ReadDir("/proc/self/fd")
		fmt.Printf("memory is %d %d %d\n", m.HeapAlloc, runtime.NumGoroutine(), len(fds))
	case "cpu":
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		fmt.Printf("cpu is %d\n", (u.Utime.Nano()+u.Stime.Nano())/1000)
	}
}

// runChild runs a program until it ends or Ctrl-C ends the context.
func runChild(command string) {
	ctx, stop := Running(context.Background(), nil)
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGINT {
		<-ctx.Done() // the same Ctrl-C is on its way to us
	}
	stop()
	fmt.Printf("child ended, cause %v\n", CauseOf(ctx))
}

// stubborn is a command that does not look at its context.
func stubborn() {
	abandoned := make(chan struct{})
	ctx, stop := Running(context.Background(), func() { close(abandoned) })
	defer stop()
	fmt.Println("stubborn begins")
	<-ctx.Done()
	fmt.Println("cancelled once")
	<-abandoned
	fmt.Println("abandoned")
}

// watchKeys runs until SIGUSR1 or Ctrl-C and tells of keys.
func watchKeys(t *Terminal) {
	ctx, stop := Running(context.Background(), nil)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGUSR1)
	defer signal.Stop(end)
	unwatch, ok := t.WatchKeys("+-", func(key rune) { fmt.Printf("pressed %c\n", key) })
	fmt.Printf("watching %t\n", ok)
	select {
	case <-ctx.Done():
	case <-end:
	}
	unwatch()
	unwatch()
	stop()
	fmt.Printf("watched, cause %v\n", CauseOf(ctx))
}

// hold runs until SIGUSR1.
func hold() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGCONT)
	defer signal.Stop(c)
	fmt.Println("holding")
	for <-c == syscall.SIGCONT {
		fmt.Println("the command goes on")
	}
}

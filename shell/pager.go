package shell

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"shardsh/commands/spec"
)

// pagerPatience is how long a result is held back to find out whether it needs a pager. What comes more slowly is shown
// as it comes.
const pagerPatience = 300 * time.Millisecond

// pagerSink writes a result to the terminal, or into a pager once it has more lines than the screen.
type pagerSink struct {
	out     io.Writer
	height  int
	command string

	mu      sync.Mutex
	held    bytes.Buffer
	lines   int
	direct  bool // to the terminal, without a pager
	timer   *time.Timer
	cmd     *exec.Cmd
	in      io.WriteCloser
	failure error
}

// pagerCommand answers what shows long results, "" for nothing.
func (s *Shell) pagerCommand(getenv func(string) string) string {
	switch configured := s.option("pager").Value; configured {
	case "off":
		return ""
	case "auto":
		for _, name := range []string{"SHARDSH_PAGER", "PAGER"} {
			if v := getenv(name); v != "" {
				return v
			}
		}
		if _, err := exec.LookPath("less"); err != nil {
			return ""
		}
		return "less -FRSX"
	default:
		return configured
	}
}

// pagedSink is standard output at the prompt.
func (s *Shell) pagedSink() *sink {
	command := s.pagerCommand(os.Getenv)
	if s.terminal == nil || command == "" {
		return nil
	}
	p := &pagerSink{out: s.stdout, height: s.terminal.Height(), command: command}
	p.timer = time.AfterFunc(pagerPatience, p.giveUp)
	return &sink{Writer: p, terminal: true, width: s.width, finish: p.finish}
}

func (p *pagerSink) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.failure != nil:
		return 0, p.failure
	case p.direct:
		return p.out.Write(b)
	case p.in != nil:
		return p.in.Write(b)
	}
	p.lines += bytes.Count(b, []byte("\n"))
	p.held.Write(b)
	if p.lines < p.height-1 {
		return len(b), nil
	}
	p.timer.Stop()
	return len(b), p.start()
}

// start opens the pager on what was held; without one everything goes to the terminal.
func (p *pagerSink) start() error {
	p.cmd = osCommand(context.Background(), p.command)
	p.cmd.Stdout, p.cmd.Stderr = p.out, os.Stderr
	in, err := p.cmd.StdinPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		p.cmd = nil
		return p.release()
	}
	p.in = in
	_, err = p.in.Write(p.held.Bytes())
	p.held.Reset()
	return err
}

// release shows what was held on the terminal, and from then on all of it.
func (p *pagerSink) release() error {
	p.direct = true
	_, err := p.out.Write(p.held.Bytes())
	p.held.Reset()
	return err
}

func (p *pagerSink) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.direct && p.in == nil {
		p.failure = p.release()
	}
}

// finish waits until the reader of the pager is done. One who leaves early has seen enough: that is no failure.
func (p *pagerSink) finish(err error) error {
	p.timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.in == nil {
		if !p.direct {
			err = errors.Join(err, p.release())
		}
		return single(err)
	}
	p.in.Close()
	werr := p.cmd.Wait()
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	var exit *exec.ExitError
	if err == nil && werr != nil && !errors.As(werr, &exit) {
		return &spec.Error{Kind: spec.Failed, Op: "show the result with " + p.command, Err: werr, Hint: "option pager off does without"}
	}
	return err
}

// single unwraps a joined error that holds one.
func single(err error) error {
	if e, ok := err.(interface{ Unwrap() []error }); ok && len(e.Unwrap()) == 1 {
		return e.Unwrap()[0]
	}
	return err
}

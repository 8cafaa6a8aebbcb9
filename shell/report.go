package shell

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"shardsh/shell/render"
)

// How often progress is drawn: on a terminal one line is redrawn, elsewhere a plain line is added now and then.
const (
	progressTerminal = 200 * time.Millisecond
	progressPlain    = 30 * time.Second
)

// stepReport implements spec.Report: it keeps the last detail and draws progress on stderr.
type stepReport struct {
	shell *Shell
	text  string

	mu      sync.Mutex
	detail  string
	started time.Time
	drawn   time.Time
	line    bool // a line is on the terminal that has to be wiped
}

func (s *Shell) newReport(text string) *stepReport {
	now := time.Now()
	return &stepReport{shell: s, text: text, started: now, drawn: now}
}

// Detail implements spec.Report.
func (r *stepReport) Detail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.detail = fmt.Sprintf(format, args...)
}

// Progress implements spec.Report.
func (r *stepReport) Progress(done, total int64, unit string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	every := progressPlain
	if r.shell.errTerminal {
		every = progressTerminal
	}
	if time.Since(r.drawn) < every {
		return
	}
	r.drawn = time.Now()
	text := fmt.Sprintf("%s: %d %s", r.text, done, unit)
	if total > 0 {
		text = fmt.Sprintf("%s: %s %d/%d %s%s", r.text, bar(done, total), done, total, unit, r.eta(done, total))
	}
	if r.detail != "" {
		text += " — " + r.detail
	}
	text = render.Escape(text)
	if !r.shell.errTerminal {
		fmt.Fprintln(r.shell.stderr, text)
		return
	}
	if w := r.shell.width(); w > 0 && len([]rune(text)) >= w {
		text = string([]rune(text)[:w-1])
	}
	fmt.Fprintf(r.shell.stderr, "\r%s\x1b[K", text)
	r.line = true
}

func (r *stepReport) eta(done, total int64) string {
	if done <= 0 || done >= total {
		return ""
	}
	left := time.Duration(float64(time.Since(r.started)) / float64(done) * float64(total-done))
	return ", " + left.Round(time.Second).String() + " left"
}

func bar(done, total int64) string {
	const width = 20
	n := int(min(max(done*width/total, 0), width))
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}

// end wipes the progress line and answers the detail.
func (r *stepReport) end() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line {
		fmt.Fprint(r.shell.stderr, "\r\x1b[K")
	}
	return r.detail
}

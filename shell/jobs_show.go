package shell

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	xterm "golang.org/x/term"

	"shardsh/commands/spec"
	"shardsh/shell/render"
)

// speed is how fast a job goes, per second.
type speed struct {
	Rows  float64 `json:"rows"` // of its unit
	Bytes float64 `json:"bytes"`
}

// meter measures the speed of a job over the last seconds.
type meter struct {
	started time.Time
	from    spec.Figures // when this run began
	seen    []sample     // about one for each slice of the window, oldest first
}

type sample struct {
	at          time.Time
	done, bytes int64
}

const (
	meterWindow = 5 * time.Second
	meterSlice  = 250 * time.Millisecond
)

func (m *meter) add(at time.Time, f spec.Figures) {
	s := sample{at, f.Done, f.Bytes}
	if n := len(m.seen); n > 1 && at.Sub(m.seen[n-2].at) < meterSlice {
		m.seen[n-1] = s
	} else {
		m.seen = append(m.seen, s)
	}
	for len(m.seen) > 2 && at.Sub(m.seen[1].at) >= meterWindow {
		m.seen = m.seen[1:]
	}
}

// now is the speed of the last seconds.
func (m *meter) now(at time.Time) speed {
	if len(m.seen) == 0 {
		return speed{}
	}
	first, last := sample{m.started, m.from.Done, m.from.Bytes}, m.seen[len(m.seen)-1]
	if m.seen[0].at.After(m.started.Add(meterSlice)) && len(m.seen) > 1 {
		first = m.seen[0]
	}
	return between(first, last, at.Sub(first.at))
}

// average is the speed of this run.
func (m *meter) average(at time.Time, f spec.Figures) speed {
	return between(sample{m.started, m.from.Done, m.from.Bytes}, sample{at, f.Done, f.Bytes}, at.Sub(m.started))
}

func between(first, last sample, took time.Duration) speed {
	if took <= 0 {
		return speed{}
	}
	return speed{
		Rows: max(0, float64(last.done-first.done)/took.Seconds()), Bytes: max(0, float64(last.bytes-first.bytes)/took.Seconds()),
	}
}

// byBytes tells of figures that bytes say more about: no two files are alike.
func byBytes(f spec.Figures) bool { return f.TotalBytes > 0 && (f.Total <= 0 || f.Unit == "files") }

// share is how much of a job is done, from 0 to 1; false when nobody knows.
func share(f spec.Figures) (float64, bool) {
	switch {
	case f.Total > 0 && !byBytes(f):
		return min(1, float64(f.Done)/float64(f.Total)), true
	case f.TotalBytes > 0:
		return min(1, float64(f.Bytes)/float64(f.TotalBytes)), true
	}
	return 0, false
}

// remaining is how long the rest will take at a speed; false when nobody knows.
func remaining(f spec.Figures, v speed) (time.Duration, bool) {
	rest, pace := float64(f.Total-f.Done), v.Rows
	if byBytes(f) {
		rest, pace = float64(f.TotalBytes-f.Bytes), v.Bytes
	}
	if f.Total <= 0 && f.TotalBytes <= 0 || pace <= 0 || rest < 0 {
		return 0, false
	}
	const longest = 1000 * time.Hour
	return time.Duration(min(rest/pace, longest.Seconds()) * float64(time.Second)).Round(time.Second), true
}

// progressText is one line about a running job: `12s 3/8 partitions 1234567 rows 104321 rows/s 12.3 MB/s 45% 1m20s left;
// skipped 3; 1 partition waits`.
func progressText(busy time.Duration, f spec.Figures, v speed) string {
	parts := []string{busy.Round(time.Second).String()}
	if f.Parts > 0 {
		parts = append(parts, fmt.Sprintf("%d/%d partitions", f.PartsDone, f.Parts))
	}
	unit := f.Unit
	if unit == "" {
		unit = "rows"
	}
	if f.Parts == 0 || unit != "partitions" { // what counts them says so once
		parts = append(parts, fmt.Sprintf("%d %s", f.Done, unit))
	}
	parts = append(parts, fmt.Sprintf("%.0f %s/s", v.Rows, unit))
	if f.Bytes > 0 || f.TotalBytes > 0 {
		parts = append(parts, fmt.Sprintf("%.1f MB/s", v.Bytes/1e6))
	}
	if part, known := share(f); known {
		text := fmt.Sprintf("%.0f%%", 100*part)
		if f.Estimated {
			text = "~" + text
		}
		parts = append(parts, text)
	}
	if rest, known := remaining(f, v); known {
		parts = append(parts, rest.String()+" left")
	}
	text := strings.Join(parts, " ")
	for _, c := range f.Counts {
		if c.N != 0 {
			text += fmt.Sprintf("; %s %d", c.Name, c.N)
		}
	}
	if f.Held != "" {
		text += "; " + f.Held
	}
	return text
}

// summary is what is said of a job of the plan that has ended. The caller holds mu.
func (r *jobRun) summary() string {
	f, now := r.status.Figures, time.Now()
	took := now.Sub(r.meter.started)
	v := r.meter.average(now, f)
	text := progressText(took, spec.Figures{Done: f.Done, Unit: f.Unit, Bytes: f.Bytes, Counts: f.Counts}, v)
	if r.status.Detail != "" {
		text = r.status.Detail + "; " + text
	}
	return text
}

// How often a running job is drawn: on a terminal one line is redrawn, elsewhere a plain line is added, and in the log of
// one in the background fewer.
const (
	jobRedraw  = 200 * time.Millisecond
	jobLine    = time.Second
	jobLogLine = 10 * time.Second
	jobPulse   = time.Second // how often status.json is written
	// followPause is how often it is looked whether a job of another process has ended.
	followPause = 50 * time.Millisecond
)

// jobDisplay shows on standard error how far something has come, until it ends.
type jobDisplay struct{ stop, gone chan struct{} }

// glance is what is seen of a running job at one moment.
type glance struct {
	busy    time.Duration
	figures spec.Figures
	now     speed
	detail  string
	limit   spec.Rate
}

// showJob shows a job that this process runs, and has status.json say so to the others.
func (s *Shell) showJob(r *jobRun, text string) *jobDisplay {
	every := jobLine
	if r.status.Background {
		every = jobLogLine
	}
	written := time.Now()
	return s.display(text, every, func(now time.Time) glance {
		if now.Sub(written) >= jobPulse {
			written = now
			_ = r.keep(false) // Save tells of a disk that is full
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return glance{now.Sub(r.meter.started), r.status.Figures, r.meter.now(now), r.status.Detail, r.rate}
	})
}

// follow shows a job that another process runs, until it ends.
func (s *Shell) follow(ctx context.Context, f *foundJob) error {
	seen := *f // the display has f to itself until it ends
	var limit spec.Rate
	display := s.display(f.spec.Title, jobLine, func(time.Time) glance {
		if a, err := f.ask(ctx, jobRequest{Op: "show"}); err == nil {
			f.status, limit = a.Status, a.Rate
		}
		st := f.status
		return glance{time.Duration(st.Busy * float64(time.Second)), st.Figures, st.Now, st.Detail, limit}
	})
	unwatch := s.watchKeys(ctx, steering{f.id(), f.ask})
	err := error(nil)
	for seen.alive && err == nil {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(followPause):
			err = seen.read()
		}
	}
	unwatch()
	display.end()
	*f = seen
	return err
}

// live asks the process that runs a job for its figures of this moment; where it does not answer, those on disk will do.
func (f *foundJob) live(ctx context.Context) {
	if !f.alive {
		return
	}
	if a, err := f.ask(ctx, jobRequest{Op: "show"}); err == nil {
		f.status, f.limit = a.Status, &a.Rate
	}
}

// redraws reports whether a line of standard error can be drawn again.
func (s *Shell) redraws() bool { return s.errTerminal && !s.dumb }

// display draws what look answers.
func (s *Shell) display(text string, every time.Duration, look func(time.Time) glance) *jobDisplay {
	d := &jobDisplay{stop: make(chan struct{}), gone: make(chan struct{})}
	live, quiet := s.redraws(), !s.option("progress").Bool()
	tick := min(every, jobPulse)
	if live {
		tick = jobRedraw
	}
	go func() {
		defer close(d.gone)
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		said := time.Now()
		for {
			select {
			case <-d.stop:
				if live && !quiet {
					fmt.Fprint(s.stderr, "\r\x1b[K")
				}
				return
			case now := <-ticker.C:
				seen := look(now)
				switch {
				case quiet:
				case live:
					fmt.Fprintf(s.stderr, "\r%s\x1b[K", cutTo(render.Escape(liveText(text, seen)), s.errWidth()))
				case now.Sub(said) >= every-tick/2:
					said = now
					fmt.Fprintln(s.stderr, render.Escape(seen.text()))
				}
			}
		}
	}()
	return d
}

func (d *jobDisplay) end() {
	close(d.stop)
	<-d.gone
}

func (g glance) text() string {
	text := progressText(g.busy, g.figures, g.now)
	if g.detail == "" {
		return text
	}
	return text + " — " + g.detail
}

// liveText is the line on a terminal: a bar, where the share is known, and the limit, where there is one, before the figures.
func liveText(text string, g glance) string {
	figures := g.text()
	if g.limit != (spec.Rate{}) {
		figures = "limit " + g.limit.String() + " " + figures
	}
	if part, known := share(g.figures); known {
		return bar(int64(part*1000), 1000) + " " + figures
	}
	return text + ": " + figures
}

// errWidth is how many columns the terminal of standard error has now, 0 when it is none.
func (s *Shell) errWidth() int {
	if s.errFile == nil || !s.errTerminal {
		return 0
	}
	width, _, err := xterm.GetSize(int(s.errFile.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// cutTo shortens a line to less than a terminal's width, 0 for as long as it is.
func cutTo(text string, width int) string {
	if width <= 0 {
		return text
	}
	return runewidth.Truncate(text, width-1, "")
}

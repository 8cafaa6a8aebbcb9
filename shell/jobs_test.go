package shell

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/commands/spec"
)

// counting is a job that counts to a number, one save a step.
type counting struct {
	to       int64
	identity map[string]string
	class    spec.Class
	began    []int64             // where each run began
	at       func(n int64) error // called before a step, nil to go on
}

func (c *counting) word() spec.Command {
	w := change("count", func() *spec.Plan {
		return &spec.Plan{Title: "count", Name: "victim", Steps: []spec.Step{{
			Text: "count", Objects: []string{"victim"}, Class: c.class,
			Job: &spec.Job{Name: "count", Identity: c.identity, Run: c.run},
		}}}
	})
	w.Reads = func(*spec.Call) bool { return c.class == spec.Read }
	return w
}

func (c *counting) run(ctx context.Context, w spec.Work) error {
	var n int64
	if _, err := w.Restore(&n); err != nil {
		return err
	}
	c.began = append(c.began, n)
	for ; n < c.to; n++ {
		if err := errors.Join(ctx.Err(), c.at(n)); err != nil {
			return err
		}
		w.Show(spec.Figures{Done: n + 1, Total: c.to, Unit: "rows", Bytes: 10 * (n + 1)})
		if err := w.Save(n + 1); err != nil {
			return err
		}
	}
	return nil
}

func newCounting(to int64) *counting {
	return &counting{to: to, identity: map[string]string{"source": "1"}, class: spec.Risky, at: func(int64) error { return nil }}
}

// stopAt has the counting fail at a number, once.
func (c *counting) stopAt(n int64, err error) {
	c.at = func(now int64) error {
		if now == n && err != nil {
			failed := err
			err = nil
			return failed
		}
		return nil
	}
}

func TestJobRunsAndIsDone(t *testing.T) {
	c := newCounting(5)
	b := newBench(t, c.word())
	b.want("count\n", ExitRefused)
	if _, err := os.Stat(b.jobs.dir); err == nil {
		t.Error("a job was made of what was not confirmed")
	}
	b.want("count --yes\n", ExitDone)
	b.wantText("5 rows")
	b.want("jobs --output json\n", ExitDone)
	b.wantText(`"id":"j1","command":"count --yes","state":"done","progress":100,"done":5,"unit":"rows"`)
	b.want("job resume j1\n", ExitRefused)
	b.want("job remove j1; jobs\n", ExitDone)
	b.want("job show j1\n", ExitFailed)
	b.want("count --yes; job show j2\n", ExitDone) // a number is not given twice
}

func TestJobIsResumed(t *testing.T) {
	for name, failure := range map[string]error{
		"failed": errors.New("no space"), "interrupted": context.Canceled, "partly": spec.Errorf(spec.PartlyDone, "some is left"),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCounting(5)
			b := newBench(t, c.word())
			c.stopAt(3, failure)
			if code := b.run("count --yes\n"); code == ExitDone {
				t.Fatal("it did not fail")
			}
			b.wantText("job resume j1")
			b.want("job resume j1\n", ExitDone) // as it was confirmed then
			if len(c.began) != 2 || c.began[1] != 3 {
				t.Errorf("the runs began at %v", c.began)
			}
			b.want("job show j1 --output json\n", ExitDone)
			b.wantText(`"state":"done"`)
			b.wantText(`"runs":2`)
		})
	}
}

func TestJobThatIsNotWhatItWasIsRefused(t *testing.T) {
	c := newCounting(5)
	b := newBench(t, c.word())
	c.stopAt(3, errors.New("no space"))
	b.want("count --yes\n", ExitFailed)
	c.identity = map[string]string{"source": "2"}
	b.want("job resume j1\n", ExitRefused)
	b.wantText(`source was "1" and is "2"`)
	c.identity = map[string]string{"source": "1"}
	c.class = spec.Destroy
	b.want("job resume j1\n", ExitRefused) // more is at stake now
	b.wantText("not confirmed")
	b.want("job resume j1 --yes=victim\n", ExitDone)
	if len(c.began) != 2 || c.began[1] != 3 {
		t.Errorf("the runs began at %v", c.began)
	}
}

func TestJobThatOnlyReads(t *testing.T) {
	c := newCounting(3)
	c.class = spec.Read
	b := newBench(t, c.word())
	b.session.options["read_only"] = "true"
	c.stopAt(2, errors.New("no"))
	b.want("count\n", ExitFailed)
	b.want("job resume j1\n", ExitDone)
	if _, err := os.Stat(b.audit.path); err == nil {
		t.Error("what only reads is in the audit log")
	}
}

func TestJobKeepsNoSecret(t *testing.T) {
	b := newBench(t, newCounting(3).word())
	b.want("count --yes --password hunter2planted\n", ExitRefused)
	b.wantText("holds a secret")
	if left, _ := filepath.Glob(filepath.Join(b.jobs.dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// damaged are ways to harm a file.
var damaged = map[string]func(text []byte) []byte{
	"torn":    func(text []byte) []byte { return text[:len(text)-1] },
	"flipped": func(text []byte) []byte { text[len(text)-1] ^= 1; return text },
	"empty":   func([]byte) []byte { return nil },
}

func TestDamagedJournal(t *testing.T) {
	for name, harm := range damaged {
		t.Run(name, func(t *testing.T) {
			c := newCounting(5)
			b := newBench(t, c.word())
			c.stopAt(3, errors.New("no space"))
			b.want("count --yes\n", ExitFailed)
			path := filepath.Join(b.jobs.dir, "j1", "count.journal")
			hurt := func(path string) {
				t.Helper()
				text, err := os.ReadFile(path)
				if err == nil {
					err = os.WriteFile(path, harm(text), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			hurt(path)
			c.stopAt(2, errors.New("again"))
			b.want("job resume j1\n", ExitFailed)
			b.wantText("count.journal is damaged")
			if c.began[1] != 2 {
				t.Errorf("it went on at %d", c.began[1])
			}
			hurt(path + ".old")
			b.want("job resume j1\n", ExitFailed)
			b.wantText("is damaged")
			if len(c.began) != 2 {
				t.Errorf("it began again: %v", c.began)
			}
			if err := errors.Join(os.Remove(path), os.Remove(path+".old")); err != nil {
				t.Log(err)
			}
			b.want("job resume j1\n", ExitFailed)
			b.wantText("is gone; it was saved 3 times")
		})
	}
}

func TestJobWasKilledBetweenTwoRenames(t *testing.T) {
	c := newCounting(5)
	b := newBench(t, c.word())
	c.stopAt(3, errors.New("no space"))
	b.want("count --yes\n", ExitFailed)
	if err := os.Remove(filepath.Join(b.jobs.dir, "j1", "count.journal")); err != nil {
		t.Fatal(err)
	}
	b.want("job resume j1\n", ExitDone)
	if c.began[1] != 2 || strings.Contains(b.err.String(), "damaged") {
		t.Errorf("it went on at %v: %s", c.began, b.err)
	}
}

// another is a second shell with the state directory of the first.
func (b *bench) another(words ...spec.Command) *bench {
	b.t.Helper()
	o := newBench(b.t, words...)
	o.jobs = b.jobs
	return o
}

// held starts a counting in the background of the test which waits at a number, and answers what ends that wait.
func (b *bench) held(c *counting, n int64, script string) (goOn func(), code <-chan int) {
	b.t.Helper()
	there, going, ended := make(chan struct{}), make(chan struct{}), make(chan int, 1)
	c.at = func(now int64) error {
		if now == n {
			close(there)
			<-going
		}
		return nil
	}
	go func() { ended <- ExitCode(b.script(context.Background(), strings.NewReader(script), "test")) }()
	select {
	case <-there:
	case code := <-ended:
		b.t.Fatalf("it ended with %d: %s", code, b.err)
	}
	return func() { close(going) }, ended
}

func TestJobFromAnotherShell(t *testing.T) {
	c := newCounting(5)
	b := newBench(t, c.word())
	var rates []spec.Rate
	w := c.word()
	inner := w.Change
	w.Change = func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
		p, err := inner(ctx, call)
		p.Steps[0].Job.Rate = spec.Rate{Rows: 7}
		p.Steps[0].Job.Run = func(ctx context.Context, work spec.Work) error {
			rates = append(rates, work.Rate())
			err := c.run(ctx, work)
			rates = append(rates, work.Rate())
			return err
		}
		return p, err
	}
	b.words = newVocabulary(append([]spec.Command{w}, builtins(b.Shell)...))
	goOn, code := b.held(c, 3, "count --yes\n")
	o := b.another()
	o.want("jobs --output json\n", ExitDone)
	o.wantText(`"state":"running","progress":60,"done":3`)
	o.want("job resume j1\n", ExitRefused)
	o.wantText("is running")
	o.want("job remove j1 --yes\n", ExitRefused)
	o.want("job rate j1 50rows/s,1MB/s\n", ExitDone)
	o.wantText("it keeps to 50rows/s,1MB/s")
	cancelled := make(chan int, 1)
	go func() { cancelled <- o.run("job cancel j1\n") }()
	f, err := b.jobs.find("j1")
	if err != nil {
		t.Fatal(err)
	}
	for { // until the request has come
		if a, err := f.ask(t.Context(), jobRequest{Op: "show"}); err != nil || a.Status.Cancelled != "" {
			break
		}
	}
	goOn()
	if got := <-code; got != ExitInterrupted {
		t.Errorf("the cancelled job ended with %d: %s", got, b.err)
	}
	if got := <-cancelled; got != ExitDone {
		t.Errorf("job cancel ended with %d: %s", got, o.err)
	}
	o.wantText("it is cancelled")
	o.want("job rate j1 none\n", ExitRefused)
	b.wantText("cancelled by " + userName())
	c.at = func(int64) error { return nil }
	b.want("job resume j1\n", ExitDone)
	want := []spec.Rate{{Rows: 7}, {Rows: 50, Bytes: 1e6}, {Rows: 50, Bytes: 1e6}, {Rows: 50, Bytes: 1e6}}
	if !slices.Equal(rates, want) {
		t.Errorf("the rates were %v, want %v", rates, want)
	}
}

func TestJobOfAPlanFile(t *testing.T) {
	c := newCounting(5)
	b := newBench(t, c.word())
	file := filepath.Join(b.dir, "plan.json")
	b.want("count --plan="+file+"\n", ExitDone)
	c.stopAt(3, errors.New("no space"))
	b.want("apply "+file+" --yes\n", ExitFailed)
	b.want("job resume j1\n", ExitDone)
	if len(c.began) != 2 || c.began[1] != 3 {
		t.Errorf("the runs began at %v", c.began)
	}
}

func TestFinishedJobsArePruned(t *testing.T) {
	c := newCounting(1)
	b := newBench(t, c.word())
	c.stopAt(0, errors.New("no"))
	b.want("count --yes\n", ExitFailed)
	for range keptJobs + 2 {
		b.want("count --yes\n", ExitDone)
	}
	ids := b.jobs.ids()
	if len(ids) != keptJobs+1 || ids[0] != "j53" || ids[len(ids)-2] != "j4" || ids[len(ids)-1] != "j1" {
		t.Errorf("left are %v", ids)
	}
	b.want("jobs\n", ExitDone)
	if n := strings.Count(b.out.String(), "count"); n != recentJobs {
		t.Errorf("%d jobs are listed", n)
	}
	b.want("jobs --all\n", ExitDone)
	if n := strings.Count(b.out.String(), "count"); n != keptJobs+1 {
		t.Errorf("%d jobs are listed", n)
	}
	if all, broken := b.jobs.list(); len(all) != keptJobs+1 || len(broken) > 0 || all[0].id() != "j1" || all[0].status.State != jobFailed {
		t.Errorf("the list is %v %v", all, broken)
	}
}

func TestBrokenFolderIsToldOf(t *testing.T) {
	b := newBench(t, newCounting(1).word())
	b.want("count --yes; count --yes\n", ExitDone)
	if err := os.WriteFile(filepath.Join(b.jobs.dir, "j1", "spec.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.want("jobs\n", ExitDone)
	b.wantText("j1/spec.json")
	b.wantText("j2")
}

func TestProgressText(t *testing.T) {
	f := spec.Figures{
		Done: 1234567, Total: 2743482, Unit: "rows", Bytes: 150e6, PartsDone: 3, Parts: 8,
		Counts: []spec.Count{{Name: "skipped", N: 3}, {Name: "expired"}}, Held: "1 partition waits",
	}
	for want, got := range map[string]string{
		"12s 3/8 partitions 1234567 rows 18861 rows/s 12.3 MB/s 45% 1m20s left; skipped 3; 1 partition waits": progressText(12*time.Second, f, speed{18861.4, 12.3e6}),
		"0s 0 rows 0 rows/s": progressText(0, spec.Figures{}, speed{}),
		"1s 7 files 7 files/s 1.0 MB/s ~50% 1s left": progressText(time.Second,
			spec.Figures{Done: 7, Unit: "files", Bytes: 1e6, TotalBytes: 2e6, Estimated: true}, speed{7, 1e6}),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMeterForgetsWhatIsLongAgo(t *testing.T) {
	start := time.Now()
	m := meter{started: start, from: spec.Figures{Done: 1000, Bytes: 10000}}
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	if v := m.now(at(1)); v != (speed{}) {
		t.Errorf("before anything it is %v", v)
	}
	for i := range 101 { // ten seconds at 100/s, then none
		m.add(at(float64(i)/10), spec.Figures{Done: 1000 + int64(10*i), Bytes: 10000 + int64(20*i)})
	}
	if v := m.now(at(10)); v.Rows < 95 || v.Rows > 105 || v.Bytes < 190 || v.Bytes > 210 {
		t.Errorf("it is %v", v)
	}
	if v := m.average(at(10), spec.Figures{Done: 2000, Bytes: 12000}); v != (speed{100, 200}) {
		t.Errorf("the average is %v", v)
	}
	for i := range 80 {
		m.add(at(10+float64(i)/10), spec.Figures{Done: 2000, Bytes: 12000})
	}
	if v := m.now(at(18)); v.Rows != 0 {
		t.Errorf("standing still it is %v", v)
	}
	if len(m.seen) > 2+2*int(meterWindow/meterSlice) {
		t.Errorf("%d samples are kept", len(m.seen))
	}
}

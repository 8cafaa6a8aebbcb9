//go:build integration && !windows

package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// rowWriter is a process that writes rows to a table of a served sandbox.
type rowWriter struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Closer
	done chan struct{}

	mu    sync.Mutex
	acked []string
}

func startRowWriter(t *testing.T, s *served, table string) *rowWriter {
	t.Helper()
	w := &rowWriter{t: t, cmd: exec.Command(os.Args[0]), done: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), writerTarget+"="+s.address()+" "+table)
	w.cmd.Stderr = os.Stderr
	in, err := w.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.in = in
	go func() {
		defer close(w.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			w.mu.Lock()
			w.acked = append(w.acked, lines.Text())
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		w.cmd.Process.Kill()
		<-w.done
		w.cmd.Wait()
	})
	return w
}

func (w *rowWriter) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// goesOn waits until many more rows are acknowledged.
func (w *rowWriter) goesOn() {
	w.t.Helper()
	before := w.count()
	eventually(w.t, "rows are acknowledged", func() bool { return w.count() >= before+100 })
}

// check ends the writer and demands every row that was acknowledged.
func (w *rowWriter) check(s *served, table string) {
	w.t.Helper()
	w.in.Close()
	<-w.done
	out, err := s.shell("use " + table + " > /dev/null\nfull_scan --output jsonl -h prefix -x w\n")
	if err != nil {
		w.t.Fatal(err)
	}
	there := map[string]bool{}
	for line := range strings.Lines(out) {
		var row struct {
			Hash  string `json:"hash_key"`
			Value string `json:"value"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			w.t.Fatalf("%v: %s", err, line)
		}
		there[row.Hash] = row.Value == row.Hash
	}
	for _, hash := range w.acked {
		if !there[hash] {
			w.t.Fatalf("the row %s was acknowledged and is not among the %d there are; %d were acknowledged", hash, len(there), len(w.acked))
		}
	}
	w.t.Logf("%d rows acknowledged, %d there", len(w.acked), len(there))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about that %s", what)
		}
	}
}

// must runs lines in a shell of another process.
func (s *served) must(script string) string {
	s.t.Helper()
	out, err := s.shell(script)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// address is that of the sandbox's meta servers.
func (s *served) address() string {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	found := regexp.MustCompile(`onebox = (\d\S+)`).FindSubmatch(text)
	if found == nil {
		s.t.Fatalf("no address in %s", text)
	}
	return string(found[1])
}

// The meta server answers everything and cures nothing while this point is armed: what a shell waits for does not come
// about before the drill wants it to.
const (
	holdCuring  = "sandbox break meta.skipped:cure 1000000000 > /dev/null\n"
	allowCuring = "sandbox break meta.skipped:cure 0 > /dev/null\n"
)

// has demands texts on a screen or in an output.
func has(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// answered waits for the prompt after a line that was entered.
func (c *console) answered(line string) string {
	c.t.Helper()
	return c.until("the prompt after "+line, func(screen string) bool {
		at := strings.LastIndex(screen, ">>> "+line)
		return at >= 0 && strings.Contains(screen[at+len(line):], ">>>") && strings.HasSuffix(screen, ">>>")
	})
}

// run enters a line and answers the screen at the next prompt.
func (c *console) run(line string) string {
	c.t.Helper()
	c.enter(line)
	return c.answered(line)
}

// TestDrillAtTheTerminal: a node dies while rows are written; doctor says what is wrong and what helps; the help is
// planned, begun, interrupted in the middle and begun again; the node comes back. No acknowledged row is lost.
func TestDrillAtTheTerminal(t *testing.T) {
	s := serve(t, t.TempDir())
	w := startRowWriter(t, s, "demo")
	c := openConsole(t, 70, 150, "SHARDSH_CONFIG="+s.config, "SHARDSH_TIMING=off")
	c.prompts(1)
	w.goesOn()
	has(t, c.run("doctor"), "healthy    : yes", "any 1 of 3 nodes")

	s.must(holdCuring)
	c.run("sandbox kill .32:34801")
	c.run(`wait --until 'any(rows, .status == "UNALIVE")' nodes`)
	c.clear()
	has(t, c.run("doctor"),
		"healthy    : no", "node_down", "no_leader", "few_replicas", "TableA", "demo",
		"1 of 4 partitions: no leader: neither reads nor writes (1)", "4 of 4 partitions: fewer live replicas than wanted (0, 1, 2, 3)",
		"nothing: each node listed below is needed", "offlineendpoint 127.0.", "they stop taking writes")

	c.clear()
	has(t, c.run("offlineendpoint .32 --plan"), "wait until no partition counts on 127.0.", "risky", "take the dead 127.0.")

	c.enter("offlineendpoint .32")
	c.see("risky. Go on? [y/N]")
	c.keys("y\r")
	c.see("partitions still count on it") // in the middle
	c.keys("\x03")
	screen := c.see("hint: to go on: offlineendpoint .32")
	has(t, screen, "interrupted: 0 of 1 steps done", "| interrupted |", " partitions still count on it")

	c.clear()
	c.enter("offlineendpoint .32")
	c.see("risky. Go on? [y/N]")
	c.keys("y\r")
	c.see("partitions still count on it")
	s.must(allowCuring)
	c.see("every partition has a primary")
	w.goesOn()
	c.clear()
	c.run("sandbox start .32:34801")
	c.run(`wait --until 'all(rows, .status == "ALIVE")' nodes`)
	c.run("recoverendpoint .32")
	c.clear()
	has(t, c.run("wait --until 'verdict.healthy' doctor"), "healthy    : yes", "any 1 of 3 nodes")
	w.goesOn()
	c.enter("exit")
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
	w.check(s, "demo")
}

// TestDrainAtTheTerminal: a node that serves is taken out of service, step by step. The meta server's answer to the second
// step is lost and Ctrl-C ends the waiting: what was done is taken back, and later all of it is done.
func TestDrainAtTheTerminal(t *testing.T) {
	s := serve(t, t.TempDir())
	w := startRowWriter(t, s, "demo")
	c := openConsole(t, 70, 150, "SHARDSH_CONFIG="+s.config, "SHARDSH_TIMING=off", "SHARDSH_TIMEOUT=1h")
	c.prompts(1)
	w.goesOn()
	s.must("sandbox break meta.received:propose-balancer > /dev/null\n")
	drain := func() {
		t.Helper()
		c.clear()
		c.enter("offlineendpoint .32")
		c.see("risky. Go on? [y/N]")
		c.keys("y\r")
	}
	drain()
	s.must(`wait --until 'any(rows, .point == "meta.received:propose-balancer" and .armed == 0)' sandbox break > /dev/null` + "\n")
	c.keys("\x03")
	screen := c.see("to go on: offlineendpoint .32; to go back: undo")
	has(t, strings.ReplaceAll(screen, "\n", ""), "outcome unknown", "read back: it had not happened", "it may still happen: look again before you run it again")
	for outcome, want := range map[string]int{"| done ": 1, "| unknown ": 1, "| not run ": 15} {
		if got := strings.Count(screen, outcome); got != want {
			t.Errorf("%d steps with the outcome %q, want %d:\n%s", got, outcome, want, screen)
		}
	}
	has(t, c.run("doctor --filter 'finding != nil'"), "out_of_service")

	c.clear()
	has(t, c.run("undo"), "let replicas be placed on 127.0.")
	if screen := c.run("doctor"); !strings.Contains(screen, "healthy    : yes") || strings.Contains(screen, "out_of_service") {
		t.Errorf("after undo:\n%s", screen)
	}
	drain()
	c.see("take the replica of demo/3 off 127.0.")
	if screen := c.answered("offlineendpoint .32"); strings.Count(screen, "| done ") != 17 {
		t.Errorf("not every step was done:\n%s", screen)
	}
	w.goesOn()
	c.run("recoverendpoint .32")
	c.clear()
	has(t, c.run("wait --until 'verdict.healthy' doctor"), "healthy    : yes")
	w.goesOn()
	w.check(s, "demo")
}

// script starts a shell on lines, as a pipe would.
func (s *served) script(lines string) (cmd *exec.Cmd, out, errs *safeBuffer) {
	s.t.Helper()
	cmd = exec.Command(program, "--config", s.config, "-o", "plain", "--trace")
	cmd.Env = append(os.Environ(), isolated(s.dir)...)
	cmd.Stdin = strings.NewReader(lines)
	out, errs = &safeBuffer{}, &safeBuffer{}
	cmd.Stdout, cmd.Stderr = out, errs
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, out, errs
}

// safeBuffer can be read while a process writes to it.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// audit reads what shells recorded.
func (s *served) audit() []auditLine {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "state", "shardsh", "audit.jsonl"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		s.t.Fatal(err)
	}
	var all []auditLine
	for line := range bytes.Lines(text) {
		var l auditLine
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		if err := json.Unmarshal(line, &l); err != nil {
			s.t.Fatalf("%v: %s", err, line)
		}
		all = append(all, l)
	}
	return all
}

type auditLine struct {
	Phase, Line, Status, User, Digest, Class, Answer, Error string
	PID                                                     int
	Code, Changed                                           *int
}

// takingOut waits until a script has recorded that it takes the node out of service, and then looked twice whether it is.
func (s *served) takingOut(pid int, trace *safeBuffer) {
	s.t.Helper()
	eventually(s.t, "the script has begun to take the node out of service", func() bool {
		return slices.ContainsFunc(s.audit(), func(l auditLine) bool {
			return l.Phase == "intent" && l.Line == "offlineendpoint .32 --yes" && l.PID == pid
		})
	})
	looks := func() int { return strings.Count(trace.String(), wire.ListNodes.Name) }
	before := looks()
	eventually(s.t, "the script waits", func() bool { return looks() >= before+2 })
}

// TestDrillAsAScript is the same without a terminal: the script is stopped by a signal in the middle of its third line
// and exits with 130; the rest of it is run again from there.
func TestDrillAsAScript(t *testing.T) {
	s := serve(t, t.TempDir())
	w := startRowWriter(t, s, "demo")
	w.goesOn()
	s.must(holdCuring)
	const rest = `offlineendpoint .32 --yes
sandbox start .32:34801
wait --until 'all(rows, .status == "ALIVE")' nodes
recoverendpoint .32 --yes
wait --until 'verdict.healthy' doctor
`
	cmd, out, errs := s.script(`sandbox kill .32:34801
wait --until 'any(rows, .status == "UNALIVE")' nodes
` + rest)
	s.takingOut(cmd.Process.Pid, errs)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("the script ended with %v\n%s%s", err, out, errs)
	}
	has(t, errs.String(), "stdin:3: offlineendpoint: 0 of 1 steps done: wait until no partition counts on 127.0.", "hint: to go on: offlineendpoint .32 --yes")
	if strings.Contains(out.String(), "start node") {
		t.Errorf("the script went on after it was interrupted:\n%s", out)
	}

	cmd, out, errs = s.script(rest)
	s.takingOut(cmd.Process.Pid, errs)
	s.must(allowCuring)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs)
	}
	has(t, out.String(), "healthy     yes", "any 1 of 3 nodes")
	w.goesOn()
	w.check(s, "demo")
}

// TestLostAnswerAtTheTerminal: a table is created and the answer is lost. Where the state can be read back it is; where it
// cannot, the outcome is unknown. The same line again makes no second table either way.
func TestLostAnswerAtTheTerminal(t *testing.T) {
	s := serve(t, t.TempDir())
	c := openConsole(t, 50, 150, "SHARDSH_CONFIG="+s.config, "SHARDSH_TIMING=off", "SHARDSH_TIMEOUT=1h")
	c.prompts(1)
	lost := func() {
		t.Helper()
		s.must(`wait --until 'any(rows, .point == "meta.accepted:create" and .armed == 0)' sandbox break > /dev/null` + "\n")
	}
	s.must("sandbox break meta.accepted:create > /dev/null\n")
	c.enter("create first -p 2")
	lost()
	c.keys("\x03")
	screen := c.answered("create first -p 2")
	has(t, screen, "| done    | outcome unknown: no answer came; read back: first exists with that shape, id 3 |", "| not run |",
		"interrupted: 1 of 2 steps done", "hint: to go on: create first -p 2; to go back: undo")

	s.must("sandbox break meta.accepted:create > /dev/null\n")
	c.clear()
	c.enter("create second -p 2")
	lost()
	s.must("sandbox break meta.before-answer:list-apps 1000000 > /dev/null\n")
	c.keys("\x03")
	screen = c.answered("create second -p 2")
	has(t, strings.ReplaceAll(screen, "\n", ""), "| unknown | create table second: 127.0.", "reading the state back:", "hint: look before you run it again")

	s.must("sandbox break meta.before-answer:list-apps 0 > /dev/null\n")
	c.clear()
	has(t, c.run("create second -p 2"), "| already done | second exists with that shape, id 4 |", "| done         | 2 of 2 ready")
	c.clear()
	screen = c.run("ls -a --columns app_id,app_name --output plain")
	has(t, screen, "     3  first\n     4  second\n4 tables\n")
}

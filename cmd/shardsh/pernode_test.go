//go:build integration && unix

package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// node is a line of `sandbox list`.
type node struct {
	Role     string
	Endpoint string
	State    string
	PID      int
}

// nodes lists the nodes of the served sandbox.
func (s *served) nodes() []node {
	s.t.Helper()
	out, err := s.shell("sandbox list\n")
	if err != nil {
		s.t.Fatal(err)
	}
	var all []node
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return all
}

func (s *served) node(endpoint string) node {
	s.t.Helper()
	for _, n := range s.nodes() {
		if n.Endpoint == endpoint {
			return n
		}
	}
	s.t.Fatalf("no node listens on %s", endpoint)
	return node{}
}

// leader is the meta server that leads.
func (s *served) leader() string {
	s.t.Helper()
	out, err := s.shell("cluster_info\n")
	if err != nil {
		s.t.Fatal(err)
	}
	var info map[string]any
	if err := json.Unmarshal([]byte(out), &info); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return fmt.Sprint(info["primary_meta_server"])
}

// runs says whether a process runs; one that is dead and was not waited for does not.
func runs(t *testing.T, pid int) bool {
	t.Helper()
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	out, _ := exec.Command("ps", "-o", "stat=", "-p", fmt.Sprint(pid)).Output()
	state := strings.TrimSpace(string(out))
	return state != "" && !strings.HasPrefix(state, "Z")
}

func kill9(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// shellWriter is a shell that is fed a row at a time until it is stopped, and what it was told is done.
type shellWriter struct {
	stop  atomic.Bool
	done  sync.WaitGroup
	acked map[string]bool // by sort key; after stop and done
	count atomic.Int64
}

// write starts a writer of the rows NAME 000000, NAME 000001 …
func (s *served) write(name string) *shellWriter {
	s.t.Helper()
	w := &shellWriter{acked: map[string]bool{}}
	cmd := exec.Command(program, "--config", s.config, "-o", "jsonl", "--keep-going", "--timeout", "5s")
	cmd.Env = append(os.Environ(), isolated(s.dir)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	w.done.Go(func() {
		defer in.Close()
		_, _ = io.WriteString(in, "use demo\n")
		for i := 0; !w.stop.Load(); i++ {
			if _, err := fmt.Fprintf(in, "set %s %06d value%06d\n", name, i, i); err != nil {
				return
			}
			time.Sleep(time.Millisecond) // the rate of the rows; nothing depends on it
		}
	})
	w.done.Go(func() {
		rows := bufio.NewScanner(out)
		for rows.Scan() {
			var row struct{ Object, Outcome string }
			if json.Unmarshal(rows.Bytes(), &row) == nil && row.Outcome == "done" {
				_, sort, _ := strings.Cut(row.Object, " : ")
				w.acked[strings.Trim(sort, `"`)] = true
				w.count.Add(1)
			}
		}
		_ = cmd.Wait() // its exit code tells of the rows that failed meanwhile
	})
	return w
}

// progress waits until another 50 rows are acknowledged.
func (w *shellWriter) progress(t *testing.T) {
	t.Helper()
	from := w.count.Load()
	eventually(t, "rows are written", func() bool { return w.count.Load() >= from+50 })
}

// rows reads the table demo: the values by hash and sort key.
func (s *served) rows() map[string]map[string]string {
	s.t.Helper()
	out, err := s.shell("use demo\nscan\n")
	if err != nil {
		s.t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(out)))
	var used map[string]any
	var got []map[string]any
	if err := errors.Join(dec.Decode(&used), dec.Decode(&got)); err != nil {
		s.t.Fatal(err)
	}
	all := map[string]map[string]string{}
	for _, row := range got {
		hash, sort := fmt.Sprint(row["hash_key"]), fmt.Sprint(row["sort_key"])
		if all[hash] == nil {
			all[hash] = map[string]string{}
		}
		all[hash][sort] = fmt.Sprint(row["value"])
	}
	return all
}

// ownNetwork is a network that no other sandbox takes by itself: a writer whose sandbox is dead must not find another
// one at its address.
func ownNetwork(t *testing.T) string {
	t.Helper()
	for n := 254; n > 127; n-- {
		prefix := fmt.Sprintf("127.0.%d", n)
		if l, err := net.Listen("tcp4", prefix+".254:34600"); err == nil {
			l.Close()
			return prefix
		}
	}
	t.Skip("there are no addresses but 127.0.0.1 here")
	return ""
}

// TestKilledProcesses: a replica server, the leading meta server and at last everything is ended by kill -9 of its
// process while two shells write. No acknowledged row is lost, and no process is left.
func TestKilledProcesses(t *testing.T) {
	dir := t.TempDir()
	flags := []string{"--process-per-node", "--net", ownNetwork(t)}
	s := serve(t, dir, flags...)
	writers := map[string]*shellWriter{"w1": s.write("w1"), "w2": s.write("w2")}
	defer func() {
		for _, w := range writers {
			w.stop.Store(true)
			w.done.Wait()
		}
	}()
	progress := func() {
		for _, w := range writers {
			w.progress(t)
		}
	}
	progress()
	victim := s.node(s.nodes()[2].Endpoint)
	kill9(t, victim.PID)
	s.must(`wait --within 60s --until 'any(rows, .status == "UNALIVE")' nodes`)
	if n := s.node(victim.Endpoint); n.State != "dead" || n.PID != 0 || runs(t, victim.PID) {
		t.Errorf("after kill -9 it is %+v", n)
	}
	s.must(`wait --within 60s --until 'count(rows, .role == "primary" and .is_alive) == 4' showtable demo`)
	progress()
	s.must("sandbox start " + victim.Endpoint)
	s.must(`wait --within 60s --until 'count == 12 and all(rows, .is_alive)' showtable demo`)
	if n := s.node(victim.Endpoint); n.State != "alive" || !runs(t, n.PID) || n.PID == victim.PID {
		t.Errorf("started again it is %+v", n)
	}
	progress()

	leader := s.leader()
	kill9(t, s.node(leader).PID)
	eventually(t, "another meta server leads", func() bool { return s.leader() != leader })
	progress()

	all := []int{s.cmd.Process.Pid}
	for _, n := range s.nodes() {
		if n.PID != 0 {
			all = append(all, n.PID)
		}
	}
	if len(all) != 5 {
		t.Errorf("processes: %v", all)
	}
	for _, pid := range all {
		kill9(t, pid)
	}
	s.kill()
	for _, w := range writers {
		w.stop.Store(true)
		w.done.Wait()
	}
	noneLeft(t, all)

	t.Logf("%d and %d rows were acknowledged", len(writers["w1"].acked), len(writers["w2"].acked))
	for _, flags := range [][]string{flags, flags, flags[1:]} { // at last all nodes in one process
		s = serve(t, dir, flags...)
		rows := s.rows()
		for name, w := range writers {
			for sort := range w.acked {
				if got := rows[name][sort]; got != "value"+sort {
					t.Fatalf("row %s %s of %d acknowledged is %q", name, sort, len(w.acked), got)
				}
			}
		}
		s.kill() // and at once the next one: it waits for what is left of this
	}
}

// TestProcessesSplitFilledRecovered: on a process per node, and under a writer, a table is split while processes are
// ended by kill -9, a disk is full for a while, and what the meta servers kept is lost and taken from the replica
// servers. No acknowledged row is lost.
func TestProcessesSplitFilledRecovered(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir, "--process-per-node")
	w := s.write("w")
	defer func() {
		w.stop.Store(true)
		w.done.Wait()
	}()
	w.progress(t)
	s.must("use demo\npartition_split start -p 8 --yes\n")
	w.progress(t)

	var replicas []string
	for _, n := range s.nodes()[2:] {
		replicas = append(replicas, n.Endpoint)
	}
	s.must("use demo\npartition_split start -p 16 --yes --no-wait\n")
	leader := s.leader()
	kill9(t, s.node(replicas[0]).PID)
	kill9(t, s.node(leader).PID)
	eventually(t, "another meta server leads", func() bool { return s.leader() != leader })
	s.must("sandbox start " + leader + "\nsandbox start " + replicas[0] + "\n")
	s.must(`wait --within 60s --until 'count == 48 and all(rows, .is_alive)' showtable demo` + "\n")
	w.progress(t)

	s.must("sandbox fill " + replicas[1] + " 95\n")
	eventually(t, "no row is written to a full disk", func() bool {
		_, err := s.shell("use demo\nset full row value\n")
		return err != nil && strings.Contains(err.Error(), "ERR_DISK_INSUFFICIENT")
	})
	s.must("sandbox fill " + replicas[1] + " 0\n")
	eventually(t, "rows are written again", func() bool {
		_, err := s.shell("use demo\nset full row value\n")
		return err == nil
	})
	w.progress(t)

	leader = s.leader()
	s.must("sandbox lose " + leader + " --yes=" + leader + "\nsandbox start " + leader + "\n")
	s.must("recover -s " + strings.Join(replicas, ",") + " --yes=onebox\n")
	s.must(`wait --within 60s --until 'count == 48 and all(rows, .is_alive)' showtable demo` + "\n")
	w.progress(t)
	w.stop.Store(true)
	w.done.Wait()
	t.Logf("%d rows were acknowledged", len(w.acked))
	for _, again := range []bool{false, true} {
		if again { // what was recovered is kept
			s.kill()
			s = serve(t, dir, "--process-per-node")
		}
		rows := s.rows()
		for sort := range w.acked {
			if got := rows["w"][sort]; got != "value"+sort {
				t.Fatalf("row %s of %d acknowledged is %q", sort, len(w.acked), got)
			}
		}
	}
}

func noneLeft(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d is gone", pid), func() bool { return !runs(t, pid) })
	}
}

// TestNoOrphans: node processes end with the sandbox, however that ends; on Linux even one that was stopped.
func TestNoOrphans(t *testing.T) {
	for name, end := range map[string]func(s *served, pids []int){
		"killed": func(s *served, pids []int) {
			if runtime.GOOS == "linux" {
				if err := syscall.Kill(pids[1], syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			s.kill()
		},
		"asked to end": func(s *served, _ []int) {
			if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := s.cmd.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, t.TempDir(), "--process-per-node")
			var pids []int
			for _, n := range s.nodes() {
				pids = append(pids, n.PID)
			}
			if len(pids) != 5 || !runs(t, pids[0]) {
				t.Fatalf("processes: %v", pids)
			}
			end(s, pids)
			noneLeft(t, pids)
		})
	}
}

// TestTranscriptsPerNode: the transcripts hold on a sandbox whose nodes have processes of their own, word for word.
func TestTranscriptsPerNode(t *testing.T) {
	t.Setenv(perNodeSetting, "true")
	cmd := exec.Command(program, "-o", "json", "-e", "ls", "-e", "sandbox list")
	cmd.Env = append(os.Environ(), isolated(t.TempDir())...)
	out, err := cmd.Output()
	if err != nil || bytes.Count(out, []byte(`"alive"`)) != 5 {
		t.Fatalf("%v: %s", err, out)
	}
	pids := map[string]bool{}
	for _, field := range bytes.Fields(bytes.ReplaceAll(out, []byte(","), []byte(" "))) {
		if bytes.HasPrefix(field, []byte(`"pid":`)) {
			pids[string(field)] = true
		}
	}
	if len(pids) != 5 {
		t.Fatalf("the nodes are in %d processes: %s", len(pids), out)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/transcripts",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv(perNodeSetting, "true")
			return setupTranscript(env)
		},
		Cmds: transcriptCmds(),
	})
}

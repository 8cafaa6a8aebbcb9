//go:build integration && !windows

package main_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// shellOpen is a shell that reads lines from a pipe until it is killed.
type shellOpen struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	err *safeBuffer
}

func (s *served) open() *shellOpen {
	s.t.Helper()
	o := &shellOpen{t: s.t, cmd: exec.Command(program, "--config", s.config, "-o", "plain", "--trace"), err: &safeBuffer{}}
	o.cmd.Env = append(os.Environ(), isolated(s.dir)...)
	o.cmd.Stderr = o.err
	in, err := o.cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	o.in = in
	if err := o.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(o.kill)
	return o
}

func (o *shellOpen) enter(line string) {
	o.t.Helper()
	if _, err := io.WriteString(o.in, line+"\n"); err != nil {
		o.t.Fatal(err)
	}
}

// kill is kill -9.
func (o *shellOpen) kill() {
	o.cmd.Process.Kill()
	o.cmd.Wait()
}

// doctor answers the findings of another shell.
func (s *served) doctor() (healthy bool, findings []finding) {
	s.t.Helper()
	out, _ := s.shell("doctor\n")
	var d struct {
		Verdict struct {
			Healthy bool `json:"healthy"`
		} `json:"verdict"`
		Findings []finding `json:"findings"`
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return d.Verdict.Healthy, d.Findings
}

type finding struct {
	Finding, Object, What, Help string
	Bad                         bool
}

func (s *served) demand(want ...finding) {
	s.t.Helper()
	_, found := s.doctor()
	for _, w := range want {
		if !slices.ContainsFunc(found, func(f finding) bool {
			return f.Finding == w.Finding && f.Object == w.Object && strings.Contains(f.What, w.What) && f.Help == w.Help && f.Bad == w.Bad
		}) {
			s.t.Errorf("doctor does not say %+v but %+v", w, found)
		}
	}
}

// level is the meta level.
func (s *served) level() string {
	s.t.Helper()
	var level struct {
		MetaLevel string `json:"meta_level"`
	}
	if out := s.must("get_meta_level\n"); json.Unmarshal([]byte(out), &level) != nil {
		s.t.Fatal(out)
	}
	return level.MetaLevel
}

// recorded waits until a change of a shell has ended well.
func (s *served) recorded(o *shellOpen, line string) {
	s.t.Helper()
	eventually(s.t, line+" is done", func() bool {
		return slices.ContainsFunc(s.audit(), func(l auditLine) bool {
			return l.PID == o.cmd.Process.Pid && l.Line == line && l.Phase == "result" && l.Status == "done"
		})
	})
}

const (
	untilDead = `wait --until 'any(rows, .status == "UNALIVE")' nodes > /dev/null` + "\n"
	untilWell = `wait --until 'verdict.healthy' doctor > /dev/null` + "\n"
)

// TestHealingSwitchedOffByAKilledShell: auto_failover is switched off, a node dies and nothing is cured; the shell that
// switched it off is killed. Another one is told why nothing heals, what it was before, and puts that back.
func TestHealingSwitchedOffByAKilledShell(t *testing.T) {
	s := serve(t, t.TempDir())
	s.must("set_meta_level lively\n")
	o := s.open()
	o.enter("confset auto_failover false --yes")
	s.recorded(o, "confset auto_failover false --yes")
	s.must("sandbox kill .32:34801\n" + untilDead)

	// The partitions that the node led are still its own, however often the meta server looks.
	notCured := `wait --within 2s --until 'not any(rows, .role == "primary" and not .is_alive)' showtable` + "\n"
	if out, err := s.shell(notCured); err == nil || !strings.Contains(err.Error(), "not true within 2s") {
		t.Fatalf("somebody cured the cluster: %v %s", err, out)
	}
	if level := s.level(); level != "freezed" {
		t.Errorf("the meta level is %s", level)
	}
	why := finding{Finding: "meta_level", Object: "meta level", What: "it is freezed: the meta server moves no primary", Help: "confset auto_failover true", Bad: true}
	held := finding{Finding: "held_setting", Object: "auto_failover", What: "it is kept at freezed on purpose; it was lively", Help: "holds restore"}
	s.demand(why, held, finding{Finding: "no_leader", Object: "demo", What: "1 of 4 partitions: no leader", Help: "app demo -d", Bad: true})

	o.kill()
	s.demand(why, held)
	s.must("holds restore --yes\n")
	if level := s.level(); level != "lively" {
		t.Errorf("the meta level is %s, and was lively", level)
	}
	s.must(`wait --until 'count(rows, .role == "primary" and .is_alive) == 12' showtable > /dev/null` + "\n")
	if out := s.must("holds\n"); out != "[]\n" {
		t.Errorf("there are still holds: %s", out)
	}
	s.must("sandbox start .32:34801\n" + untilWell)
}

// TestShellKilledWhileItHolds: the shell is killed in the middle of a plan that holds the meta level. Nobody puts it back
// before another shell is asked to.
func TestShellKilledWhileItHolds(t *testing.T) {
	s := serve(t, t.TempDir())
	s.must("set_meta_level freezed --yes\n" + holdCuring + "sandbox kill .32:34801\n" + untilDead)
	o := s.open()
	o.enter("offlineendpoint .32 --yes")
	s.takingOut(o.cmd.Process.Pid, o.err)
	running := finding{Finding: "held_setting", Object: "meta level", What: "a plan that is running holds it at steady; it was freezed", Help: "holds"}
	s.demand(running)
	o.kill()
	left := finding{Finding: "held_setting", Object: "meta level", What: "a killed shell left it at steady; it was freezed", Help: "holds restore", Bad: true}
	s.demand(left)
	if level := s.level(); level != "steady" {
		t.Errorf("the meta level is %s", level)
	}
	if _, err := s.shell("holds restore\n"); err == nil || !strings.Contains(err.Error(), "not confirmed") {
		t.Errorf("it is put back without being asked for: %v", err)
	}
	s.must("holds restore --yes\n")
	if level := s.level(); level != "freezed" {
		t.Errorf("the meta level is %s, and was freezed", level)
	}
	s.must(allowCuring + "confset auto_failover true --yes\nsandbox start .32:34801\n" + untilWell)
}

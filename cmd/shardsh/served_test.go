//go:build integration

package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// served is a sandbox in a process of its own, and the config.ini it printed.
type served struct {
	t      *testing.T
	cmd    *exec.Cmd
	config string
	dir    string
	errs   bytes.Buffer // what it wrote to standard error, once it has ended
}

// serve starts `shardsh sandbox FLAG… --data-dir D onebox` and waits until it says that it is ready.
func serve(t *testing.T, dir string, flags ...string) *served {
	t.Helper()
	return serveAs(t, dir, append(flags, "onebox")...)
}

// serveAs is serve with other arguments.
func serveAs(t *testing.T, dir string, args ...string) *served {
	t.Helper()
	s := &served{t: t, dir: dir, config: filepath.Join(t.TempDir(), "config.ini")}
	s.cmd = exec.Command(program, append([]string{"sandbox", "--data-dir", filepath.Join(dir, "data")}, args...)...)
	s.cmd.Env = append(os.Environ(), isolated(dir)...)
	s.cmd.Stderr = &s.errs
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	var text strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&text, lines.Text())
		if strings.HasPrefix(lines.Text(), "; ready") {
			if err := os.WriteFile(s.config, []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatalf("the sandbox ended before it was ready: %s%s", text.String(), s.errs.String())
	return nil
}

func (s *served) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// shell runs lines in a shell of another process and answers its standard output.
func (s *served) shell(script string) (string, error) {
	cmd := exec.Command(program, "--config", s.config, "-o", "json")
	cmd.Env = append(os.Environ(), isolated(s.dir)...)
	cmd.Stdin = strings.NewReader(script)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), nil
}

// TestServedSandbox: two shells in processes of their own work on one served sandbox; after kill -9 of the sandbox and
// a restart on the same directory every acknowledged row is there.
func TestServedSandbox(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, dir)
	const rows = 200
	done := make(chan error, 2)
	for shell := range 2 {
		go func() {
			var script strings.Builder
			script.WriteString("use demo\n")
			for i := range rows {
				fmt.Fprintf(&script, "set shell%d key%04d value%d\n", shell, i, i)
			}
			_, err := s.shell(script.String())
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	s.kill()
	s = serve(t, dir)
	out, err := s.shell("use demo\nscan\n")
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(out))
	var used map[string]any
	var got []map[string]any
	if err := dec.Decode(&used); err != nil {
		t.Fatal(err)
	}
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2*rows {
		t.Fatalf("%d rows after the restart, want %d", len(got), 2*rows)
	}
}

// TestSandboxSteering: a node is killed and started through the control socket of the served sandbox, from a shell in
// another process, while rows are written and read.
func TestSandboxSteering(t *testing.T) {
	s := serve(t, t.TempDir())
	steps := []string{
		"sandbox kill .32:34801",
		`wait --within 30s --until 'any(rows, .status == "UNALIVE")' nodes`,
		`wait --within 30s --until 'count(rows, .role == "primary" and .is_alive) == 4' showtable demo`,
		"use demo\nset a b c\nget a b",
		"sandbox start .32:34801",
		"wait --within 30s --until 'count == 12 and all(rows, .is_alive)' showtable demo",
	}
	for _, step := range steps {
		started := time.Now()
		if out, err := s.shell(step + "\n"); err != nil {
			t.Fatalf("%s (after %s): %v\n%s", step, time.Since(started), err, out)
		}
	}
}

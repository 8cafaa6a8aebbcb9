package main_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// lists are the three files that name every store; a new one adds one line to each, and an import.
var lists = []string{"cluster/systems/systems.go", "shell/commands.go", "cmd/shardsh/sandbox.go"}

// dummyFolders is all else that a store consists of.
var dummyFolders = []string{"cluster/dummy", "commands/dummy", "cluster/dummy/sandbox"}

// A store that is not there is added to the program: its own folders, and one line in each list. Everything else,
// from the prompt to the sandbox and the matrix, must then know it.
func TestAddingASystem(t *testing.T) {
	program := buildWithDummy(t)

	t.Run("words of every store", func(t *testing.T) {
		rows := decode(t, program.run(t, 0, "-o", "json", "--cluster", "dummybox", "-e", "showtable"))
		if len(rows) != 3 || rows[0]["name"] != "first" || rows[2]["name"] != "second" || rows[2]["role"] != "only" {
			t.Errorf("showtable answers %v", rows)
		}
	})
	t.Run("its own word", func(t *testing.T) {
		rows := decode(t, program.run(t, 0, "-o", "json", "--cluster", "dummybox", "-e", "dummy_tables"))
		if len(rows) != 2 || rows[1]["name"] != "second" || rows[1]["partitions"] != 1.0 {
			t.Errorf("dummy_tables answers %v", rows)
		}
		if out := program.run(t, 0, "help", "dummy_tables"); !strings.Contains(out, "list the tables as the store itself does") {
			t.Errorf("help dummy_tables answers\n%s", out)
		}
	})
	t.Run("matrix", func(t *testing.T) {
		rows := decode(t, program.run(t, 0, "-o", "json", "help", "matrix"))
		for _, row := range rows {
			if _, ok := row["dummy"]; !ok {
				t.Fatalf("the matrix has no column dummy: %v", row)
			}
		}
		if !strings.Contains(program.run(t, 0, "-o", "json", "help", "matrix"), `"dummy_tables"`) {
			t.Errorf("the matrix has no row dummy_tables: %v", rows)
		}
	})
	t.Run("an address", func(t *testing.T) {
		program.run(t, 4, "--cluster", "dummy://127.0.0.1:1", "-e", "showtable")
	})
	t.Run("config.ini", func(t *testing.T) {
		config := filepath.Join(t.TempDir(), "config.ini")
		if err := os.WriteFile(config, []byte("[dummy.clusters]\nd = dummy://127.0.0.1:1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := program.run(t, 0, "--config", config, "-o", "json", "clusters"); !strings.Contains(out, `"dummy://127.0.0.1:1"`) {
			t.Errorf("clusters answers\n%s", out)
		}
		program.run(t, 4, "--config", config, "--cluster", "d", "-e", "showtable")
	})
	t.Run("sandbox", func(t *testing.T) {
		rows := decode(t, program.run(t, 0, "-o", "json", "--cluster", "dummybox", "-e", "showtable", "-e", "sandbox list"))
		if !slices.ContainsFunc(rows, func(r map[string]any) bool { return r["cluster"] == "dummybox" && r["state"] == "alive" }) {
			t.Errorf("sandbox list answers %v", rows)
		}
	})
}

// builtProgram is a binary and the folder it keeps its state in.
type builtProgram struct{ path, state string }

func buildWithDummy(t *testing.T) builtProgram {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	source := filepath.Join(root(t), "cmd", "shardsh", "testdata", "dummy")
	err := fs.WalkDir(os.DirFS(source), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !slices.Contains(dummyFolders, filepath.ToSlash(filepath.Dir(name))) {
			t.Errorf("%s is in none of %v", name, dummyFolders)
		}
		replace[filepath.Join(root(t), name)] = filepath.Join(source, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		changed := filepath.Join(dir, strings.ReplaceAll(list, "/", "_"))
		if err := os.WriteFile(changed, addDummy(t, list), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root(t), list)] = changed
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := builtProgram{path: filepath.Join(dir, "shardsh"), state: dir}
	if runtime.GOOS == "windows" {
		program.path += ".exe"
	}
	// The flags are the Makefile's, so that what it built is not built again.
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-overlay", overlayFile, "-o", program.path, "./cmd/shardsh")
	cmd.Dir = root(t)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return program
}

// withBlocks is the constructor of an emulator whose servers use block services, which those of the dummy do not.
var withBlocks = regexp.MustCompile(`dummy\.KindWith\(.*\)`)

// addDummy answers a list with the dummy after Pegasus: a copy of the one line that names it, and of its import.
func addDummy(t *testing.T, list string) []byte {
	t.Helper()
	var out strings.Builder
	imports, entries := 0, 0
	for line := range strings.Lines(string(read(t, list))) {
		out.WriteString(line)
		code, _, _ := strings.Cut(line, "//")
		switch {
		case !strings.Contains(code, "pegasus"):
			continue
		case strings.Contains(code, `"shardsh/`):
			imports++
		default:
			entries++
		}
		line = strings.ReplaceAll(line, "pegasus", "dummy")
		out.WriteString(withBlocks.ReplaceAllString(line, "dummy.Kind()"))
	}
	if imports != 1 || entries != 1 {
		t.Errorf("%s has %d lines for a store and imports %d of its packages; a list has one of each", list, entries, imports)
	}
	return []byte(out.String())
}

// run runs the program without any configuration of the machine, and answers its standard output.
func (p builtProgram) run(t *testing.T, wantExit int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.path, args...)
	cmd.Dir = p.state
	cmd.Env = append(isolated(p.state), "USERPROFILE="+p.state)
	for _, name := range []string{"PATH", "TMPDIR", "TMP", "TEMP", "SystemRoot"} {
		cmd.Env = append(cmd.Env, name+"="+os.Getenv(name))
	}
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	exit := 0
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		exit = failed.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if exit != wantExit {
		t.Fatalf("%v: exit %d, want %d\n%s%s", args, exit, wantExit, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// decode reads the JSON documents that commands print, one each, and answers the rows of the last.
func decode(t *testing.T, documents string) []map[string]any {
	t.Helper()
	var rows []map[string]any
	for d := json.NewDecoder(strings.NewReader(documents)); d.More(); {
		rows = nil
		if err := d.Decode(&rows); err != nil {
			t.Fatalf("%v in\n%s", err, documents)
		}
	}
	if len(rows) == 0 {
		t.Fatalf("no rows in\n%s", documents)
	}
	return rows
}

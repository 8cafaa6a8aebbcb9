package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each case is a module of its own, really built and tested by the go command.
func TestTally(t *testing.T) {
	const head = "package p\nimport \"testing\"\n"
	for name, c := range map[string]struct {
		source         string
		passed, failed int
		want           string // a pattern of what is shown
	}{
		"pass":     {head + "func TestA(t *testing.T) {}\nfunc TestB(t *testing.T) {}", 2, 0, `ok +p `},
		"fail":     {head + "func TestA(t *testing.T) {}\nfunc TestB(t *testing.T) { t.Error(\"why\") }", 1, 1, `FAIL  p TestB\n(.*\n)*.*why`},
		"skip":     {head + "func TestA(t *testing.T) { t.Skip(\"no moon\") }", 0, 0, `skip  p TestA: .*no moon`},
		"leaves":   {head + "func TestA(t *testing.T) { t.Run(\"x\", func(t *testing.T) {}); t.Run(\"y\", func(t *testing.T) { t.Fatal() }) }", 1, 1, `FAIL  p TestA/y`},
		"deep":     {head + "func TestA(t *testing.T) { t.Run(\"x\", func(t *testing.T) { t.Run(\"y\", func(t *testing.T) {}) }) }", 1, 0, `ok +p `},
		"slashes":  {head + "func TestA(t *testing.T) { t.Run(\"x/y\", func(t *testing.T) {}) }", 1, 0, `ok +p `},
		"parent":   {head + "func TestA(t *testing.T) { t.Run(\"x\", func(t *testing.T) {}); t.Fatal(\"after\") }", 1, 1, `FAIL  p TestA\n(.*\n)*.*after`},
		"panic":    {head + "func TestA(t *testing.T) {}\nfunc TestB(t *testing.T) { panic(\"oh\") }", 1, 1, `oh`},
		"no build": {head + "func TestA(t *testing.T) { x }", 0, 1, `undefined: x`},
		"gave up":  {head + "import \"os\"\nfunc TestA(t *testing.T) {}\nfunc TestMain(*testing.M) { println(\"gave up\"); os.Exit(3) }", 0, 1, `FAIL  p\n(.*\n)*.*gave up`},
		"early":    {head + "import \"os\"\nfunc TestA(t *testing.T) {}\nfunc TestB(t *testing.T) { os.Exit(3) }", 1, 1, `TestB`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "go.mod", "module p\ngo 1.26\n")
			write(t, dir, "p_test.go", c.source)
			out, passed, failed := tallyOf(t, "go", "test", "-C", dir, "-json", "./...")
			if passed != c.passed || failed != c.failed {
				t.Errorf("%d passed, %d failed; want %d and %d:\n%s", passed, failed, c.passed, c.failed, out)
			}
			if !regexp.MustCompile(c.want).MatchString(out) {
				t.Errorf("%q is not in\n%s", c.want, out)
			}
		})
	}
}

// A stream that ends early, a line that is no event, and a command that fails by itself.
func TestTallyWithoutGo(t *testing.T) {
	for name, c := range map[string]struct {
		script         string
		passed, failed int
	}{
		"cut off":     {`echo '{"Action":"run","Package":"p","Test":"TestA"}'`, 0, 1},
		"plain lines": {`echo hello; echo '{"Action":"pass","Package":"p"}'`, 0, 0},
		"only status": {`exit 4`, 0, 1},
	} {
		out, passed, failed := tallyOf(t, "sh", "-c", c.script)
		if passed != c.passed || failed != c.failed {
			t.Errorf("%s: %d passed, %d failed:\n%s", name, passed, failed, out)
		}
	}
}

func tallyOf(t *testing.T, command ...string) (out string, passed, failed int) {
	t.Helper()
	var b bytes.Buffer
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	events, waitErr := cmd.Output()
	n := newTally(&b)
	if err := n.read(bytes.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	passed, failed = n.close(waitErr)
	if lines := strings.Split(strings.TrimSpace(b.String()), "\n"); !strings.Contains(lines[len(lines)-1], " passed, ") {
		t.Errorf("the last line is no total:\n%s", b.String())
	}
	return b.String(), passed, failed
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

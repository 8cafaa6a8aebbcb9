package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json` and, for builds, `go help buildjson`).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build event
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

type test struct {
	state  string // "run" until it ended
	parent bool
	output []string
}

type pkg struct {
	tests  map[string]*test
	output []string // what no test said
}

type tally struct {
	out                     io.Writer
	packages                map[string]*pkg
	builds                  map[string][]string
	passed, failed, skipped int
	problems                []string
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, packages: map[string]*pkg{}, builds: map[string][]string{}}
}

// read takes events until the stream ends. Lines that are none are shown as they are.
func (t *tally) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				t.take(e)
			} else {
				fmt.Fprintf(t.out, "%s\n", strings.TrimRight(string(line), "\n"))
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) take(e event) {
	switch {
	case strings.HasPrefix(e.Action, "build-"):
		t.builds[e.ImportPath] = append(t.builds[e.ImportPath], e.Output)
		return
	case e.Package == "":
		return
	}
	p := t.packages[e.Package]
	if p == nil {
		p = &pkg{tests: map[string]*test{}}
		t.packages[e.Package] = p
	}
	if e.Test == "" {
		t.takePackage(p, e)
		return
	}
	c := p.test(e.Test)
	switch e.Action {
	case "output":
		c.output = append(c.output, e.Output)
	case "pass", "fail", "skip":
		c.state = e.Action
	}
}

// test returns the test of that name and marks those above it as having subtests.
func (p *pkg) test(name string) *test {
	c := p.tests[name]
	if c == nil {
		c = &test{state: "run"}
		p.tests[name] = c
		for i := strings.LastIndexByte(name, '/'); i >= 0; i = strings.LastIndexByte(name[:i], '/') {
			if above := p.tests[name[:i]]; above != nil {
				above.parent = true
				break
			}
		}
	}
	return c
}

func (t *tally) takePackage(p *pkg, e event) {
	switch e.Action {
	case "output":
		p.output = append(p.output, e.Output)
	case "pass", "fail", "skip":
		t.closePackage(e.Package, p, e)
		delete(t.packages, e.Package)
	}
}

// closePackage counts the tests of a package that ended, or never will, and shows what is worth reading.
func (t *tally) closePackage(name string, p *pkg, e event) {
	passed, failed, skipped := 0, 0, 0
	for _, testName := range slices.Sorted(maps.Keys(p.tests)) {
		c := p.tests[testName]
		switch {
		case c.state == "pass" && !c.parent:
			passed++
		case c.state == "skip" && !c.parent:
			skipped++
			fmt.Fprintf(t.out, "skip  %s %s: %s\n", name, testName, c.reason())
		case (c.state == "fail" || c.state == "run") && !p.failedBelow(testName):
			failed++
			t.problems = append(t.problems, name+" "+testName)
			fmt.Fprintf(t.out, "FAIL  %s %s\n%s", name, testName, indent(c.output))
		case c.state == "fail" || c.state == "run":
			fmt.Fprint(t.out, indent(c.output))
		}
	}
	if e.Action == "fail" && failed == 0 {
		failed++
		t.problems = append(t.problems, name)
		fmt.Fprintf(t.out, "FAIL  %s\n%s%s", name, indent(t.builds[e.FailedBuild]), indent(p.output))
	} else if e.Action == "fail" {
		fmt.Fprint(t.out, indent(p.output))
	}
	t.passed, t.failed, t.skipped = t.passed+passed, t.failed+failed, t.skipped+skipped
	word := map[string]string{"pass": "ok", "fail": "FAIL", "skip": "-"}[e.Action]
	fmt.Fprintf(t.out, "%-5s %-44s %7.2fs  %d passed, %d failed, %d skipped\n", word, name, e.Elapsed, passed, failed, skipped)
}

// failedBelow reports whether a subtest accounts for the failure.
func (p *pkg) failedBelow(name string) bool {
	for other, c := range p.tests {
		if (c.state == "fail" || c.state == "run") && strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}

// reason is what a skipped test said.
func (c *test) reason() string {
	for _, line := range c.output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			return line
		}
	}
	return ""
}

// close counts what never ended, adds the command's own failure if nothing else explains it, and prints the totals.
func (t *tally) close(commandErr error) (passed, failed int) {
	for _, name := range slices.Sorted(maps.Keys(t.packages)) {
		p := t.packages[name]
		p.output = append(p.output, "it never ended\n")
		t.closePackage(name, p, event{Action: "fail"})
	}
	if commandErr != nil && t.failed == 0 {
		t.failed++
		t.problems = append(t.problems, "the command: "+commandErr.Error())
	}
	for _, problem := range t.problems {
		fmt.Fprintln(t.out, "failed:", problem)
	}
	fmt.Fprintf(t.out, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	return t.passed, t.failed
}

func indent(output []string) string {
	text := strings.TrimRight(strings.Join(output, ""), "\n")
	if text == "" {
		return ""
	}
	return "      " + strings.ReplaceAll(text, "\n", "\n      ") + "\n"
}

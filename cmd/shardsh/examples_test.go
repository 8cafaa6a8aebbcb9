package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"shardsh/shell"
)

// TestExamples runs every example that help shows, each on a fresh sandbox of its own.
func TestExamples(t *testing.T) {
	all := shell.Examples()
	if len(all) < 30 {
		t.Fatalf("only %d examples", len(all))
	}
	for _, e := range all {
		t.Run(e.Line, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(program, "-o", "plain")
			cmd.Dir = t.TempDir() // an example may write a file
			cmd.Env = append(os.Environ(), isolated(cmd.Dir)...)
			cmd.Stdin = strings.NewReader(strings.Join(append(e.Setup, e.Line), "\n") + "\n")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
			}
		})
	}
}

package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/backuptest"
	"shardsh/shell"
)

// exampleClusters are where the words of a store are tried; the others are tried where the shell opens.
var exampleClusters = map[string]string{"openmldb": "openmldb"}

// TestExamples runs every example that help shows, each on a fresh sandbox of its own.
func TestExamples(t *testing.T) {
	all := shell.Examples()
	if len(all) < 30 {
		t.Fatalf("only %d examples", len(all))
	}
	for _, e := range all {
		t.Run(e.Line, func(t *testing.T) {
			t.Parallel()
			args := []string{"-o", "plain"}
			if cluster, known := exampleClusters[e.System]; known {
				args = append(args, "--cluster", cluster)
			}
			cmd := exec.Command(program, args...)
			cmd.Dir = t.TempDir() // an example may write a file, and find a backup
			if err := backuptest.Write(filepath.Join(cmd.Dir, "backup"), backuptest.Single()); err != nil {
				t.Fatal(err)
			}
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

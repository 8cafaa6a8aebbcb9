//go:build nosandbox

package main

import (
	"fmt"
	"io"

	"shardsh/cluster/sandbox"
)

// sandboxClusters is empty: this binary has no emulator.
func sandboxClusters() []sandbox.Cluster { return nil }

func runSandbox(_ []string, _, stderr io.Writer) int {
	fmt.Fprintln(stderr, "shardsh sandbox: this binary was built without the sandbox")
	fmt.Fprintln(stderr, "  build it without -tags nosandbox, or point config.ini at a cluster")
	return 2
}

func runSandboxNode(_ []string, stderr io.Writer) int { return runSandbox(nil, nil, stderr) }

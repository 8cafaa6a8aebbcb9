// Command shardsh is an admin shell for sharded, replicated stores.
package main

import (
	"os"

	"shardsh/cluster/sandbox"
	"shardsh/shell"
)

// version is set by the linker (see Makefile).
var version = "dev"

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "sandbox" && serves(os.Args[2:]):
		os.Exit(runSandbox(os.Args[2:], os.Stdout, os.Stderr))
	case len(os.Args) > 1 && os.Args[1] == sandbox.NodeCommand:
		os.Exit(runSandboxNode(os.Args[2:], os.Stderr))
	}
	os.Exit(shell.Main(shell.Program{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
		Version: version, Sandbox: sandboxClusters(),
	}))
}

// serves tells `sandbox [NAME…]`, which serves clusters, from the words of the shell that steer one.
func serves(args []string) bool {
	if len(args) == 0 {
		return true
	}
	switch args[0] {
	case "list", "kill", "start", "stop", "pause", "slow", "partition", "heal", "lose", "fill", "throttle", "break":
		return false
	}
	return true
}

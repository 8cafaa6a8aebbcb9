//go:build !nosandbox

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	openmldb "shardsh/cluster/openmldb/sandbox"
	pegasus "shardsh/cluster/pegasus/sandbox"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// sandboxKinds lists the emulators. This file is the only one that links them.
func sandboxKinds() []sandbox.Kind {
	return []sandbox.Kind{
		pegasus.KindWith(func(at string) (pegasus.BlockService, error) { return openProvider(at) }),
		openmldb.Kind(),
	}
}

// sandboxClusters lists the clusters that a sandbox of this program has.
func sandboxClusters() []sandbox.Cluster { return sandbox.Clusters(sandboxKinds()) }

// runSandbox serves sandbox clusters until a signal, until a client shuts it down or, tied, until standard input ends.
func runSandbox(args []string, stdout, stderr io.Writer) int {
	config := sandbox.ServeConfig{Kinds: sandboxKinds()}
	flags := pflag.NewFlagSet("shardsh sandbox", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: shardsh sandbox [flags] [CLUSTER…]\n\nServes sandbox clusters on loopback addresses and prints a config.ini for them.\n\n%s", flags.FlagUsages())
	}
	flags.StringVar(&config.DataDir, "data-dir", "", "directory that keeps the clusters from run to run (default: a fresh one, removed at the end)")
	flags.StringVar(&config.Control, "control", "", "path of the control socket (default: in the data directory)")
	flags.StringVar(&config.Net, "net", "", "first three numbers of the first cluster's addresses, such as 127.0.77 (default: the first free ones)")
	set := flags.StringArray("set", nil, "setting of a system's clusters, such as openmldb.strict=true; may be repeated")
	zk := flags.String("zk", "", "ZooKeeper on this machine for the cluster openmldb, host:port/root, and for openmldb2 beside it, /root2 (default: one of its own each)")
	compat := flags.StringSlice("compat", nil, "release of a store to speak like, the first of each by default: "+strings.Join(sandbox.Releases(config.Kinds), ", "))
	flags.BoolVar(&config.ProcessPerNode, "process-per-node", false, "run every node in a process of its own, which kill -9 can end; a system that cannot says so")
	providers := flags.StringArray("block-service", nil, "block service of the Pegasus servers on an HDFS, NAME=hdfs://HOST[:PORT][/ROOT], also in the place of disk or hdfs_zjy; may be repeated")
	tied := flags.Bool("tied", false, "end when standard input does")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return 0
		}
		fmt.Fprintf(stderr, "shardsh sandbox: %v\n", err)
		return 2
	}
	if *zk != "" {
		*set = append(*set, openmldb.System+".zk="+*zk)
	}
	var err error
	if config.Settings, err = sandbox.ParseSettings(config.Kinds, *set...); err != nil {
		return sandboxExit(err, stderr)
	}
	if config.Compat, err = sandbox.ParseCompat(config.Kinds, *compat...); err != nil {
		return sandboxExit(err, stderr)
	}
	if config.Providers, err = parseProviders(*providers); err != nil {
		return sandboxExit(err, stderr)
	}
	config.Open = flags.Args()
	if len(config.Open) == 0 && !*tied {
		config.Open = []string{"onebox", "onebox2"}
	}
	config.Log = func(format string, args ...any) { fmt.Fprintf(stderr, "sandbox: "+format+"\n", args...) }
	return sandboxExit(serveSandbox(config, *tied, stdout), stderr)
}

func serveSandbox(config sandbox.ServeConfig, tied bool, stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	config.Ready = func(s sandbox.Serving) {
		if err := announce(stdout, s, tied); err != nil {
			cancel(err)
		}
	}
	if tied {
		// Nobody waits for this one: it ends with standard input, or with the process.
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel(nil)
		}()
	}
	err := sandbox.Serve(ctx, config)
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

// announce says that the sandbox can be used: to a shell that launched it by one line, to everybody else by a config.ini.
func announce(stdout io.Writer, s sandbox.Serving, tied bool) error {
	text := []byte(sandbox.TiedReady + "\n")
	if !tied {
		text = configOf(s)
	}
	if _, err := stdout.Write(text); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// runSandboxNode runs one node of a sandbox that gives each a process, for as long as that sandbox lives.
func runSandboxNode(args []string, stderr io.Writer) int {
	return sandboxExit(sandbox.RunNode(context.Background(), sandboxKinds(), args, os.Stdin, os.Stdout), stderr)
}

func sandboxExit(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "shardsh sandbox: %v\n", err)
	if hint := spec.HintOf(err); hint != "" {
		fmt.Fprintf(stderr, "  %s\n", hint)
	}
	switch spec.KindOf(err) {
	case spec.Usage, spec.NotFound:
		return 2
	case spec.Refused:
		return 5
	}
	return 1
}

// configOf is a config.ini with which other shells use what is served.
func configOf(s sandbox.Serving) []byte {
	var b bytes.Buffer
	control, err := filepath.Abs(s.Control)
	if err != nil {
		control = s.Control
	}
	fmt.Fprintf(&b, "[shell]\ncluster = %s\n", s.Open[0].Name)
	system := ""
	for _, c := range s.Open {
		if c.System != system {
			system = c.System
			fmt.Fprintf(&b, "[%s.clusters]\n", system)
		}
		fmt.Fprintf(&b, "%s = %s\n", c.Name, c.Address)
	}
	for _, c := range s.Open {
		fmt.Fprintf(&b, "[cluster.%s]\nsandbox = %s\n", c.Name, control)
	}
	b.WriteString(providerSections(s.Providers) + "; ready\n")
	return b.Bytes()
}

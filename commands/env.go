// Package commands holds the words that mean the same on every store, one file per family; the words of one store are
// in commands/<system>. A word is a function of the Env that answers a spec.Command.
package commands

import (
	"context"
	"slices"

	"shardsh/cluster"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// Env is all that a command may reach besides its Call.
type Env interface {
	// Open returns the cluster of that name or address: opened once, shared, closed by the shell. "" is a usage
	// error that says how to choose one.
	Open(ctx context.Context, name string) (cluster.Driver, error)
	// Holds lists the settings of a cluster that plans keep at another value, or that a killed shell left so.
	Holds(name string) ([]Held, error)
	// Block returns the block service of that name: opened once, shared, closed by the shell.
	Block(ctx context.Context, name string) (storage.Service, error)
	// Blocks lists the block services by name, asking none.
	Blocks() []Block
}

// Block is a block service that can be opened by name.
type Block struct {
	Name, Type string
	Sandbox    bool   // it is a directory of the sandbox
	Where      string // args of its section, "" for the sandbox's
}

// BlockNamed finds a block service by its name.
func BlockNamed(env Env, name string) (b Block, found bool) {
	all := env.Blocks()
	i := slices.IndexFunc(all, func(b Block) bool { return b.Name == name })
	if i < 0 {
		return b, false
	}
	return all[i], true
}

// Held is a setting kept at another value (spec.Hold).
type Held struct {
	Setting, Was, During string
	Kept                 bool // on purpose, beyond its plan
	Active               bool // the shell that took it is still running the plan
}

// Driver opens the call's own cluster and asks it for T: cluster.Driver itself, an ability, or a system's driver.
func Driver[T any](ctx context.Context, env Env, call *spec.Call) (T, error) {
	var none T
	d, err := env.Open(ctx, call.Cluster)
	if err != nil {
		return none, err
	}
	t, ok := d.(T)
	if !ok {
		return none, spec.Errorf(spec.Unable, "cluster %s cannot %s", call.Cluster, call.Command.Name)
	}
	return t, nil
}

// Peer opens a cluster that a word names besides its own. It must be one of store, "Pegasus", whose driver is a T.
func Peer[T any](ctx context.Context, env Env, name, store string) (T, error) {
	var none T
	d, err := env.Open(ctx, name)
	if err != nil {
		return none, err
	}
	t, ok := d.(T)
	if !ok {
		return none, spec.Errorf(spec.Unable, "%s is no %s cluster: its rows are others", name, store)
	}
	return t, nil
}

// MostParallel is how many things at most a word does beside each other.
const MostParallel = 64

// Parallel reads a flag that says how many things are done beside each other.
func Parallel(call *spec.Call, flag string) (int, error) {
	n := call.Int(flag)
	if n < 1 || n > MostParallel {
		return 0, spec.Errorf(spec.Usage, "--%s must be between 1 and %d", flag, MostParallel)
	}
	return int(n), nil
}

// Table returns the table a word works on: the argument when given, else the current one.
func Table(call *spec.Call, arg string) (string, error) {
	switch {
	case arg != "":
		return arg, nil
	case call.Table != "":
		return call.Table, nil
	}
	return "", spec.Errorf(spec.Usage, "no table is in use").WithHint("use TABLE first; ls lists the tables")
}

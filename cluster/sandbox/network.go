package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"shardsh/commands/spec"
)

// Network is a cluster's own range of loopback addresses: 127.0.N.x, held under a lock for as long as the process
// lives. Systems where only 127.0.0.1 can be bound (macOS, without an alias) get free ports on it instead.
type Network struct {
	prefix string       // "127.0.7", or "" for 127.0.0.1 and free ports
	lock   *flock.Flock // nil where there is nothing to hold
	guard  net.Listener // holds the network where others look for their locks elsewhere; nil as lock
}

// guardAt is the address of a network that is held as long as the network is: its nodes may all be dead at a moment,
// and their ports free.
const guardAt = ".254:34600"

// TakeNetwork takes the first free N from first on, or exactly forced ("127.0.77") when it is not empty.
func TakeNetwork(first int, forced string) (*Network, error) {
	if forced != "" {
		return forceNetwork(forced)
	}
	dir := filepath.Join(os.TempDir(), "shardsh-net")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("take a loopback network: %w", err)
	}
	// The directory and its files are shared by all users of the machine, whatever this one's umask.
	if err := os.Chmod(dir, 0o777|fs.ModeSticky); err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("take a loopback network: %w", err)
	}
	var last error
	for n := first; n < 255; n++ {
		network, err := lockNetwork(dir, fmt.Sprintf("127.0.%d", n))
		if network != nil {
			return network, nil
		}
		last = err
	}
	return nil, fmt.Errorf("take a loopback network: all of 127.0.%d to 127.0.254 are in use: %w", first, last)
}

// lockNetwork answers nil when somebody else has the network.
func lockNetwork(dir, prefix string) (*Network, error) {
	lock := flock.New(filepath.Join(dir, prefix+".lock"), flock.SetPermissions(0o666))
	if held, err := lock.TryLock(); err != nil || !held {
		return nil, errors.Join(err, lock.Close())
	}
	if !bindable(prefix) {
		return &Network{}, lock.Close()
	}
	guard, err := net.Listen("tcp4", prefix+guardAt)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Network{prefix: prefix, lock: lock, guard: guard}, nil
}

func forceNetwork(prefix string) (*Network, error) {
	ip := net.ParseIP(prefix + ".1")
	if ip == nil || !ip.IsLoopback() || strings.Count(prefix, ".") != 2 {
		return nil, spec.Errorf(spec.Usage, "%q is not the first three numbers of a loopback network", prefix)
	}
	if !bindable(prefix) {
		return nil, spec.Errorf(spec.Usage, "addresses of %s.x cannot be bound on this machine", prefix)
	}
	guard, err := net.Listen("tcp4", prefix+guardAt)
	if err != nil {
		return nil, fmt.Errorf("take the loopback network %s: %w", prefix, err)
	}
	return &Network{prefix: prefix, guard: guard}, nil
}

// shift returns a forced network moved by some places, so that several clusters get neighbours.
func shift(forced string, by int) (string, error) {
	cut := strings.LastIndexByte(forced, '.')
	if forced == "" || cut < 0 {
		return forced, nil
	}
	n, err := strconv.Atoi(forced[cut+1:])
	if err != nil || n < 0 || n+by > 254 {
		return "", spec.Errorf(spec.Usage, "%q is not the first three numbers of a loopback network with room for %d more", forced, by)
	}
	return forced[:cut+1] + strconv.Itoa(n+by), nil
}

func bindable(prefix string) bool {
	listener, err := net.Listen("tcp4", prefix+".1:0")
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// Address returns the address of a host (1 to 254) and the store's usual port on the network: host:port, to be
// listened on. Where there is only one loopback address, the host counts for nothing and the port is a free one.
func (n *Network) Address(host, port int) (string, error) {
	if n.prefix != "" {
		return net.JoinHostPort(fmt.Sprintf("%s.%d", n.prefix, host), strconv.Itoa(port)), nil
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// number is N of 127.0.N.x, 0 where there is none.
func (n *Network) number() int {
	number, _ := strconv.Atoi(n.prefix[strings.LastIndexByte(n.prefix, '.')+1:])
	return number
}

// Close gives the network back.
func (n *Network) Close() error {
	var errs []error
	if n.guard != nil {
		errs = append(errs, n.guard.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

package storagetest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// Tests of several packages run at once, against the same real servers. What one of them does to a server must not happen
// to another.

// owned tells those that the test calls that the server is the test's own.
const owned = "SHARDSH_TEST_OWNED"

// ShareServer keeps others from owning a server, which is named by its address, for as long as the test runs.
func ShareServer(t *testing.T, address string) {
	t.Helper()
	if os.Getenv(owned) != address {
		hold(t, address, (*flock.Flock).TryRLock)
	}
}

// OwnServer waits until nobody else uses a server, and keeps it from others for as long as the test runs: to stop it, and
// what else may be done to it. The test must not run in parallel to others of its package.
func OwnServer(t *testing.T, address string) {
	t.Helper()
	hold(t, address, (*flock.Flock).TryLock)
	t.Setenv(owned, address)
}

func hold(t *testing.T, address string, try func(*flock.Flock) (bool, error)) {
	t.Helper()
	lock := flock.New(filepath.Join(os.TempDir(), "shardsh-test-"+strings.ReplaceAll(address, ":", "-")+".lock"))
	for until := time.Now().Add(10 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got, err := try(lock)
		if err != nil || !got && time.Now().After(until) {
			t.Fatalf("others use %s for too long: %v", address, err)
		}
		if got {
			break
		}
	}
	t.Cleanup(func() {
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Steer tells a server that takes commands on a port besides to do something, and waits until it has.
func Steer(t *testing.T, address, command string) {
	t.Helper()
	answer, err := Steered(address, command)
	if err != nil || answer != "ok" {
		t.Fatalf("%s: %q, %v", command, answer, err)
	}
}

// Steered is Steer for any goroutine: it answers "ok", or why not.
func Steered(address, command string) (string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(answer), err
}

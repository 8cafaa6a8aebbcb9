//go:build integration

package coord

import (
	"fmt"
	"os"
	"testing"
	"time"

	"shardsh/cluster/sandbox/fault"
)

// The tree of a real ZooKeeper does what the local one does.
func TestZooKeeper(t *testing.T) {
	server := os.Getenv("SHARDSH_TEST_ZOOKEEPER")
	if server == "" {
		t.Fatal("SHARDSH_TEST_ZOOKEEPER is not set: this test needs a ZooKeeper, see .ci/servers/README.md")
	}
	run := time.Now().UnixNano()
	conform(t, func(t *testing.T) process {
		gate := &fault.Gate{}
		z := &ZooKeeper{
			Servers: []string{server}, Path: fmt.Sprintf("/coord%d/%s", run, t.Name()), Timeout: time.Second, Gate: gate,
		}
		return process{z, gate, gate.Pause}
	})
}

package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
)

// crashDir makes the test binary a sandbox that is meant to be killed.
const crashDir = "PEGASUS_SANDBOX_TEST_DIR"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == sandbox.NodeCommand {
		if err := sandbox.RunNode(context.Background(), []sandbox.Kind{KindWith(openFlat)}, os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(crashDir); dir != "" {
		err := sandbox.Serve(context.Background(), sandbox.ServeConfig{
			Kinds: []sandbox.Kind{Kind()}, DataDir: dir, Control: dir + ".sock", Open: []string{"onebox"},
			Ready: func(s sandbox.Serving) { fmt.Println(s.Open[0].Address) },
		})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// process is a sandbox in a process of its own.
type process struct {
	cmd     *exec.Cmd
	address string
}

func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), crashDir+"="+dir)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the sandbox did not start: %v", err)
	}
	p.address = strings.TrimSpace(line)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// writeUntilDeath writes rows of a hash key until the server is gone, and answers how many were acknowledged.
func (u *user) writeUntilDeath(config wire.QueryConfigResponse, hash string) (acked int) {
	p := config.Configs[wire.PartitionOf(wire.Hash([]byte(hash), nil), int(config.Partitions))]
	for ; ; acked++ {
		q := wire.PutRequest{Key: key(hash, fmt.Sprintf("w%06d", acked)), Value: fmt.Append(nil, "value ", acked)}
		if a, err := try(u, p.Primary.String(), &wire.Put, p.PID, q); err != nil || a.Error != 0 {
			return acked
		}
	}
}

// Every row acknowledged before kill -9 of the whole sandbox is there when it runs again, every time.
func TestAcknowledgedRowsSurviveKill(t *testing.T) {
	dir := t.TempDir() + "/d"
	for range 3 {
		p := startProcess(t, dir)
		const writers = 2
		var acked [writers]int
		var wrote sync.WaitGroup
		for i := range writers {
			u := newUser(t, &cluster{metaAts: []string{p.address}})
			config := u.healthy("demo")
			wrote.Go(func() { acked[i] = u.writeUntilDeath(config, fmt.Sprint("hash", i)) })
		}
		killer := newUser(t, &cluster{metaAts: []string{p.address}})
		for range 200 { // meanwhile the writers write as well
			if err := killer.put("demo", "killer", "s", "v", 0); err != nil {
				t.Fatal(err)
			}
		}
		p.kill()
		wrote.Wait()
		p = startProcess(t, dir)
		u := newUser(t, &cluster{metaAts: []string{p.address}})
		for i, n := range acked {
			if n == 0 {
				t.Fatal("a writer got no row acknowledged")
			}
			for k := range n {
				if got, status := u.get("demo", fmt.Sprint("hash", i), fmt.Sprintf("w%06d", k)); status != 0 || got != fmt.Sprint("value ", k) {
					t.Fatalf("row %d of %d acknowledged is %q, status %d", k, n, got, status)
				}
			}
		}
		if got, _ := u.get("TableA", "user_0099", "name"); got != "User 99" {
			t.Errorf("TableA reads %q", got)
		}
		p.kill()
	}
}

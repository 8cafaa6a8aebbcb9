package tablet

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/rpc"
)

// crashDir makes the test binary a tablet that is meant to be killed.
const crashDir = "OPENMLDB_TABLET_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if rows, err := strconv.Atoi(os.Getenv(appendRows)); err == nil {
			if err := writeRecords(dir, rows); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
		tree := newTree()
		tablet, err := Start(context.Background(), Config{
			Endpoint: "127.0.0.1:0", Dir: dir, Tree: tree,
			Dial: func(ctx context.Context, peer string) (*rpc.Conn, error) { return rpc.Dial(ctx, peer, rpc.Options{}) },
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(tablet.port.Address())
		select {}
	}
	os.Exit(m.Run())
}

// process is a tablet in a process of its own.
type process struct {
	cmd  *exec.Cmd
	conn *rpc.Conn
}

func (w *world) process(dir string) *process {
	w.t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), crashDir+"="+dir)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		w.t.Fatalf("the tablet did not start: %v", err)
	}
	if p.conn, err = rpc.Dial(w.soon(), strings.TrimSpace(line), rpc.Options{}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		p.conn.Close()
		<-p.conn.Ended()
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// Every row acknowledged before kill -9 of the process is there when another one has loaded the partition, every time.
func TestAcknowledgedRowsSurviveKillOfTheProcess(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	acked := map[int64]bool{}
	for life := range 3 {
		p := w.process(dir)
		n := &node{world: w, conn: p.conn}
		if life == 0 {
			n.create(testMeta(0, api.TableMode_kTableLeader))
		} else {
			n.load(api.TableMode_kTableLeader)
		}
		seen := n.amounts("card", 1000)
		for amount := range acked {
			if seen[amount] != 1 {
				t.Fatalf("life %d: row %d was acknowledged and is there %d times", life, amount, seen[amount])
			}
		}
		var mu sync.Mutex
		var writers sync.WaitGroup
		for writer := range 4 {
			writers.Go(func() {
				for i := int64(0); ; i++ {
					amount := int64(life*4+writer)<<32 | i
					var a api.PutResponse
					q := putRequest(0, "card", "mcc", "", amount, amount+1)
					if p.conn.Call(w.soon(), ServiceName, "Put", q, &a) != nil || a.GetCode() != 0 {
						return
					}
					mu.Lock()
					acked[amount] = true
					if len(acked) == (life+1)*1000 {
						_ = p.cmd.Process.Kill()
					}
					mu.Unlock()
				}
			})
		}
		writers.Wait()
		p.kill()
	}
}

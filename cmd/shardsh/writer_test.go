package main_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/pegasus"
)

// writerTarget makes the test binary write rows to a table, "address table", until its standard input ends, print the
// hash key of each that was acknowledged, and do nothing else.
const writerTarget = "SHARDSH_TEST_WRITER"

// writers is how many rows are on their way at once, so that a partition that takes none does not hold up the others.
const writers = 8

func writeRows(target string) int {
	address, table, _ := strings.Cut(target, " ")
	d, err := pegasus.New(address, cluster.Options{Timeout: func() time.Duration { return time.Second }})
	if err != nil {
		fmt.Fprintln(os.Stderr, writerTarget, err)
		return 2
	}
	defer d.Close()
	ctx, stop := context.WithCancel(context.Background())
	acked := make(chan string, writers)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				hash := fmt.Sprintf("w%d_%06d", w, n)
				if _, err := d.Set(ctx, table, []byte(hash), []byte("n"), []byte(hash), 0); err == nil {
					acked <- hash
				}
			}
		})
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
		group.Wait()
		close(acked)
	}()
	out := bufio.NewWriter(os.Stdout)
	for hash := range acked {
		fmt.Fprintln(out, hash)
		if len(acked) == 0 {
			out.Flush()
		}
	}
	if err := out.Flush(); err != nil {
		return 1
	}
	return 0
}

// Command gotally runs a command that prints what `go test -json` prints, shows it readably, counts, and closes with
// one plain line: "N passed, N failed, N skipped".
//
//	gotally [-sum FILE] COMMAND ARG…
//
// What counts is the leaf: a test with subtests counts only if it failed and none of them did. A package that fails
// without a failed test (it does not build, it panicked, TestMain gave up) counts as one failure, and so does every
// test that never ended. With -sum, "PASSED FAILED" is written to FILE as well.
//
// It exits with 1 when something failed, also when the command says so and the events do not.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	sum := flag.String("sum", "", "also write `FILE`: passed, failed")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: gotally [-sum FILE] COMMAND ARG…")
		os.Exit(2)
	}
	ok, err := run(os.Stdout, *sum, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotally:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// run reports whether everything passed.
func run(out io.Writer, sum string, command []string) (bool, error) {
	// Whoever ends a run that takes too long signals the whole process group: the command dies of it, and what it
	// had done by then is still counted.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	t := newTally(out)
	readErr := t.read(events)
	if readErr != nil {
		_, _ = io.Copy(io.Discard, events) // the command must be able to end
	}
	waitErr := cmd.Wait()
	passed, failed := t.close(waitErr)
	var sumErr error
	if sum != "" {
		sumErr = os.WriteFile(sum, fmt.Appendf(nil, "%d %d\n", passed, failed), 0o644)
	}
	return failed == 0, errors.Join(readErr, sumErr)
}

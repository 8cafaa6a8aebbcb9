//go:build integration && linux

package main_test

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// console opens the prompt on the cluster, with the state directory of the lab, and answers how the terminal was before.
func (b *backupLab) console() (*console, unix.Termios) {
	b.t.Helper()
	c := openConsoleOf(b.t, exec.Command(program, "--config", b.s.config, "--cluster", "onebox"), 40, 200, append(isolated(b.home), "SHARDSH_TIMING=off")...)
	c.prompts(1)
	return c, c.before
}

// TestBackupSteeredByKeys: at the prompt + raises the servers' limit by 50 while they upload, - takes it back, and in the end
// it is what it was. Nothing else that is typed meanwhile is lost.
func TestBackupSteeredByKeys(t *testing.T) {
	b := newBackupLab(t, 100)
	b.run(0, "sandbox break backup.upload 1000000000")
	c, before := b.console()
	c.keys(strings.TrimSuffix(backupLine, " --yes") + "\r")
	c.until("the plan", func(s string) bool {
		return strings.Contains(s, "the key + where it is followed, or job rate ID 100MB/s, raises it meanwhile") && strings.HasSuffix(s, "[y/N]")
	})
	c.keys("y\r")
	c.see("the limit is 50MB/s: + raises, - lowers it")
	c.steers()
	b.uploading()
	c.see("phase 2 of 2 (derived): upload")
	b.rate("50")
	c.keys("+")
	c.see("limit 100MB/s ")
	b.rate("100")
	c.keys("+")
	b.rate("150")
	c.keys("---")
	c.see("-: the limit is 50MB/s, and keys lower it no further")
	b.rate("50")
	c.keys("+let typed 1+1\r")
	b.rate("100")
	b.run(0, "sandbox break backup.upload 0")
	c.prompts(3)
	b.rate("500")
	if s := c.screen(); !strings.Contains(s, "complete") || !strings.Contains(s, ">>> let typed 1+1\n") {
		t.Errorf("in the end:\n%s", s)
	}
	if j := b.journal("j1", "backup"); len(b.known()) != 1 || j.ID != b.known()[0].ID {
		t.Errorf("the servers know of %v, and the job of %+v", b.known(), j)
	}
	c.keys("exit\r")
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if after := c.modes(); after != before {
		t.Errorf("the terminal is not as it was:\n%+v\n%+v", before, after)
	}
}

// TestBackupKeysInterrupted: Ctrl-C ends the following while keys are read, and puts back what keys have raised.
func TestBackupKeysInterrupted(t *testing.T) {
	b := newBackupLab(t, 100)
	b.run(0, "sandbox break backup.upload 1000000000")
	c, before := b.console()
	c.keys(backupLine + "\r")
	b.uploading()
	c.steers()
	c.keys("+")
	b.rate("100")
	c.keys("\x03")
	c.see("it cannot be cancelled: the servers go on with it")
	c.prompts(2)
	b.rate("500")
	// Servers that have a lower limit already are left alone, and a job that holds none has none that keys raise.
	b.run(0, "remote_command -t replica-server nfs.max_send_rate_megabytes_per_disk 40", "job remove j1 --yes", "sandbox break backup.upload 0")
	c.keys("sandbox break backup.upload 1000000000 > /dev/null; backup demo hdfs_zjy /user/pegasus/backup --yes\r")
	c.steers()
	c.keys("+")
	c.see("+: no limit is set")
	c.keys("\x03")
	c.prompts(3)
	b.rate("40")
	c.keys("exit\r")
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if after := c.modes(); after != before {
		t.Errorf("the terminal is not as it was:\n%+v\n%+v", before, after)
	}
}

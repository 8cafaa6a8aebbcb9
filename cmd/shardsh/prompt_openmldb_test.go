//go:build !windows

package main_test

import (
	"strings"
	"testing"
	"time"
)

// alone empties the screen.
func (c *console) alone() {
	c.t.Helper()
	c.until("a prompt", atPrompt)
	c.keys("\x0c") // Ctrl-L
	c.until("an empty screen", func(s string) bool { return atPrompt(s) && !strings.Contains(s, "\n") })
}

// asks types a line on an empty screen, waits for what its answer must hold and for the next prompt, and answers the
// screen.
func (c *console) asks(line string, want ...string) string {
	c.t.Helper()
	c.alone()
	c.enter(line)
	for _, text := range want {
		c.see(text)
	}
	return c.until("the next prompt after "+line, func(s string) bool { return strings.Contains(s, "\n") && atPrompt(s) })
}

// The session of OpenMLDB's document at the real prompt, its prompt marks included. The recovery is held at kLoadTable by a
// fault point, left by Ctrl-C, and gone on with by the same line.
func TestPromptOpenMLDBFailover(t *testing.T) {
	c := openConsole(t, 60, 160, "SHARDSH_TIMING=off")
	c.prompts(1)
	c.enter("cluster openmldb")
	c.until("OpenMLDB's prompt", atPrompt)
	c.asks("> confget", "| auto_failover | true")
	c.asks("> confset auto_failover false --yes", "set auto_failover ok")
	if s := c.screen(); !strings.Contains(s, "auto_failover off") {
		t.Errorf("the prompt does not tell that auto_failover is off:\n%s", s)
	}
	c.asks(">confget", "| auto_failover | false")
	c.asks("sandbox kill .32:8541", "| done")
	c.asks(`wait --within 30s --until 'any(rows, .state == "kOffline")' showtablet`, ".32:8541 | kOffline")
	c.asks("> offlineendpoint .32:8541 --yes > /dev/null", "offline endpoint ok")
	s := c.asks(">showtable flow --columns pid,endpoint,role,is_alive", ".33:8541")
	for _, row := range []string{".32:8541 | leader   | no", ".31:8541 | leader   | yes", ".32:8541 | follower | no"} {
		if !strings.Contains(s, row) {
			t.Errorf("no row %q:\n%s", row, s)
		}
	}
	c.asks("sandbox start .32:8541", "| done")
	c.asks(`wait --within 30s --until 'all(rows, .state == "kHealthy")' showtablet`, ".32:8541 | kHealthy")

	c.asks("sandbox break tablet.hold:load-table", "| done")
	c.alone()
	c.enter("> recoverendpoint .32:8541 --yes")
	c.see("catch up: [") // it follows the operations
	c.keys("\x03")
	c.see("interrupted")
	c.asks(`wait --within 30s --until 'count(rows, .cur_task == "kLoadTable") == 2' showopstatus flow > /dev/null`)
	s = c.asks("> showopstatus flow --columns op_type,name,pid,status,cur_task", "kReAddReplicaOP")
	if strings.Count(s, "| kDoing | kLoadTable |") != 2 {
		t.Errorf("the operations are not seen at kLoadTable:\n%s", s)
	}
	c.asks("sandbox break tablet.hold:load-table 0", "| done")
	c.asks("> recoverendpoint .32:8541 --yes > /dev/null", "recover endpoint ok")
	s = c.asks(">showtable flow --columns pid,endpoint,role,is_alive", ".33:8541")
	if strings.Contains(s, "| no") || strings.Count(s, "| yes") != 6 {
		t.Errorf("not everything is alive:\n%s", s)
	}
	c.keys("exit\r")
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// completes types a part of a line and Tab, again while the cluster has not told yet what there is.
func (c *console) completes(typed string, want ...string) {
	c.t.Helper()
	c.alone()
	c.keys(typed)
	c.see(typed)
	var asked time.Time
	c.until(typed+" completed", func(s string) bool {
		for _, text := range want {
			if !strings.Contains(s, text) {
				if time.Since(asked) > time.Second {
					asked = time.Now()
					c.keys("\t")
				}
				return false
			}
		}
		return true
	})
}

// Tab completes what the cluster has: tables, databases, tablets.
func TestPromptOpenMLDBCompletion(t *testing.T) {
	c := openConsole(t, 40, 140, "SHARDSH_TIMING=off")
	c.prompts(1)
	c.enter("cluster openmldb")
	c.until("OpenMLDB's prompt", atPrompt)
	c.asks("showdb", "demo_db") // completion by itself opens no cluster
	c.completes("use de", "use demo_db")
	c.keys("\r")
	c.see("openmldb demo_db>")
	c.completes("showtable ord", "showtable orders")
	c.keys("\r")
	c.see("| orders |")
	c.completes("showtable fl", "showtable flow")
	c.keys("\x03")
	c.completes("on 127", ".31:8541", ".32:8541", ".33:8541")
	c.keys("\x03")
	c.alone()
	c.enter("on .31:8541")
	c.until("the tablet in the prompt", func(s string) bool {
		return atPrompt(s) && strings.Contains(s[strings.LastIndexByte(s, '\n')+1:], "31:8541")
	})
	c.keys("exit\r")
	if code := c.leave(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

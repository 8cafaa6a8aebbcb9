//go:build !nosandbox

package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"shardsh/cluster/sandbox"
)

func TestSandboxConfig(t *testing.T) {
	text := string(configOf(sandbox.Serving{Control: "/run/control.sock", Open: []sandbox.Opened{
		{Cluster: sandbox.Cluster{Name: "onebox", System: "pegasus"}, Address: "127.0.1.1:34601"},
		{Cluster: sandbox.Cluster{Name: "onebox2", System: "pegasus"}, Address: "127.0.2.1:34601"},
	}}))
	want := `[shell]
cluster = onebox
[pegasus.clusters]
onebox = 127.0.1.1:34601
onebox2 = 127.0.2.1:34601
[cluster.onebox]
sandbox = /run/control.sock
[cluster.onebox2]
sandbox = /run/control.sock
; ready
`
	if text != want {
		t.Errorf("the configuration is\n%s", text)
	}
}

// The words of the shell that steer a sandbox serve none, nor do their names begin a list of clusters.
func TestServes(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile("`sandbox ([a-z]+)`").FindAllSubmatch(readme, -1)
	if len(words) < 11 {
		t.Fatalf("the README knows %d words", len(words))
	}
	for _, w := range words {
		if serves([]string{string(w[1])}) {
			t.Errorf("shardsh sandbox %s serves a cluster", w[1])
		}
	}
	for _, args := range [][]string{nil, {"onebox"}, {"--process-per-node"}, {"--help"}} {
		if !serves(args) {
			t.Errorf("shardsh sandbox %q serves nothing", args)
		}
	}
}

func TestSandboxRefusesNonsense(t *testing.T) {
	for args, says := range map[string]string{"--speed 3": "speed", "nowhere": "onebox", "--net 10.0.0 onebox": "loopback"} {
		var out, errs bytes.Buffer
		if code := runSandbox(strings.Fields(args), &out, &errs); code != 2 || out.Len() != 0 || !strings.Contains(errs.String(), says) {
			t.Errorf("%s: exit %d, %q, %q", args, code, out.String(), errs.String())
		}
	}
}

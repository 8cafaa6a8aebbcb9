package cluster

import (
	"strings"
	"testing"

	"shardsh/commands/spec"
)

func TestMatch(t *testing.T) {
	nodes := []Node{
		{Endpoint: "127.0.1.31:8541"},
		{Endpoint: "127.0.1.131:8541"},
		{Endpoint: "tb3", RealEndpoint: "127.0.1.33:8541"},
		{Endpoint: "127.0.2.31:8542"},
	}
	for name, want := range map[string]string{
		"127.0.1.31:8541": "127.0.1.31:8541",
		".131":            "127.0.1.131:8541",
		".31:8541":        "127.0.1.31:8541",
		".31:8542":        "127.0.2.31:8542",
		".1.31":           "127.0.1.31:8541",
		"tb3":             "tb3",
		"127.0.1.33:8541": "tb3",
		".33":             "tb3",
	} {
		if got, err := Match(nodes, name); err != nil || got != want {
			t.Errorf("Match(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	for name, kind := range map[string]spec.ErrorKind{
		".31": spec.Usage, "31:8541": spec.NotFound, "": spec.NotFound, ".": spec.NotFound, ".32": spec.NotFound, "10.0.0.1:1": spec.NotFound,
	} {
		got, err := Match(nodes, name)
		if err == nil || spec.KindOf(err) != kind {
			t.Errorf("Match(%q) = %q, %v, want %v", name, got, err, kind)
		}
	}
	if _, err := Match(nodes, ".31"); !strings.Contains(err.Error(), "127.0.2.31:8542") {
		t.Errorf("what it may be is not named: %v", err)
	}
}

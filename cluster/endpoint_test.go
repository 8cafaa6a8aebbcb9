package cluster

import (
	"fmt"
	"strings"
	"testing"

	"shardsh/commands/spec"
)

func TestFindEndpoint(t *testing.T) {
	among := []string{
		"127.0.1.31:34801", "127.0.1.32:34801", "127.0.11.32:34801", "rs-1.example.com:34801", "rs-1.example.com:34802",
		"rs-2.example.com:34801", "[::1]:34803",
	}
	for typed, want := range map[string]string{
		"127.0.1.32:34801": "127.0.1.32:34801",
		".31":              "127.0.1.31:34801",
		".31:34801":        "127.0.1.31:34801",
		"127.0.1.31":       "127.0.1.31:34801",
		".11.32":           "127.0.11.32:34801",
		":34802":           "rs-1.example.com:34802",
		"rs-2.example.com": "rs-2.example.com:34801",
		"::1":              "[::1]:34803",
		".32":              "usage: 127.0.1.32:34801, 127.0.11.32:34801",
		"rs-1.example.com": "usage: rs-1.example.com:34801, rs-1.example.com:34802",
		":34801":           "usage: ",
		"31":               "not_found: 127.0.1.31:34801, ",
		".1.3":             "not_found: ",
		"1.31:34801":       "not_found: ",
		"rs-2":             "not_found: ",
		"":                 "not_found: ",
	} {
		got, err := FindEndpoint(typed, among)
		if err != nil {
			got = fmt.Sprintf("%s: %v; %s", spec.KindOf(err), err, spec.HintOf(err))
			kind, names, _ := strings.Cut(want, ": ")
			if strings.HasPrefix(got, kind+": ") && strings.Contains(got, names) {
				continue
			}
		}
		if got != want {
			t.Errorf("%q means %s, want %s", typed, got, want)
		}
	}
}

func TestFindEndpointNamesFew(t *testing.T) {
	var among []string
	for i := range 500 {
		among = append(among, fmt.Sprintf("10.0.0.%d:1", i))
	}
	_, err := FindEndpoint(":1", among)
	if text := fmt.Sprint(err); !strings.Contains(text, "10.0.0.9:1 and 490 more") {
		t.Errorf("the error says %q", text)
	}
}

func TestFindNode(t *testing.T) {
	nodes := []Node{{Endpoint: "127.0.1.31:8541"}, {Endpoint: "tb3", RealEndpoint: "127.0.1.33:8541"}}
	for typed, want := range map[string]string{
		".31": "127.0.1.31:8541", "tb3": "tb3", "127.0.1.33:8541": "tb3", ".33": "tb3", ":8541": "",
	} {
		got, err := FindNode(typed, nodes)
		if (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("FindNode(%q) = %q, %v, want %q", typed, got, err, want)
		}
	}
}

package openmldb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

func TestPartitionText(t *testing.T) {
	want := Partition{
		ID: 3,
		Replicas: []Replica{
			{Endpoint: "a:1", Leader: true, Offset: proto.Uint64(7), Present: true},
			{Endpoint: "b:1", Leader: true, Alive: true, Records: proto.Uint64(5), Present: true},
			{Endpoint: "c:1", Alive: true},
		},
		Terms: []TermOffset{{1, 0}, {3, 7}},
	}
	text, err := FormatPartition(want)
	if err != nil || !strings.Contains(text, "partition_meta:") && !strings.Contains(text, "partition_meta {") {
		t.Fatalf("%s, %v", text, err)
	}
	got, err := ParsePartition(text)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for name, text := range map[string]string{
		"no text":      "",
		"garbage":      "pid: x",
		"no leader":    `pid: 0 partition_meta { endpoint: "a:1" is_leader: true is_alive: false }`,
		"two leaders":  `pid: 0 partition_meta { endpoint: "a:1" is_leader: true } partition_meta { endpoint: "b:1" is_leader: true }`,
		"one twice":    `pid: 0 partition_meta { endpoint: "a:1" is_leader: true } partition_meta { endpoint: "a:1" is_leader: false }`,
		"not an entry": `name: "flow"`,
		"too long":     strings.Repeat(" ", MaxText+1),
	} {
		if p, err := ParsePartition(text); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

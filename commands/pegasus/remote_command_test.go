package pegasus

import (
	"strings"
	"testing"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands/spec"
)

// What a line tells about itself without asking anybody is what its plan then is.
func TestRemoteCommandsThatRead(t *testing.T) {
	f := newFake()
	f.servers = []driver.Server{{Endpoint: "m:1", Role: driver.RoleMeta, Alive: true}, {Endpoint: "a:1", Role: driver.RoleReplica, Alive: true}}
	for line, class := range map[string]spec.Class{
		"meta.live_percentage":                      spec.Read,
		"meta.live_percentage 50":                   spec.Alter,
		"meta.live_percentage DEFAULT":              spec.Alter,
		"help":                                      spec.Read,
		"help meta.live_percentage":                 spec.Read,
		"nfs.max_send_rate_megabytes_per_disk":      spec.Read,
		"nfs.max_send_rate_megabytes_per_disk 1":    spec.Alter,
		"config-dump":                               spec.Read,
		"config-dump /tmp/x":                        spec.Alter,
		"replica.query-app-envs 2.1":                spec.Read,
		"replica.kill_partition":                    spec.Risky,
		"meta.lb.assign_secondary_black_list clear": spec.Alter,
		"what.ever":                                 spec.Risky,
	} {
		f.opened = 0
		call := f.call(t, "remote_command", nil, strings.Fields(line)...)
		changes := call.Changes()
		if f.opened > 0 {
			t.Fatalf("%s: the cluster was opened to find out", line)
		}
		p, err := call.Command.Change(t.Context(), call)
		if err != nil {
			t.Fatal(line, err)
		}
		if p.Class() != class || changes != (class > spec.Read) {
			t.Errorf("%s: class %s, changes %t", line, p.Class(), changes)
		}
	}
	if call := f.call(t, "flush_log", nil); !call.Changes() {
		t.Error("flush_log changes nothing")
	}
}

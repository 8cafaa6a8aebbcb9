package pegasus

import "testing"

func TestWhatCommandsDo(t *testing.T) {
	for _, c := range []struct {
		command     string
		args        []string
		reads, mild bool
		role        string
	}{
		{"help", []string{"server-info"}, true, false, ""},
		{"server-stat", nil, true, false, ""},
		{"flush-log", nil, false, true, ""},
		{"config-dump", nil, true, true, ""},
		{"config-dump", []string{"/tmp/x"}, false, true, ""},
		{"meta.live_percentage", nil, true, true, RoleMeta},
		{"meta.live_percentage", []string{"DEFAULT"}, false, true, RoleMeta},
		{"meta.lb.assign_secondary_black_list", []string{"clear"}, false, true, RoleMeta},
		{"nfs.max_send_rate_megabytes_per_disk", nil, true, true, RoleReplica},
		{"replica.kill_partition", nil, false, false, RoleReplica},
		{"replica.deny-client", []string{"true"}, false, false, RoleReplica},
		{"what.ever", nil, false, false, ""},
	} {
		if reads, mild, role := CommandReads(c.command, c.args), CommandMild(c.command), CommandRole(c.command); reads != c.reads || mild != c.mild || role != c.role {
			t.Errorf("%s %q reads %t, is mild %t, is for %q", c.command, c.args, reads, mild, role)
		}
	}
	for text, refused := range map[string]bool{
		"OK": false, "ERR_OK": false, "ERR: invalid arguments": true, "ERR_INVALID_PARAMETERS": true, "70": false,
		"unknown command 'x'": true, "invalid arguments": true, "{\n  \"error\": \"ok\"\n}": false, "{\n  \"error\": \"ERR: invalid\"\n}": true,
		"{\n  \"error\": \"invalid argument, 0 or 1 argument is acceptable\"\n}": true, `{"total": 0}`: false, `["error"]`: false,
	} {
		if CommandRefused(text) != refused {
			t.Errorf("%q", text)
		}
	}
}

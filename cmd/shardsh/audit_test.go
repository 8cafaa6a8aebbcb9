package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// auditRecord is one line of the audit log.
type auditRecord struct {
	Time                                        time.Time
	ID, Phase, User, Host, Mode, Cluster, Table string
	Line, Plan, Class, Digest, Answer, Status   string
	PID                                         int
	Objects                                     []string
	Code, Changed                               *int
	Seconds                                     *float64
	Error                                       string
}

// auditOf reads the audit log of a home directory.
func auditOf(t *testing.T, home string) []auditRecord {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(home, "state", "shardsh", "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []auditRecord
	for line := range bytes.Lines(text) {
		var r auditRecord
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r)
	}
	return all
}

// change is a line of a script and what the audit log must say of it.
type change struct {
	line, logged  string // logged: when it is not the line itself
	class, answer string
	object        string
	status        string
	code, changed int
}

// TestAuditOfEachChange: of every kind of change there is an intent and a result, which say who, what exactly, how it was
// confirmed and how it ended; of what was refused or only planned or read there is nothing.
func TestAuditOfEachChange(t *testing.T) {
	changes := []change{
		{line: "create x -p 2", class: "change", object: "x", status: "done", changed: 2},
		{line: "create x -p 2", class: "change", object: "x", status: "done", changed: 1},
		{line: "set_app_envs --table x default_ttl 100 --yes", class: "risky", answer: "--yes", object: "x", status: "done", changed: 1},
		{
			line: "set_app_envs --force --table x my.secret_key hunter2secret", logged: "set_app_envs --force --table x my.secret_key ***",
			class: "change", object: "x", status: "failed", code: 1, // the server knows no such setting
		},
		{line: "del_app_envs --table x default_ttl", class: "change", object: "x", status: "done", changed: 1},
		{line: "propose -g 2.0 -p DOWNGRADE_TO_INACTIVE -n .32 --yes", class: "risky", answer: "--yes", object: "demo/0", status: "done", changed: 2},
		{line: "offlineendpoint .33 --yes", class: "risky", answer: "--yes", object: "demo/3", status: "done"},
		{line: "recoverendpoint .33", class: "change", status: "done", changed: 2},
		{line: "confset auto_failover false --yes", class: "risky", answer: "--yes", object: "onebox", status: "done", changed: 1},
		{line: "confset auto_failover true", class: "change", object: "onebox", status: "done", changed: 1},
		{line: "remote_command nfs.max_send_rate_megabytes_per_disk 50", class: "change", status: "done", changed: 1},
		{line: "sandbox break meta.received:create", class: "change", object: "meta.received:create", status: "done", changed: 1},
		{line: "create y --timeout 300ms", class: "change", object: "y", status: "outcome_unknown", code: 6},
		{line: "drop x --yes=x", class: "destroy", answer: "--yes=x", object: "x", status: "done", changed: 1},
	}
	home := t.TempDir()
	script := "create x -p 2 --plan=create.plan\ndrop demo\nls\nremote_command meta.live_percentage\nset_app_envs --table demo default_ttl 100\n"
	for _, c := range changes {
		script += c.line + "\n"
	}
	cmd := exec.Command(program, "-o", "json", "--keep-going")
	cmd.Dir, cmd.Env, cmd.Stdin = home, append(os.Environ(), isolated(home)...), strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 5 { // the first failure is drop without its name
		t.Fatalf("exit %d, %v\n%s", code, err, out)
	}
	records := auditOf(t, home)
	if len(records) != 2*len(changes) {
		t.Fatalf("%d records for %d changes:\n%s", len(records), len(changes), out)
	}
	for i, c := range changes {
		checkAudit(t, c, records[2*i], records[2*i+1], cmd.Process.Pid)
	}
	var plan struct{ Digest string }
	text, err := os.ReadFile(filepath.Join(home, "create.plan"))
	if err != nil || json.Unmarshal(text, &plan) != nil || plan.Digest != records[0].Digest {
		t.Errorf("the plan written has the digest %q, the one applied %q: %v", plan.Digest, records[0].Digest, err)
	}
	if records[0].Digest == records[4].Digest {
		t.Error("two plans have one digest")
	}
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{16}$`)

func checkAudit(t *testing.T, c change, intent, result auditRecord, pid int) {
	t.Helper()
	want := c.line
	if c.logged != "" {
		want = c.logged
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	for phase, r := range map[string]auditRecord{"intent": intent, "result": result} {
		if r.Phase != phase || r.Line != want || r.User != me.Username || r.Host != host || r.PID != pid || r.Mode != "script" || r.Cluster != "onebox" {
			t.Errorf("%s: the %s is %+v", c.line, phase, r)
		}
		if r.Class != c.class || r.Answer != c.answer || !digestForm.MatchString(r.Digest) || r.Plan == "" || r.Time.IsZero() || r.ID != intent.ID {
			t.Errorf("%s: the %s is %+v", c.line, phase, r)
		}
		if c.object != "" && !strings.Contains(" "+strings.Join(r.Objects, " ")+" ", " "+c.object+" ") {
			t.Errorf("%s: the objects are %v", c.line, r.Objects)
		}
	}
	if result.Status != c.status || result.Code == nil || *result.Code != c.code || result.Seconds == nil || result.Changed == nil {
		t.Errorf("%s: the result is %+v", c.line, result)
	} else if c.changed > 0 && *result.Changed != c.changed {
		t.Errorf("%s: %d steps took effect, want %d", c.line, *result.Changed, c.changed)
	}
	if (result.Error != "") != (c.code != 0) {
		t.Errorf("%s: the error is %q", c.line, result.Error)
	}
	if intent.Status != "" || intent.Code != nil || intent.Error != "" {
		t.Errorf("%s: the intent knows the result: %+v", c.line, intent)
	}
}

package shell

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shardsh/commands/spec"
)

// deed is a plan of one step that counts how often it was applied.
type deed struct {
	plan    spec.Plan
	applied int
}

func newDeed(class spec.Class) *deed {
	d := &deed{}
	d.plan = spec.Plan{Title: "do it", Name: "victim", Steps: []spec.Step{{
		Text: "do", Objects: []string{"victim"}, Class: class,
		Apply: func(context.Context, spec.Report) error { d.applied++; return nil },
	}}}
	return d
}

func (d *deed) word() spec.Command {
	return change("do", func() *spec.Plan { p := d.plan; return &p })
}

func TestConfirmationByClass(t *testing.T) {
	for _, c := range []struct {
		class   spec.Class
		line    string
		code    int
		applied int
	}{
		{spec.Alter, "do", ExitDone, 1},
		{spec.Risky, "do", ExitRefused, 0},
		{spec.Risky, "do --yes", ExitDone, 1},
		{spec.Risky, "do --yes=other", ExitRefused, 0},
		{spec.Destroy, "do", ExitRefused, 0},
		{spec.Destroy, "do --yes", ExitRefused, 0},
		{spec.Destroy, "do --yes=other", ExitRefused, 0},
		{spec.Destroy, "do --yes=victim", ExitDone, 1},
		{spec.Destroy, "do --plan", ExitDone, 0},
	} {
		d := newDeed(c.class)
		b := newBench(t, d.word())
		b.want(c.line+"\n", c.code)
		if d.applied != c.applied {
			t.Errorf("%s of class %s: applied %d times", c.line, c.class, d.applied)
		}
	}
}

func TestReadOnlyAsksNothing(t *testing.T) {
	asked := 0
	b := newBench(t, change("do", func() *spec.Plan { asked++; return &newDeed(spec.Alter).plan }))
	b.session.options["read_only"] = "true"
	b.want("do\n", ExitRefused)
	if asked > 0 {
		t.Fatal("the change was planned although the shell is read-only")
	}
	b.want("do --plan\n", ExitDone)
}

// A word whose arguments tell that it only reads is let through, watched and waited for, and leaves nothing in the audit
// log or for undo. Should its plan change something after all, nothing happens.
func TestReadOnlyLetsReadingThrough(t *testing.T) {
	asked := 0
	d := newDeed(spec.Read)
	w := change("do", func() *spec.Plan { asked++; p := d.plan; return &p })
	w.Reads = func(call *spec.Call) bool { return call.Arg(0) == "look" }
	b := newBench(t, w)
	b.session.options["read_only"] = "true"
	for _, line := range []string{"do look", "wait --until 'rows[0].outcome == \"done\"' do look", "watch -n 1ms --times 2 do look"} {
		b.want(line+"\n", ExitDone)
	}
	if d.applied != 4 {
		t.Errorf("applied %d times", d.applied)
	}
	asked = 0
	b.want("do\n", ExitRefused)
	b.want("wait --until true do\n", ExitUsage)
	b.want("watch --times 1 do\n", ExitUsage)
	if asked > 0 {
		t.Error("a change was planned although the shell is read-only")
	}
	b.want("undo\n", ExitFailed)
	b.wantText("changed nothing yet")
	if _, err := os.Stat(b.audit.path); err == nil {
		t.Error("what only reads is in the audit log")
	}
	d.plan.Steps[0].Class, d.applied = spec.Alter, 0
	b.want("do look\n", ExitRefused)
	b.wantText("read-only")
	if d.applied > 0 {
		t.Error("a change was made although the shell is read-only")
	}
}

func TestBlockersRefuseWhateverYesSays(t *testing.T) {
	d := newDeed(spec.Alter)
	d.plan.Blockers = []spec.Blocker{{Object: "flow/0", Why: "the last live replica"}}
	b := newBench(t, d.word())
	b.want("do --yes=victim\n", ExitRefused)
	b.wantText("flow/0: the last live replica")
	b.want("do --force\n", ExitRefused)
	if d.applied != 0 {
		t.Fatal("applied although blocked")
	}
	b.want("do --force --yes=victim\n", ExitDone)
	b.wantText("accept: the last live replica")
}

func TestChecksMakePlansConverge(t *testing.T) {
	d := newDeed(spec.Alter)
	state := spec.State{Kind: spec.Done, Why: "it is"}
	d.plan.Steps[0].Check = func(context.Context) (spec.State, error) { return state, nil }
	b := newBench(t, d.word())
	b.want("do\n", ExitDone)
	b.wantText("already done")
	state = spec.State{Kind: spec.Blocked, Why: "the table is splitting"}
	b.want("do\n", ExitRefused)
	b.wantText("the table is splitting")
	if d.applied != 0 {
		t.Fatal("applied although there was nothing to do")
	}
}

func TestUnknownOutcomeIsReadBack(t *testing.T) {
	d := newDeed(spec.Alter)
	happened := false
	d.plan.Steps[0].Apply = func(context.Context, spec.Report) error {
		happened = true
		return spec.Errorf(spec.UnknownOutcome, "no answer")
	}
	shows := true
	d.plan.Steps[0].Check = func(context.Context) (spec.State, error) {
		if happened && shows {
			return spec.State{Kind: spec.Done}, nil
		}
		return spec.State{}, nil
	}
	b := newBench(t, d.word())
	b.want("do\n", ExitDone)
	b.wantText("read back: it is done")
	happened, shows = false, false
	b.want("do\n", ExitUnknown)
	b.wantText("had not happened")
	d.plan.Steps[0].Check = nil
	b.want("do\n", ExitUnknown)
}

func TestPartialSuccess(t *testing.T) {
	d := newDeed(spec.Alter)
	fail := spec.Step{Text: "break", Class: spec.Alter, Apply: func(context.Context, spec.Report) error { return errors.New("no") }}
	d.plan.Steps = append(d.plan.Steps, fail, d.plan.Steps[0])
	b := newBench(t, d.word())
	b.want("do\n", ExitPartly)
	b.wantText("1 of 3 steps done")
	b.wantText("not run")
	if d.applied != 1 {
		t.Fatalf("applied %d times", d.applied)
	}
}

func TestExpandedStepsMayNotGoBeyond(t *testing.T) {
	d := newDeed(spec.Risky)
	inner := d.plan.Steps[0]
	inner.Class = spec.Alter
	d.plan.Steps[0].Apply = nil
	d.plan.Steps[0].Expand = func(context.Context) ([]spec.Step, error) { return []spec.Step{inner}, nil }
	b := newBench(t, d.word())
	b.want("do --yes\n", ExitDone)
	inner.Objects = []string{"somebody else"}
	b.want("do --yes\n", ExitRefused)
	if d.applied != 1 {
		t.Fatalf("applied %d times", d.applied)
	}
}

func TestPlanOfAScript(t *testing.T) {
	d := newDeed(spec.Alter)
	missing := spec.Command{
		Name: "look", Offline: true, Topic: "shell",
		Query: func(context.Context, *spec.Call) (*spec.Table, error) {
			return nil, spec.Errorf(spec.NotFound, "no table is called victim")
		},
	}
	b := newBench(t, d.word(), missing, query("ok"))
	b.flags.plan = true
	b.want("ok\ndo\nlook\n", ExitDone)
	b.wantText("depends on line 2")
	if d.applied != 0 {
		t.Fatal("--plan applied")
	}
}

// setting is a setting of an imagined cluster, held by a plan.
type setting struct {
	value   string
	during  string
	refuses bool
}

func (s *setting) hold() spec.Hold {
	return spec.Hold{
		Setting: "level", During: "steady", Class: spec.Alter,
		Read: func(context.Context) (string, error) { return s.value, nil },
		Write: func(_ context.Context, v string) error {
			if s.refuses {
				return errors.New("the meta server is gone")
			}
			s.value = v
			return nil
		},
		Restore: func(was string) string { return "set_level " + was },
	}
}

func TestHoldsArePutBack(t *testing.T) {
	set := &setting{value: "lively"}
	d := newDeed(spec.Alter)
	d.plan.Holds = []spec.Hold{set.hold()}
	var b *bench
	onDisk := ""
	fail := error(nil)
	d.plan.Steps[0].Apply = func(context.Context, spec.Report) error {
		set.during = set.value
		files, _ := filepath.Glob(filepath.Join(b.dir, "holds", "*.json"))
		for _, f := range files {
			text, _ := os.ReadFile(f)
			onDisk += string(text)
		}
		return fail
	}
	b = newBench(t, d.word())
	for _, code := range []int{ExitDone, ExitFailed} {
		set.during, onDisk = "", ""
		b.want("do\n", code)
		if set.during != "steady" || set.value != "lively" {
			t.Fatalf("during %q, after %q", set.during, set.value)
		}
		if !strings.Contains(onDisk, `"was": "lively"`) || !strings.Contains(onDisk, "set_level lively") {
			t.Fatalf("what it was is not on disk while the step runs: %s", onDisk)
		}
		fail = errors.New("no")
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "holds", "*")); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestHoldsLeftBehindAreRestored(t *testing.T) {
	set := &setting{value: "lively"}
	d := newDeed(spec.Alter)
	d.plan.Holds = []spec.Hold{set.hold()}
	d.plan.Steps[0].Apply = func(context.Context, spec.Report) error { set.refuses = true; return nil }
	restored := ""
	level := spec.Command{
		Name: "set_level", Offline: true, Topic: "shell", Args: []spec.Arg{{Name: "level"}},
		Change: func(_ context.Context, call *spec.Call) (*spec.Plan, error) {
			return &spec.Plan{Title: "set level", Steps: []spec.Step{{
				Text: "set level", Class: spec.Risky,
				Apply: func(context.Context, spec.Report) error { restored = call.Arg(0); return nil },
			}}}, nil
		},
	}
	b := newBench(t, d.word(), level)
	b.want("do\n", ExitPartly)
	b.wantText("holds restore")
	b.want("holds\n", ExitDone)
	b.wantText("left behind")
	b.want("holds restore\n", ExitRefused)
	stillHeld(t, b)
	b.want("holds restore --yes\n", ExitDone)
	if restored != "lively" {
		t.Fatalf("restored to %q", restored)
	}
	b.want("holds\n", ExitDone)
	if strings.Contains(b.out.String(), "lively") {
		t.Fatalf("the hold is still listed: %s", b.out)
	}
}

// Whoever holds a setting next, as job resume does, puts back what a run before could not, whatever that one held it at.
func TestHoldsLeftBehindAreTakenOver(t *testing.T) {
	set := &setting{value: "lively"}
	d := newDeed(spec.Alter)
	d.plan.Holds = []spec.Hold{set.hold()}
	d.plan.Steps[0].Apply = func(context.Context, spec.Report) error { set.refuses = true; return nil }
	b := newBench(t, d.word())
	b.want("do\n", ExitPartly)
	stillHeld(t, b)
	d.plan.Steps[0].Apply = func(context.Context, spec.Report) error { set.during = set.value; return nil }
	set.refuses = false
	d.plan.Holds[0].During = "freezed"
	b.want("do --yes\n", ExitDone)
	if set.during != "freezed" || set.value != "lively" {
		t.Fatalf("during %q, after %q", set.during, set.value)
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "holds", "*")); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

// stillHeld checks that a hold survives a restore that was refused.
func stillHeld(t *testing.T, b *bench) {
	t.Helper()
	all, err := b.holds.list()
	if err != nil || len(all) != 1 || all[0].active {
		t.Fatalf("%+v %v", all, err)
	}
}

func auditRecords(t *testing.T, b *bench) []auditRecord {
	t.Helper()
	if err := b.audit.close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(b.audit.path)
	if err != nil {
		t.Fatal(err)
	}
	var all []auditRecord
	for _, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		var r auditRecord
		if err := json.Unmarshal([]byte(l), &r); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		all = append(all, r)
	}
	return all
}

func TestAuditHasIntentAndResult(t *testing.T) {
	d := newDeed(spec.Destroy)
	b := newBench(t, d.word())
	d.plan.Steps[0].Apply = func(context.Context, spec.Report) error {
		if text, err := os.ReadFile(b.audit.path); err != nil || !strings.Contains(string(text), `"intent"`) {
			t.Errorf("the intent is not on disk before the step: %q %v", text, err)
		}
		return spec.Errorf(spec.Failed, "ERR_BUSY")
	}
	b.want("do x --password hunter2 --yes=victim\n", ExitFailed)
	all := auditRecords(t, b)
	if len(all) != 2 || all[0].Phase != "intent" || all[1].Phase != "result" || all[0].ID != all[1].ID {
		t.Fatalf("%+v", all)
	}
	if r := all[1]; r.Class != "destroy" || *r.Code != ExitFailed || !strings.Contains(r.Error, "ERR_BUSY") || r.Answer != "--yes=victim" {
		t.Fatalf("%+v", r)
	}
	if text, _ := os.ReadFile(b.audit.path); strings.Contains(string(text), "hunter2") {
		t.Fatalf("the secret is in the audit log: %s", text)
	}
}

func TestAuditOfRowsLogsNoValues(t *testing.T) {
	d := newDeed(spec.Alter)
	d.plan.Steps[0].Rows = true
	b := newBench(t, d.word())
	b.want("do key secretvalue\n", ExitDone)
	auditRecords(t, b)
	if text, _ := os.ReadFile(b.audit.path); strings.Contains(string(text), "secretvalue") || !strings.Contains(string(text), "victim") {
		t.Fatalf("%s", text)
	}
}

func TestChangeThatCannotBeRecordedIsRefused(t *testing.T) {
	d := newDeed(spec.Alter)
	b := newBench(t, d.word())
	b.audit.path = filepath.Join(b.dir, "file", "audit.jsonl")
	if err := os.WriteFile(filepath.Join(b.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.want("do\n", ExitRefused)
	if d.applied != 0 {
		t.Fatal("applied without a record")
	}
}

func TestConfirmAtTheTerminal(t *testing.T) {
	d := newDeed(spec.Destroy)
	b := newBench(t, d.word())
	for _, c := range []struct {
		answer string
		want   bool
	}{{"victim", true}, {"y", false}, {"", false}} {
		b.reader = &answers{list: []string{c.answer}}
		how, err := b.ask(&d.plan, spec.Destroy)
		if (err == nil) != c.want {
			t.Errorf("%q: %q %v", c.answer, how, err)
		}
	}
	b.reader = &answers{list: []string{"y"}}
	if _, err := b.ask(&d.plan, spec.Risky); err != nil {
		t.Error(err)
	}
}

func TestHistoryKeepsNoSecrets(t *testing.T) {
	b := newBench(t, newDeed(spec.Alter).word())
	for _, l := range []string{"do x --password hunter2", "do -password=hunter2", "do --password 'hunter2", " ok hunter2"} {
		b.history.add(b.Shell, l, nil)
	}
	text, err := os.ReadFile(b.history.path)
	if err != nil || strings.Contains(string(text), "hunter2") || strings.Count(string(text), "\n") != 3 {
		t.Fatalf("%s %v", text, err)
	}
}

package sandbox

import (
	"fmt"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/wire"
)

// hotkey asks the primary of a partition about its hot keys: an error name, a hint and what was found.
func (u *user) hotkey(p wire.Partition, kind wire.HotkeyType, action wire.HotkeyAction) (code, hint, key string) {
	u.t.Helper()
	a, err := try(u, p.Primary.String(), &wire.DetectHotkey, wire.GPID{}, wire.DetectHotkeyRequest{Type: kind, Action: action, PID: p.PID})
	if err != nil {
		u.t.Fatal(err)
	}
	if a.Hint != nil {
		hint = *a.Hint
	}
	if a.Result != nil {
		key = *a.Result
	}
	return a.Err, hint, key
}

// One key that is asked for far more often than others is found, reads and writes apart.
func TestHotkeys(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.whole("demo")
	config := u.config("demo")
	p := config.Configs[0]
	var hashes []string
	for i := 0; len(hashes) < 60; i++ {
		if hash := fmt.Sprintf("key\t%d", i); wire.PartitionOf(wire.Hash([]byte(hash), nil), 4) == 0 {
			hashes = append(hashes, hash)
		}
	}
	hot := hashes[0]
	traffic := map[wire.HotkeyType]func(){
		wire.HotkeyRead: func() {
			for _, hash := range hashes {
				u.get("demo", hash, "s")
			}
			for range 200 {
				u.get("demo", hot, "s")
			}
		},
		wire.HotkeyWrite: func() {
			for _, hash := range hashes {
				u.do(u.put("demo", hash, "s", "v", 0))
			}
			for range 200 {
				u.do(u.put("demo", hot, "s", "v", 0))
			}
		},
	}
	for kind, run := range traffic {
		state := func() (string, string) {
			code, hint, key := u.hotkey(p, kind, wire.HotkeyQuery)
			if code == wire.OK {
				return "", key
			}
			if code != wire.CodeBusy || key != "" {
				t.Fatalf("%s %q %q", code, hint, key)
			}
			return hint[strings.LastIndex(hint, " ")+1:], ""
		}
		if got, _ := state(); got != "STOPPED" {
			t.Errorf("before it is started: %s", got)
		}
		run() // counts for nothing
		if code, hint, _ := u.hotkey(p, kind, wire.HotkeyStart); code != wire.OK || hint == "" {
			t.Fatal(code, hint)
		}
		if got, _ := state(); got != "COARSE_DETECTING" {
			t.Errorf("after it is started: %s", got)
		}
		if code, hint, _ := u.hotkey(p, kind, wire.HotkeyStart); code != wire.CodeBusy || !strings.Contains(hint, "already") {
			t.Errorf("started twice: %s %s", code, hint)
		}
		if code, hint, _ := u.hotkey(p, 1-kind, wire.HotkeyQuery); code != wire.CodeBusy || !strings.Contains(hint, "STOPPED") {
			t.Errorf("the other kind: %s %s", code, hint)
		}
		found := ""
		u.eventually("the hot key is found", func() bool {
			run()
			_, found = state()
			return found != ""
		})
		if want := strings.ReplaceAll(hot, "\t", `\t`); found != want {
			t.Errorf("found %s, want %s", found, want)
		}
		if _, again := state(); again != found {
			t.Errorf("the next query answers %q", again)
		}
		if code, hint, _ := u.hotkey(p, kind, wire.HotkeyStart); code != wire.CodeBusy || !strings.Contains(hint, found) {
			t.Errorf("started after it was found: %s %s", code, hint)
		}
		if code, _, _ := u.hotkey(p, kind, wire.HotkeyStop); code != wire.OK {
			t.Error(code)
		}
		if got, _ := state(); got != "STOPPED" {
			t.Errorf("after it is stopped: %s", got)
		}
		if code, _, _ := u.hotkey(p, kind, wire.HotkeyStart); code != wire.OK {
			t.Errorf("started anew: %s", code)
		}
		if code, _, _ := u.hotkey(p, kind, wire.HotkeyStop); code != wire.OK {
			t.Error(code)
		}
	}
}

func TestHotkeysRefuse(t *testing.T) {
	t.Parallel()
	c := run(t, "onebox", "")
	u := newUser(t, c)
	u.whole("demo")
	p := u.config("demo").Configs[0]
	second := p
	second.Primary = p.Secondaries[0]
	stranger := p
	stranger.PID.Partition = 77
	for _, c := range []struct {
		what   string
		code   string
		of     wire.Partition
		kind   wire.HotkeyType
		action wire.HotkeyAction
	}{
		{"a secondary", wire.CodeInvalidState, second, wire.HotkeyRead, wire.HotkeyStart},
		{"a partition that is not there", wire.CodeObjectNotFound, stranger, wire.HotkeyRead, wire.HotkeyQuery},
		{"an unknown type", wire.CodeInvalidParameters, p, 2, wire.HotkeyStart},
		{"a negative type", wire.CodeInvalidParameters, p, -1, wire.HotkeyStart},
		{"an unknown action", wire.CodeInvalidParameters, p, wire.HotkeyRead, 3},
	} {
		if code, hint, _ := u.hotkey(c.of, c.kind, c.action); code != c.code || hint == "" {
			t.Errorf("%s: %s %q", c.what, code, hint)
		}
	}
	if code, _, _ := u.hotkey(p, wire.HotkeyRead, wire.HotkeyStop); code != wire.OK {
		t.Errorf("stopping what does not run: %s", code)
	}
	// A detection ends with the lead.
	if code, _, _ := u.hotkey(p, wire.HotkeyRead, wire.HotkeyStart); code != wire.OK {
		t.Fatal(code)
	}
	down := wire.ProposalAction{Target: p.Primary, Node: p.Primary, Type: wire.ConfigDowngradeToSecondary}
	up := wire.ProposalAction{Target: p.Secondaries[0], Node: p.Secondaries[0], Type: wire.ConfigUpgradeToPrimary}
	if got := u.propose(p.PID, false, down, up); got != wire.OK {
		t.Fatal(got)
	}
	r := c.servers()[0].replica(p.PID)
	if p.Primary.String() != c.nodeAt[0] {
		t.Fatalf("%s leads", p.Primary)
	}
	u.eventually("it has ended", func() bool { return r.hot[wire.HotkeyRead].now() == hotStopped })
}

func TestOutlier(t *testing.T) {
	even := make([]int64, hotBuckets)
	for i := range even {
		even[i] = 100 + int64(i%5)
	}
	one := append([]int64{}, even...)
	one[7] = 500
	for name, c := range map[string]struct {
		counts []int64
		index  int
		found  bool
	}{
		"nothing":                 {nil, 0, false},
		"nothing asked":           {make([]int64, hotBuckets), 0, false},
		"even":                    {even, 0, false},
		"one stands out":          {one, 7, true},
		"one alone":               {[]int64{0, 0, 3, 0}, 2, true},
		"the only key":            {[]int64{4}, 0, true},
		"the greater of two":      {[]int64{4, 9}, 1, true},
		"two that are equal":      {[]int64{4, 4}, 0, false},
		"all equal":               {[]int64{4, 4, 4, 4}, 0, false},
		"two share what there is": {[]int64{900, 1, 1, 1, 900, 1, 1, 1}, 0, false},
	} {
		if i, found := outlier(c.counts, hotKeyDeviations); found != c.found || found && i != c.index {
			t.Errorf("%s: %d, %t", name, i, found)
		}
	}
}

// Many keys in one bucket do not make a detection remember them all.
func TestHotkeysAreBounded(t *testing.T) {
	h := &hotkeys{keys: map[string]int64{}}
	h.state.Store(int32(hotFine))
	for i := range 40 * hotBuckets * hotKeysMost / 20 {
		hash := fmt.Append(nil, i)
		h.bucket = bucketOf(hash)
		h.capture(hash, 1)
	}
	if len(h.keys) != hotKeysMost {
		t.Errorf("%d keys are kept", len(h.keys))
	}
	h.look()
	if h.now() != hotFine || len(h.keys) != 0 {
		t.Errorf("%s, %d keys", h.now(), len(h.keys))
	}
}

func TestEscapeKey(t *testing.T) {
	if got := escapeKey("a\"'\\\n\r\t\x00\xffé"); got != `a\"\'\\\n\r\t\x00\xFF\xC3\xA9` {
		t.Error(got)
	}
}

//go:build integration && linux

package main_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestCopyShared: two machines copy half of the partitions each, beside each other; one of them is killed and goes on.
func TestCopyShared(t *testing.T) {
	l := newCopyLab(t)
	other := &copyLab{t: t, s: l.s, home: t.TempDir()}
	half := func(partitions string) []string {
		return []string{"use " + labTable, labLine + "--max-rate 20000rows/s --verify --partitions " + partitions}
	}
	first, second := l.start(half("0-3")...), other.start(half("4,5-7")...)
	l.until("rows are copied", func(j labJob) bool { return j.Done > 1000 })
	first.cmd.Process.Kill()
	first.exit(-1)
	l.run(0, "job resume j1")
	second.exit(0)
	l.equal()
	one, _ := l.show()
	two, _ := other.show()
	if one.State != "done" || two.State != "done" {
		t.Errorf("%+v, %+v", one, two)
	}
}

// TestCopyWaitsForOne: of a table of one replica each, only the partitions of a dead node wait, and it is said; the others
// are copied to their end meanwhile.
func TestCopyWaitsForOne(t *testing.T) {
	l := newCopyLab(t, "--process-per-node")
	l.on("onebox2", "drop "+labTable+" --yes="+labTable, "create "+labTable+" -p 4 -r 1")
	target := l.node("onebox2", ".33:34801")
	run := l.start("use "+labTable, labLine+"--max-rate 20000rows/s")
	l.until("rows are copied", func(j labJob) bool { return j.Done > 1000 })
	l.on("onebox2", "sandbox kill "+target)
	l.until("a partition waits", func(j labJob) bool { return strings.Contains(j.Held, "wait") })
	var last labJob
	l.until("nothing is left but what waits", func(j labJob) bool {
		if j.Done != last.Done {
			last = j
			return false
		}
		return number(j.Counts["retries"]) > number(last.Counts["retries"])+4
	})
	j, _ := l.show()
	t.Logf("%+v", j)
	l.on("onebox2", "sandbox start "+target)
	run.exit(0)
	l.equal()
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// TestDiffKilled kills the shell while tables are compared: what it answers in the end is as if it never had been.
func TestDiffKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	l := newCopyLab(t)
	l.run(0, "use "+labTable, labLine)
	l.home = t.TempDir() // where the comparison is the first job
	l.on("onebox2", "use "+labTable, "set key7 3 other", "del key8 4", "set key9 extra x")
	line := fmt.Sprintf("diff_data -c onebox2 -a %s --max-rate 40000rows/s", labTable)
	lines := []string{"use " + labTable, line}
	resumed := false
	for kill := range 4 {
		run := l.start(lines...)
		time.Sleep(time.Duration(200+r.IntN(1500)) * time.Millisecond)
		run.cmd.Process.Kill()
		run.exit(-1)
		if j, found := l.show(); found {
			t.Logf("kill %d: %d rows of both", kill, j.Done)
			lines, resumed = []string{"job resume j1"}, true
		}
	}
	if !resumed {
		t.Error("no kill left a job")
	}
	out := l.run(7, lines...)
	want := l.run(7, "use "+labTable+" > /dev/null", strings.Replace(line, "40000rows/s", "none", 1))
	if got, want := differences(t, out), differences(t, want); got != want || !strings.Contains(want, `"extra"`) {
		t.Errorf("%s\nwithout kills: %s", got, want)
	}
}

// differences are what a comparison found, without what hangs on the clock.
func differences(t *testing.T, out string) string {
	t.Helper()
	var found struct {
		Differences []map[string]any
		Summary     map[string]any
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	slices.SortFunc(found.Differences, func(a, b map[string]any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	for _, d := range found.Differences {
		delete(d, "source_ttl")
		delete(d, "target_ttl")
	}
	text, _ := json.Marshal(found)
	return string(text)
}

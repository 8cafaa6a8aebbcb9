//go:build unix

package term

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// go-prompt's own loop hangs here for good.
func TestResizesAgainstEnters(t *testing.T) {
	r := start(t, "plain")
	const enters, resizes = 300, 3000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range resizes {
			r.resize(40+i%40, 10+i%14)
			if i%100 == 0 {
				// Some while nothing else happens.
				time.Sleep(time.Millisecond)
			}
		}
	}()
	for n := range enters {
		r.send(fmt.Sprintf("line %d\r", n))
		r.rawHas(fmt.Sprintf("ran %d: \"line %d\"", n, n))
		r.forget()
	}
	<-done
	r.resize(80, 24)
	r.send("size\r")
	r.rawHas("size 80x24")
	r.send("exit\r")
	r.exit(0)
}

// A line of several rows survives new widths, and is drawn once.
func TestResizeKeepsTheLine(t *testing.T) {
	r := start(t, "plain")
	text := strings.Repeat("0123456789", 10)
	r.send(text + "\x1b[D\x1b[D")
	for _, columns := range []int{50, 30, 100, 7, 80} {
		r.resize(columns, 24)
		whole := "0> " + text
		r.until(fmt.Sprintf("the line on %d columns", columns), func(v view) bool {
			at := len(whole) - 2
			if v.x != at%columns || v.y < at/columns {
				return false
			}
			first := v.y - at/columns
			last := first + (len(whole)-1)/columns
			return last < len(v.rows) && strings.Join(v.rows[first:last+1], "") == whole
		})
	}
	r.send("X\r")
	r.rawHas(fmt.Sprintf("ran 0: %q", text[:98]+"X89"))
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

func TestSmallWindows(t *testing.T) {
	for _, size := range [][2]int{{80, 2}, {12, 24}, {5, 5}, {2, 2}, {1, 1}} {
		r := launch(t, "plain", size[0], size[1])
		r.rawHas(pasteOn)
		r.send("table\t\t\x1b[A" + strings.Repeat("x", 300) + "\x15size\r")
		r.rawHas(fmt.Sprintf("size %dx%d", size[0], size[1]))
		r.send("exit\r")
		r.exit(0)
	}
}

// A line longer than the screen can be typed and run, though not seen.
func TestLineLongerThanTheScreen(t *testing.T) {
	r := start(t, "plain")
	text := strings.Repeat("0123456789", 250)
	r.send(text)
	r.shows("too small")
	r.send("\x1b[D!\r")
	r.rawHas(fmt.Sprintf("ran 0: %q", text[:2499]+"!9"))
	r.at(1)
	r.send("\x0c")
	r.at(1)
	r.send("exit\r")
	r.exit(0)
}

// keyTimes types keys one by one and measures how long each takes to stand on the screen.
func keyTimes(t *testing.T, mode string, keys int) []time.Duration {
	r := start(t, mode)
	const letters = "abcdefghijklmnopqrstuvwxyz"
	var times []time.Duration
	for n := 0; len(times) < keys; n++ {
		text := ""
		for len(text) < 60 && len(times) < keys {
			// Every text is new, so that there is always something to fetch.
			c := letters[(len(times)*7+n)%26]
			text += string(c)
			begun := time.Now()
			r.send(string(c))
			want := fmt.Sprintf("%d> %s", n, text)
			r.until(want, func(v view) bool { return v.row() == want })
			times = append(times, time.Since(begun))
			r.forget()
		}
		r.send("\r")
		r.rawHas(fmt.Sprintf("ran %d", n))
		r.at(n + 1)
	}
	r.send("exit\r")
	r.exit(0)
	return times
}

// Candidates that take 100 ms must not be felt. The reference, with no candidates at all, is measured in the same run;
// a machine that stands still for a moment gets another chance, a keyboard that waits for candidates never passes.
func TestSlowCandidatesAreNotFelt(t *testing.T) {
	const keys, slack = 300, 30 * time.Millisecond
	var report string
	for range 3 {
		reference, slow := keyTimes(t, "bare", keys), keyTimes(t, "slow", keys)
		late := 0
		for i := range slow {
			if slow[i] > slices.Max(reference)+slack {
				late++
			}
		}
		report = fmt.Sprintf("reference median %v max %v, slow candidates median %v max %v, %d of %d keys late",
			median(reference), slices.Max(reference), median(slow), slices.Max(slow), late, keys)
		t.Log(report)
		if late == 0 && (raced || median(slow) < median(reference)+slack) {
			return
		}
	}
	t.Error(report)
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Clone(times)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

func TestMemoryIsFlat(t *testing.T) {
	r := start(t, "plain")
	n := 0
	typed := func(count int) {
		for range count {
			r.send("x\r")
			r.rawHas(fmt.Sprintf("ran %d:", n))
			r.forget()
			n++
		}
	}
	memory := func() (heap, goroutines, files int) {
		r.send("memory\r")
		v := r.rawHas(fmt.Sprintf("ran %d: \"memory\"", n))
		n++
		at := strings.LastIndex(v.raw, "memory is ")
		if _, err := fmt.Sscanf(v.raw[at:], "memory is %d %d %d", &heap, &goroutines, &files); err != nil {
			t.Fatal(err)
		}
		r.forget()
		return heap, goroutines, files
	}
	typed(50)
	heap, goroutines, files := memory()
	const lines = 10000
	begun := time.Now()
	paste(r, strings.Split(strings.Repeat("x\n", lines), "\n")...)
	n += lines
	r.rawHas(fmt.Sprintf("ran %d:", n-1))
	t.Logf("%d pasted lines in %v", lines, time.Since(begun))
	r.forget()
	typed(100)
	heapAfter, goroutinesAfter, filesAfter := memory()
	t.Logf("heap %d, after %d lines %d bytes; goroutines %d, %d; files %d, %d", heap, n, heapAfter, goroutines, goroutinesAfter, files, filesAfter)
	// The child's history holds a string header for each line.
	if heapAfter > heap+2<<20 {
		t.Errorf("%d lines took %d bytes of heap", lines, heapAfter-heap)
	}
	if goroutinesAfter > goroutines || filesAfter > files {
		t.Errorf("goroutines %d → %d, files %d → %d", goroutines, goroutinesAfter, files, filesAfter)
	}
	r.send("exit\r")
	r.exit(0)
}

func TestIdleTakesNoProcessor(t *testing.T) {
	r := start(t, "plain")
	n := 0
	used := func() (us int) {
		r.send("cpu\r")
		v := r.rawHas(fmt.Sprintf("ran %d: \"cpu\"", n))
		n++
		at := strings.LastIndex(v.raw, "cpu is ")
		if _, err := fmt.Sscanf(v.raw[at:], "cpu is %d", &us); err != nil {
			t.Fatal(err)
		}
		r.at(n)
		return us
	}
	used()
	before, begun := used(), time.Now()
	time.Sleep(3 * time.Second) // what is measured
	spent, elapsed := used()-before, time.Since(begun)
	share := float64(spent) / float64(elapsed.Microseconds())
	t.Logf("%.2f %% of a core", share*100)
	limit := 0.01
	if raced {
		limit = 0.1
	}
	if share > limit {
		t.Errorf("an idle prompt takes %.2f %% of a core", share*100)
	}
	r.send("exit\r")
	r.exit(0)
}

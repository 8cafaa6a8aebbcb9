package render

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/commands/spec"
)

func TestSort(t *testing.T) {
	columns := append(everyKind(), spec.Column{Name: "n", Kind: spec.Int})
	for text, want := range map[string]string{
		"partitions":    "[2 0 3 1]", // nil last
		"-partitions":   "[3 0 2 1]",
		"name":          "[2 3 0 1]",
		"NAME":          "[2 3 0 1]",
		"is_alive":      "[2 0 3 1]", // equal rows keep their order
		"-is_alive,n":   "[0 3 2 1]",
		"-is_alive, -n": "[3 0 2 1]",
		"ttl":           "[3 2 0 1]",
		"memused":       "[2 0 3 1]",
		"-since":        "[3 0 1 2]",
		"rate":          "[2 3 0 1]",
		"key":           "[2 0 3 1]",
		"replicas":      "[2 3 0 1]",
		"envs":          "[2 3 0 1]",
	} {
		var rows []spec.Row
		for i, row := range everyRow() {
			rows = append(rows, append(row, i))
		}
		out := mustRender(t, &spec.Table{Columns: columns, Rows: spec.RowsOf(rows...)}, Options{Format: "json", Sort: text})
		var got []struct{ N int }
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		var places []int
		for _, row := range got {
			places = append(places, row.N)
		}
		if fmt.Sprint(places) != want {
			t.Errorf("--sort %s gives %v, not %s", text, places, want)
		}
	}
}

// TestSpill sorts more than fits in memory, in little memory, and compares with a sort that has enough.
func TestSpill(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	var rows []spec.Row
	for i := range 5000 {
		row := everyRow()[i%4]
		if row[2] != nil {
			row[2] = int64(random.IntN(50))
		}
		rows = append(rows, append(row, i))
	}
	keys := []sortKey{{at: 2, kind: spec.Int, down: true}, {at: 0}}
	want := slices.Clone(rows)
	slices.SortStableFunc(want, func(a, b spec.Row) int { return compareRows(keys, a, b) })

	s := newSorter(keys, dir)
	s.maxRows, s.maxRuns = 37, 4
	if err := s.read(t.Context(), spec.RowsOf(rows...)); err != nil {
		t.Fatal(err)
	}
	if len(s.runs) == 0 || len(s.runs) > 4 {
		t.Fatalf("%d runs", len(s.runs))
	}
	var got []spec.Row
	if err := s.merge(t.Context(), func(row spec.Row) error { got = append(got, row); return nil }); err != nil {
		t.Fatal(err)
	}
	s.close()
	noFiles(t, dir)
	for i := range want {
		if fmt.Sprint(want[i]) != fmt.Sprint(got[i]) {
			t.Fatalf("row %d is\n%v, not\n%v", i, got[i], want[i])
		}
	}
}

func noFiles(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 0 {
		t.Errorf("%d files are left, %v", len(files), err)
	}
}

func TestCellsSurviveTheDisk(t *testing.T) {
	row := spec.Row{
		nil, true, false, -5, int32(-5), int64(math.MinInt64), uint32(5), uint64(math.MaxUint64), 1.5, "text\xff", "",
		[]byte{0, 255},
		[]byte{},
		[]byte(nil), time.Duration(-5),
		time.Time{},
		time.Date(2026, 1, 2, 3, 4, 5, 6, zone),
		[]string{"a", ""},
		[]string{},
		[]string(nil),
		map[string]string{"a": "b"},
		map[string]string{},
		map[string]string(nil),
	}
	r, err := newRun(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for range 3 {
		if err := r.write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.rewind(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := r.read()
		if err != nil {
			t.Fatal(err)
		}
		for i, cell := range row {
			if at, ok := cell.(time.Time); ok {
				if !at.Equal(got[i].(time.Time)) || at.String()[:25] != got[i].(time.Time).String()[:25] {
					t.Errorf("time %v comes back as %v", cell, got[i])
				}
			} else if !reflect.DeepEqual(cell, got[i]) {
				t.Errorf("%#v comes back as %#v", cell, got[i])
			}
		}
	}
	if _, err := r.read(); err == nil {
		t.Error("a row after the last")
	}
}

// TestSpillLeavesNothing: after the end, an error, a cancelled context and a reader that went away.
func TestSpillLeavesNothing(t *testing.T) {
	lost := errors.New("lost")
	many := func(after error) *spec.Table {
		table := numbers(sortRowsHeld + 5)
		rows := table.Rows
		table.Rows = func(yield func(spec.Row, error) bool) {
			for row, err := range rows {
				if !yield(row, err) {
					return
				}
			}
			if after != nil {
				yield(nil, after)
			}
		}
		return table
	}
	dir := filepath.Join(t.TempDir(), "new")
	o := Options{Format: "plain", Sort: "-n", TempDir: dir}
	out := mustRender(t, many(nil), o)
	if lines := strings.Split(out, "\n"); !strings.Contains(lines[1], " 100004 ") || strings.Count(out, "\n") != sortRowsHeld+6 {
		t.Errorf("sorted: %q", lines[1])
	}
	noFiles(t, dir)
	if out, _, err := render(t, many(lost), o); !errors.Is(err, lost) || out != "" {
		t.Errorf("got %v", err)
	}
	noFiles(t, dir)
	if _, err := Write(t.Context(), &brokenPipe{100}, nil, many(nil), o); err == nil {
		t.Error("a failed write is lost")
	}
	noFiles(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ctx, &clocked{}, nil, many(nil), o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	noFiles(t, dir)
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.TempDir = blocked
	if _, _, err := render(t, many(nil), o); kindOf(t, err) != spec.Failed || spec.HintOf(err) == "" {
		t.Errorf("no place to spill: %v", err)
	}
}

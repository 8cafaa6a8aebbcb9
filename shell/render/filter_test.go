package render

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"shardsh/commands/spec"
)

// filtered lists the places of the rows a filter keeps, of rows numbered by their column "n".
func filtered(t *testing.T, expression string) ([]int, error) {
	t.Helper()
	columns := append(everyKind(), spec.Column{Name: "n", Kind: spec.Int}, spec.Column{Name: "count", Kind: spec.Int}, spec.Column{Name: "p99 ms", Kind: spec.Float})
	var rows []spec.Row
	for i, row := range everyRow() {
		rows = append(rows, append(row, i, 10*i, float64(i)))
	}
	out, _, err := render(t, &spec.Table{Columns: columns, Rows: spec.RowsOf(rows...)}, Options{Format: "json", Filter: expression})
	if err != nil {
		return nil, err
	}
	var got []struct{ N int }
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	var places []int
	for _, row := range got {
		places = append(places, row.N)
	}
	return places, nil
}

func TestFilter(t *testing.T) {
	for expression, want := range map[string][]int{
		`true`:                                 {0, 1, 2, 3},
		`partitions > 7`:                       {0, 3},
		`partitions < 7`:                       {2}, // nil is not less
		`not (partitions < 7)`:                 {0, 1, 3},
		`PARTITIONS == 8`:                      {0},
		`partitions == nil`:                    {1},
		`partitions + 1 > 8`:                   {0, 3},
		`partitions + n * 2 - 1 < 100`:         {0, 2},
		`partitions < 7 or n == 1`:             {1, 2},
		`rate > 2.5`:                           {0, 3},
		`rate > 2`:                             {0, 3},
		`name matches "^表"`:                    {0},
		`name contains "|" and is_alive`:       {3},
		`name == ""`:                           {2},
		`name != nil and name startsWith "a"`:  {3},
		`len(name) == 2`:                       {0}, // of nil there is no length: the row does not qualify
		`key startsWith "k\\x00"`:              {0},
		`is_alive`:                             {0, 3},
		`not is_alive`:                         {2},
		`ttl > 3600`:                           {0},
		`ttl > "25h"`:                          {0},
		`"25h" < ttl`:                          {0},
		`ttl < "1s"`:                           {2, 3},
		`memused >= 1572864`:                   {0, 3},
		`memused > "1.5MiB"`:                   {3},
		`memused >= "1.5 MB"`:                  {0, 3},
		`since < "2026-01-31T15:04:06Z"`:       {0},
		`since >= "2026-01-31T15:04:05Z"`:      {0, 3},
		`since.Year() == 2026`:                 {0, 3},
		`since > date("2026-01-31T15:04:05Z")`: {3},
		`"b,c" in replicas`:                    {0},
		`envs.a == "1|x"`:                      {0},
		`any(replicas, # startsWith "10.")`:    {0},
		`count > 10`:                           {2, 3}, // the name of a function, too
		`count(replicas, true) == 2`:           {0},
		`$env["p99 ms"] > 1.5`:                 {2, 3},
		`let limit = 7; partitions > limit`:    {0, 3},
		`n in [1, 2] and n != 2`:               {1},
		`partitions > 7 ? is_alive : n == 1`:   {0, 1, 3},
		`(partitions ?? 0) < 8`:                {1, 2},
		`upper(name) == "表格" || n ** 2 == 9`:   {0, 3},
		`n % 3 == 0 and partitions < 9`:        {0},
	} {
		got, err := filtered(t, expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if len(got) != len(want) {
			t.Errorf("%s keeps %v, not %v", expression, got, want)
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s keeps %v, not %v", expression, got, want)
				break
			}
		}
	}
}

func TestFilterErrors(t *testing.T) {
	for expression, says := range map[string]string{
		`partitons > 7`:                `did you mean "partitions"?`,
		`partitions > "many"`:          "mismatched types",
		`partitions`:                   "expected bool",
		`partitions >`:                 "character",
		`ttl > "soon"`:                 "not a duration",
		`since > "tomorrow"`:           "not a time",
		`memused > "5 XB"`:             "not a size",
		`name matches "("`:             "error parsing regexp",
		`nosuch(name)`:                 "nosuch",
		`name + 1 > 2`:                 "mismatched types",
		`"x" in partitions`:            "",
		`zzz == 1`:                     `no column "zzz"`,
		strings.Repeat("(", 50) + `n`:  "",
		`name matches name and nosuch`: "nosuch",
	} {
		_, err := filtered(t, expression)
		if err == nil || kindOf(t, err) != spec.Usage || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", expression, err)
		}
		if err != nil && strings.Contains(err.Error(), columnMark+"par") {
			t.Errorf("%s shows the inner name of a column: %v", expression, err)
		}
	}
	if _, err := filtered(t, `partitons > 7`); !strings.Contains(spec.HintOf(err), "is_alive") {
		t.Errorf("the hint does not list the columns: %q", spec.HintOf(err))
	}
}

func TestNothingIsReadBeforeOptionsAreUnderstood(t *testing.T) {
	for _, o := range []Options{{Filter: "nosuch > 1"}, {Sort: "nosuch"}, {Columns: []string{"nosuch"}}, {Format: "nosuch"}} {
		table := list()
		table.Rows = func(func(spec.Row, error) bool) { t.Errorf("%+v: rows are read", o) }
		if out, _, err := render(t, table, o); kindOf(t, err) != spec.Usage || out != "" {
			t.Errorf("%+v: %q, %v", o, out, err)
		}
	}
}

func TestOptionsApplyToSectionsThatHaveTheColumns(t *testing.T) {
	got := mustRender(t, sections(), Options{Format: "jsonl", Filter: `state == "ALIVE"`, Columns: []string{"State"}, Sort: "-endpoint"})
	want := `{"section":"nodes","state":"ALIVE"}` + "\n" + `{"section":"summary","alive":1,"note":"two\nlines"}` + "\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
	_, _, err := render(t, sections(), Options{Columns: []string{"state", "alive"}})
	if kindOf(t, err) != spec.Usage || !strings.Contains(err.Error(), "no section has all of") {
		t.Errorf("got %v", err)
	}
	if got := mustRender(t, record(), Options{Format: "json", Filter: "partitions > 100"}); got != "null\n" {
		t.Errorf("a record left out is %q", got)
	}
}

func TestValue(t *testing.T) {
	for _, c := range []struct {
		kind       spec.Kind
		cell, want any
	}{
		{spec.Text, nil, nil},
		{spec.Text, "a\x1b", "a\x1b"},
		{spec.Text, role(1), "primary"},
		{spec.Bytes, "a\x1b", `a\x1b`},
		{spec.Bytes, []byte(`"`), `\"`},
		{spec.Int, 5, int64(5)},
		{spec.Int, uint32(5), int64(5)},
		{spec.Int, uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{spec.Duration, 1500 * time.Millisecond, 1.5},
		{spec.Time, time.Time{}, nil},
		{spec.Time, time.Date(2026, 1, 1, 8, 0, 0, 0, zone), "2026-01-01T00:00:00Z"},
		{spec.Size, int64(7), int64(7)},
	} {
		if got := Value(c.kind, c.cell); got != c.want {
			t.Errorf("Value(%v, %v) is %v (%T)", c.kind, c.cell, got, got)
		}
	}
}

type role int

func (role) String() string { return "primary" }

func TestCondition(t *testing.T) {
	at := time.Now().Add(-time.Hour)
	tables := map[string]func() *spec.Table{
		"rows": func() *spec.Table {
			return &spec.Table{
				Columns: []spec.Column{{Name: "endpoint"}, {Name: "is_alive", Kind: spec.Bool}, {Name: "n", Kind: spec.Int}, {Name: "since", Kind: spec.Time}},
				Rows:    spec.RowsOf(spec.Row{"a:1", true, 5, at}, spec.Row{"b:1", false, nil, nil}),
			}
		},
		"empty":  func() *spec.Table { return &spec.Table{Columns: spec.Columns("endpoint", "state")} },
		"record": record, "sections": sections,
	}
	for _, c := range []struct {
		on, condition string
		want          bool
	}{
		{"rows", `count == 2`, true},
		{"rows", `len(rows) == 2 and rows[0].endpoint == "a:1"`, true},
		{"rows", `count(rows, .is_alive) == 1`, true},
		{"rows", `all(rows, .is_alive)`, false},
		{"rows", `any(rows, .n > 4)`, true},
		{"rows", `all(rows, .n > 4)`, false}, // nil is not more
		{"rows", `rows[0].since < now() - duration("30m")`, true},
		{"empty", `count == 0`, true},
		{"empty", `rows[0].state == "DONE"`, false},
		{"record", `partitions == 8 and count == 1`, true},
		{"record", `ttl > "1h" and memused < "2MiB" and IS_ALIVE`, true},
		{"sections", `count(nodes, .state == "ALIVE") == summary.alive`, true},
		{"sections", `len(held) == 0`, true},
	} {
		condition, err := CompileCondition(c.condition)
		if err != nil {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		snapshot, err := Collect(tables[c.on](), 10)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := condition.Eval(snapshot); err != nil || got != c.want {
			t.Errorf("%s on %s: %v, %v", c.condition, c.on, got, err)
		}
	}
	if _, err := CompileCondition("count =="); kindOf(t, err) != spec.Usage {
		t.Errorf("got %v", err)
	}
	for _, c := range []struct{ on, condition, says string }{
		{"rows", `cuont == 2`, `did you mean "count"?`},
		{"rows", `all(rows, .is_aliv)`, `did you mean "is_alive"?`},
		{"rows", `count`, "neither true nor false"},
		{"empty", `count + 1`, "neither true nor false"},
		{"rows", `partitions == 8`, "no name"},
		{"rows", `rows[7].n == 1`, "out of range"},
		{"record", `ttl > "soon"`, "not a duration"},
	} {
		condition, err := CompileCondition(c.condition)
		if err != nil {
			t.Errorf("%s: %v", c.condition, err)
			continue
		}
		snapshot, _ := Collect(tables[c.on](), 10)
		if _, err := condition.Eval(snapshot); err == nil || kindOf(t, err) != spec.Usage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s on %s: %v", c.condition, c.on, err)
		}
	}
}

func TestCollect(t *testing.T) {
	if _, err := Collect(numbers(11), 10); kindOf(t, err) != spec.Failed {
		t.Errorf("got %v", err)
	}
	lost := errors.New("lost")
	if _, err := Collect(&spec.Table{Columns: spec.Columns("a"), Rows: failing(lost, spec.Row{"x"})}, 10); !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
}

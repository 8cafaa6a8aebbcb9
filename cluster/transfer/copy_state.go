package transfer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"shardsh/commands/spec"
)

// Counts say what became of rows.
type Counts struct {
	Rows     int64 `json:"rows"`               // written
	Bytes    int64 `json:"bytes"`              // of their keys and values
	Kept     int64 `json:"kept,omitempty"`     // the target had a row of that key, which was to be kept
	Unsure   int64 `json:"unsure,omitempty"`   // written or kept, nobody can tell
	Expired  int64 `json:"expired,omitempty"`  // their time was over
	Filtered int64 `json:"filtered,omitempty"` // travelled, and did not match
}

func (c *Counts) add(o Counts) {
	c.Rows += o.Rows
	c.Bytes += o.Bytes
	c.Kept += o.Kept
	c.Unsure += o.Unsure
	c.Expired += o.Expired
	c.Filtered += o.Filtered
}

func (c *Counts) subtract(o Counts) {
	c.add(Counts{-o.Rows, -o.Bytes, -o.Kept, -o.Unsure, -o.Expired, -o.Filtered})
}

func (c *Counts) dealtWith() int64 { return c.Rows + c.Kept + c.Unsure + c.Expired + c.Filtered }

// Totals are Counts, and the errors that were got over.
type Totals struct {
	Counts
	// Retries are calls that were made again, Errors what had become of them, by the store's name of the error, or by
	// its kind.
	Retries int64            `json:"retries,omitempty"`
	Errors  map[string]int64 `json:"errors,omitempty"`
}

// String says it in words: "1200 rows copied, 3 kept".
func (t Totals) String() string {
	text := fmt.Sprintf("%d rows copied", t.Rows)
	if t.Rows == 1 {
		text = "1 row copied"
	}
	for _, c := range []struct {
		n    int64
		what string
	}{
		{t.Kept, "kept"},
		{t.Unsure, "copied or kept, which cannot be told"},
		{t.Expired, "expired"},
		{t.Filtered, "looked at that did not match"},
		{t.Retries, "retries"},
	} {
		if c.n > 0 {
			text += fmt.Sprintf(", %d %s", c.n, c.what)
		}
	}
	return text
}

// troubles are errors that were got over.
type troubles struct {
	retries int64
	errors  map[string]int64
}

// mostNames bounds the names of errors that are told apart: servers choose them.
const mostNames = 24

func (t *troubles) add(err error) {
	t.retries++
	if t.errors == nil {
		t.errors = map[string]int64{}
	}
	name := errorName(err)
	if _, known := t.errors[name]; !known && len(t.errors) >= mostNames {
		name = "errors_other"
	}
	t.errors[name]++
}

func errorName(err error) string {
	var e *spec.Error
	if errors.As(err, &e) && e.Code != "" {
		return strings.ToLower(e.Code)
	}
	return "errors_" + spec.KindOf(err).String()
}

// journal is what a copy saves.
type journal struct {
	Version int              `json:"version"`
	Into    string           `json:"into,omitempty"`
	Parts   []journalPart    `json:"parts"`
	Retries int64            `json:"retries,omitempty"`
	Errors  map[string]int64 `json:"errors,omitempty"`
}

const journalVersion = 1

// journalPart is how far a part is.
type journalPart struct {
	Part     int      `json:"part"`
	Start    Position `json:"start,omitempty"`
	Position Position `json:"position,omitempty"`
	Done     bool     `json:"done,omitempty"`
	Counts
	About      int64 `json:"about,omitempty"`
	AboutBytes int64 `json:"about_bytes,omitempty"`
}

// restore takes over what a run before this one saved.
func (c *copier[R]) restore(j *journal) error {
	bad := func(why string) error {
		return spec.Errorf(spec.Failed, "the journal cannot be gone on from: %s", why).WithHint("start a new copy")
	}
	if j.Version != journalVersion {
		return bad(fmt.Sprintf("it is of version %d", j.Version))
	}
	if j.Into != c.o.Into {
		return bad(fmt.Sprintf("it is about %s, and the rows would go to %s", j.Into, c.o.Into))
	}
	seen := map[int]bool{}
	for _, p := range j.Parts {
		if seen[p.Part] || p.Part < 0 {
			return bad(fmt.Sprintf("partition %d cannot be", p.Part))
		}
		seen[p.Part] = true
		c.add(p)
	}
	c.troubles = troubles{j.Retries, j.Errors}
	return nil
}

// save writes the journal.
func (c *copier[R]) save() error {
	j := journal{Version: journalVersion, Into: c.o.Into, Parts: make([]journalPart, len(c.parts))}
	for i, p := range c.parts {
		p.mu.Lock()
		j.Parts[i] = p.saved
		p.mu.Unlock()
	}
	c.mu.Lock()
	j.Retries, j.Errors = c.troubles.retries, maps.Clone(c.troubles.errors)
	c.mu.Unlock()
	return c.work.Save(&j)
}

// totals are of what was acknowledged.
func (c *copier[R]) totals() Totals {
	var t Totals
	for _, p := range c.parts {
		p.mu.Lock()
		t.add(p.saved.Counts)
		t.add(p.ahead)
		p.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Retries, t.Errors = c.troubles.retries, maps.Clone(c.troubles.errors)
	return t
}

// show shows how far it is.
func (c *copier[R]) show() {
	t := c.totals()
	f := spec.Figures{Done: t.dealtWith(), Unit: "rows", Bytes: t.Bytes, Parts: len(c.parts), Estimated: true}
	for _, p := range c.parts {
		p.mu.Lock()
		if p.saved.Done {
			f.PartsDone++
		}
		f.Total += p.saved.About
		f.TotalBytes += p.saved.AboutBytes
		p.mu.Unlock()
	}
	f.Counts = []spec.Count{{Name: "copied", N: t.Rows}, {Name: "kept", N: t.Kept}}
	if t.Unsure > 0 {
		f.Counts = append(f.Counts, spec.Count{Name: "copied_or_kept", N: t.Unsure})
	}
	f.Counts = append(f.Counts, spec.Count{Name: "expired", N: t.Expired}, spec.Count{Name: "filtered", N: t.Filtered}, spec.Count{Name: "retries", N: t.Retries})
	for _, name := range slices.Sorted(maps.Keys(t.Errors)) {
		f.Counts = append(f.Counts, spec.Count{Name: name, N: t.Errors[name]})
	}
	f.Held = c.held()
	c.work.Show(f)
}

// held says what keeps the copy back.
func (c *copier[R]) held() string {
	var first, n int
	var why error
	for _, p := range c.parts {
		p.mu.Lock()
		if p.held > 0 && !p.heldSlow {
			if n == 0 {
				first, why = p.saved.Part, p.heldBy
			}
			n++
		}
		p.mu.Unlock()
	}
	switch {
	case n == 1:
		return fmt.Sprintf("partition %d waits%s", first, reason(why))
	case n > 1:
		return fmt.Sprintf("%d partitions wait%s", n, reason(why))
	}
	if limit, lately := c.gate.slowed(); lately {
		return fmt.Sprintf("the store asks for less: %d writes at once", limit)
	}
	return ""
}

// reason says for whom and why: " for 10.0.0.5:34801: no answer in time".
func reason(err error) string {
	var e *spec.Error
	if !errors.As(err, &e) {
		return ": " + err.Error()
	}
	text := ""
	if e.Endpoint != "" {
		text = " for " + e.Endpoint
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	} else if e.Code != "" {
		text += ": " + e.Code
	}
	return text
}

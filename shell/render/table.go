package render

import (
	"slices"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"shardsh/commands/spec"
)

// What tablewriter draws between cells and at both ends: "| a | b |".
const frameGap, frameEnds = 3, 4

// narrowest is the width below which cells are not cut.
const narrowest = 6

const (
	noteBorderless = "rendered without borders: more rows than fit a measured table, or they come slowly"
	noteCut        = "some cells are cut to fit the terminal: --output vertical shows them whole, --columns A,B shows fewer"
)

// tableDoc holds rows back until it knows their widths; then tablewriter draws them if they are all, and the aligner
// if there are more.
type tableDoc struct {
	w        *writing
	auto     bool
	print    *printer
	sec      *section
	held     *block
	rows     []spec.Row // the same rows, for vertical
	align    *aligner
	vertical *verticalDoc
	down     bool // this section is written vertically
	noted    bool // borders were given up because of many or slow rows, which is said
}

func openTable(w *writing) document {
	return &tableDoc{w: w, print: newPrinter(w.Options), vertical: newVertical(w)}
}

func openAuto(w *writing) document {
	if !w.Terminal {
		w.format = "plain"
		return openPlain(w)
	}
	return &tableDoc{w: w, auto: true, print: newPrinter(w.Options), vertical: newVertical(w)}
}

func (d *tableDoc) begin(sec *section) error {
	d.sec, d.align, d.rows, d.noted = sec, nil, nil, false
	d.down = sec.single
	if d.down {
		d.chose("vertical")
		return d.vertical.begin(sec)
	}
	d.w.sectionTitle(sec)
	d.held = newBlock(sec.columns)
	return nil
}

// chose tells what auto came to.
func (d *tableDoc) chose(format string) {
	if d.auto && (d.w.format == "" || d.w.format == "auto") {
		d.w.format = format
	}
}

func (d *tableDoc) row(cells spec.Row) error {
	switch {
	case d.down:
		return d.vertical.row(cells)
	case d.align != nil:
		d.align.row(cells)
		return nil
	}
	d.held.add(d.print, d.sec.columns, cells)
	if d.auto {
		d.rows = append(d.rows, slices.Clone(cells))
	}
	if d.held.full() {
		return d.settle()
	}
	return nil
}

// settle goes on without borders, or vertically.
func (d *tableDoc) settle() error {
	if d.down || d.align != nil {
		return nil
	}
	if d.turn() {
		return nil
	}
	d.unframed()
	d.noted = true
	return nil
}

// unframed writes what is held without borders; later rows follow in the same way.
func (d *tableDoc) unframed() {
	widths, limits := d.fit(len(columnGap), 0)
	d.align = &aligner{
		w: d.w, print: d.print, columns: d.sec.columns, widths: widths, limits: limits, between: columnGap,
	}
	d.align.header()
	for row := range d.held.rows() {
		d.align.held(d.held, row)
	}
	d.held, d.rows = nil, nil
}

// wide tells whether the held rows need more than the terminal has, with so many columns between cells and around them.
func (d *tableDoc) wide(gap, frame int) bool {
	total := frame + gap*max(0, len(d.held.widths)-1)
	for _, w := range d.held.widths {
		total += w
	}
	return d.turns() && d.w.Width > 0 && total > d.w.Width
}

// turns tells whether what is too wide is written vertically, instead of being cut.
func (d *tableDoc) turns() bool { return d.auto && !d.sec.lines }

// turn writes the section vertically if it may and has to.
func (d *tableDoc) turn() bool {
	if !d.wide(len(columnGap), 0) {
		d.chose("table")
		return false
	}
	d.chose("vertical")
	d.down = true
	d.vertical.sec, d.vertical.n = d.sec, 0 // the title is written
	for _, row := range d.rows {
		_ = d.vertical.row(row)
	}
	d.held, d.rows = nil, nil
	return true
}

// fit answers the widths to draw with and, when there is a terminal to fit, what cells are cut to: between columns
// stand gap columns, around them frame. A cell longer than those measured may use the room that is left.
func (d *tableDoc) fit(gap, frame int) (widths, limits []int) {
	if d.w.Width <= 0 || d.turns() {
		return d.held.widths, nil
	}
	room := d.w.Width - frame - gap*max(0, len(d.held.widths)-1)
	widths = shrink(d.held.widths, room)
	for _, w := range widths {
		room -= w
	}
	for _, w := range widths {
		limits = append(limits, w+max(0, room))
	}
	return widths, limits
}

// shrink narrows the widest columns until they fit together, none below narrowest.
func shrink(widths []int, room int) []int {
	narrow := slices.Clone(widths)
	sum := func(limit int) (total int) {
		for _, w := range widths {
			total += min(w, limit)
		}
		return total
	}
	widest := slices.Max(append([]int{narrowest}, widths...))
	if sum(widest) <= room {
		return narrow
	}
	// The largest limit under which all columns fit; sum grows with it.
	low, high := narrowest, widest
	for low < high {
		if mid := (low + high + 1) / 2; sum(mid) <= room {
			low = mid
		} else {
			high = mid - 1
		}
	}
	spare := room - sum(low)
	for i, w := range widths {
		narrow[i] = min(w, low)
		if w > low && spare > 0 {
			narrow[i]++
			spare--
		}
	}
	return narrow
}

func (d *tableDoc) end() error {
	if d.down || d.align != nil {
		if d.align != nil {
			if d.noted {
				d.w.note(noteBorderless)
			}
			if d.align.isCut {
				d.w.note(noteCut)
			}
		}
		return nil
	}
	if d.turn() {
		return nil
	}
	if d.wide(frameGap, frameEnds) {
		d.unframed()
		return nil
	}
	_, limits := d.fit(frameGap, frameEnds)
	return d.draw(limits)
}

func (d *tableDoc) abort() {
	if d.held != nil {
		_ = d.end()
	}
}

func (d *tableDoc) close() error { return nil }

func (d *tableDoc) draw(limits []int) error {
	if len(d.sec.columns) == 0 {
		return nil
	}
	isCut := false
	fit := func(i int, text string) string {
		if limits == nil || width(text) <= limits[i] {
			return text
		}
		isCut = true
		return cut(text, limits[i])
	}
	t := newTablewriter(d.w, d.sec.columns, nil)
	header := make([]string, len(d.sec.columns))
	for i, c := range d.sec.columns {
		header[i] = d.w.emphasize(fit(i, Escape(c.Name)))
	}
	t.Header(header)
	for row := range d.held.rows() {
		cells := d.held.texts(row)
		for i := range cells {
			cells[i] = fit(i, cells[i])
		}
		if err := t.Append(cells); err != nil {
			return spec.Errorf(spec.Failed, "draw the table: %w", err)
		}
	}
	d.held, d.rows = nil, nil
	if err := t.Render(); err != nil {
		return spec.Errorf(spec.Failed, "draw the table: %w", err)
	}
	if isCut {
		d.w.note(noteCut)
	}
	return nil
}

// newTablewriter switches off all that changes what stands in cells. Borders are ASCII: the line-drawing characters
// are of ambiguous width, and tables are pasted into tickets.
func newTablewriter(w *writing, columns []spec.Column, draw tw.Renderer) *tablewriter.Table {
	aligns := make([]tw.Align, len(columns))
	lefts := make([]tw.Align, len(columns))
	for i, c := range columns {
		lefts[i], aligns[i] = tw.AlignLeft, tw.AlignLeft
		if numeric(c.Kind) {
			aligns[i] = tw.AlignRight
		}
	}
	if draw == nil {
		draw = renderer.NewBlueprint(tw.Rendition{Symbols: tw.NewSymbols(tw.StyleASCII)})
	}
	return tablewriter.NewTable(w.out,
		tablewriter.WithRenderer(draw),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithRowAutoFormat(tw.Off),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithTrimTab(tw.Off),
		tablewriter.WithTrimLine(tw.Off),
		tablewriter.WithHeaderAlignmentConfig(tw.CellAlignment{Global: tw.AlignLeft, PerColumn: lefts}),
		tablewriter.WithRowAlignmentConfig(tw.CellAlignment{Global: tw.AlignLeft, PerColumn: aligns}),
	)
}

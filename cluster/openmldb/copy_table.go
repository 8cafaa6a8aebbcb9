package openmldb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"shardsh/cluster"
	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
)

// What CopyTable has transfer.Copy do. The window is part of what journals mean: behind a watermark at most so many
// batches were on their way.
const (
	copyWindow  = 20
	copySingles = 256
	// doubtReach is how many groups of rows may have been written behind one that was not: those of the window's
	// batches, of which each has the rows of a page and one that the page before it left open.
	doubtReach = (copyWindow + 1) * (mostRows + 1)
	// mostMends bounds how often a target is looked through because its leaders changed meanwhile.
	mostMends = 10
	// lagTime bounds the wait for followers to have what their leaders have.
	lagTime  = 30 * time.Second
	lagPause = 100 * time.Millisecond
)

// copyState is the journal of a CopyTable.
type copyState struct {
	Version int
	// Reigns are who led each partition of the target when this round began.
	Reigns []string
	// Mending, from the second round on, are the partitions that had another leader after the round before; Mended is
	// how many rows of theirs had to be written again.
	Mending []uint32 `json:",omitempty"`
	Round   int      `json:",omitempty"`
	Mended  int64    `json:",omitempty"`
	// First is what the first round did, once it is over.
	First *transfer.Totals `json:",omitempty"`
	Copy  json.RawMessage  `json:",omitempty"` // as transfer.Copy saved it
}

const copyStateVersion = 1

// copyWork is the Work of a round of copying, inside of that of a CopyTable.
type copyWork struct {
	*transfer.Inside
	state copyState
}

// Detail keeps what a round says of itself to it: CopyTable speaks for all of them.
func (w *copyWork) Detail(string, ...any) {}

// CopyTable copies what a source has to a sink, as transfer.Copy does. A batch of the source has at most 1000 groups of
// rows of one key and time, or one, and the same rows come behind a position each time. Then it sees to what tablets do not promise: a
// leader acknowledges a row before its followers have it, and another leader may never get it. Where a partition of the
// target has another leader than when the copy began, the source is read once more and rows that are missing there are
// put again; and it waits until followers have what they will lead with.
func CopyTable(ctx context.Context, from transfer.Source[CopyRow], dst *CopySink, o transfer.CopyOptions, w spec.Work) (transfer.Totals, error) {
	o.Window, o.Singles, o.Batches = copyWindow, copySingles, copySingles
	if o.Patience <= 0 {
		o.Patience = 10 * time.Minute
	}
	work := &copyWork{}
	work.Inside = transfer.NewInside(w, &work.state.Copy, &work.state)
	found, err := w.Restore(&work.state)
	if err != nil {
		return transfer.Totals{}, err
	}
	st := &work.state
	if !found {
		*st = copyState{Version: copyStateVersion}
		if st.Reigns, err = dst.steady(ctx, o.Patience); err != nil {
			return transfer.Totals{}, err
		}
		// From here on rows may be there that no journal tells of: whoever goes on has to look.
		if err := w.Save(st); err != nil {
			return transfer.Totals{}, err
		}
	}
	if st.Version != copyStateVersion {
		return transfer.Totals{}, spec.Errorf(spec.Failed, "the journal is of version %d", st.Version).WithHint("start a new copy")
	}
	src := &doubting{Source: from}
	if found {
		src.resume(doubtReach)
	}
	for {
		more, totals, err := work.round(ctx, src, dst, o)
		if err != nil || !more {
			return totals, err
		}
		src.resume(0)
	}
}

// round copies once, and says whether another round has to follow.
func (w *copyWork) round(ctx context.Context, src *doubting, dst *CopySink, o transfer.CopyOptions) (bool, transfer.Totals, error) {
	st := &w.state
	dst.mending = nil
	if st.Round > 0 {
		dst.mending = map[uint32]bool{}
		for _, p := range st.Mending {
			dst.mending[p] = true
		}
	}
	totals, err := transfer.Copy(ctx, src, dst, o, w)
	if st.First != nil {
		totals, st.Mended = *st.First, st.Mended+totals.Rows
	}
	if err != nil {
		w.Work.Detail("%s", w.says(totals))
		return false, totals, err
	}
	reigns, err := dst.steady(ctx, o.Patience)
	if err != nil {
		return false, totals, err
	}
	var changed []uint32
	for i, now := range reigns {
		if i >= len(st.Reigns) || st.Reigns[i] != now {
			changed = append(changed, uint32(i))
		}
	}
	if changed == nil {
		w.Work.Detail("%s", w.says(totals))
		return false, totals, nil
	}
	if st.Round++; st.Round > mostMends {
		return false, totals, spec.Errorf(spec.Unavailable, "%s: the leaders of %s keep changing", o.What, dst.table).
			WithHint("showopstatus tells what goes on there")
	}
	first := totals
	st.First, st.Reigns, st.Mending, st.Copy = &first, reigns, changed, nil
	return true, totals, w.Work.Save(st)
}

func (w *copyWork) says(t transfer.Totals) string {
	text := t.String()
	if w.state.Round > 0 {
		text += fmt.Sprintf("; leaders changed, and %d rows that were lost with them were put again", w.state.Mended)
	}
	return text
}

// steady waits until every partition has a leader that answers, and its followers have what it has; the latter not for
// long. It answers who they are.
func (s *CopySink) steady(ctx context.Context, patience time.Duration) ([]string, error) {
	begin := time.Now()
	var offsets []uint64
	for {
		t, err := s.d.Describe(ctx, s.table)
		late := time.Since(begin)
		if err == nil {
			err = sameTable(s.op(), t, s.o.TableID)
		}
		behind := false
		if err == nil {
			offsets, behind, err = s.d.behind(ctx, t, offsets)
		}
		switch {
		case err == nil && (!behind || late > min(patience, lagTime)):
			return reigns(t), nil
		case err != nil && (ctx.Err() != nil || judge(err) == transfer.Fatal || late > patience):
			if ctx.Err() != nil {
				return nil, &spec.Error{Kind: spec.Interrupted, Op: s.op(), Err: ctx.Err()}
			}
			return nil, err
		}
		cluster.Sleep(ctx, lagPause)
	}
}

// reigns tells for each partition who leads it, and in which term.
func reigns(t *Table) []string {
	all := make([]string, len(t.Parts))
	for i := range t.Parts {
		p := &t.Parts[i]
		r, _ := p.Leader()
		all[i] = r.Endpoint
		if n := len(p.Terms); n > 0 {
			all[i] = fmt.Sprintf("%s %d", r.Endpoint, p.Terms[n-1].Term)
		}
	}
	return all
}

// behind asks the leaders whether followers lack something of what the leaders had when they were asked first.
func (d *Driver) behind(ctx context.Context, t *Table, had []uint64) (offsets []uint64, behind bool, err error) {
	offsets = had
	for i := range t.Parts {
		pid := uint32(i)
		leader, err := t.leader("", pid)
		if err != nil {
			return nil, false, err
		}
		f, err := d.TabletFollowers(ctx, leader, t.ID, pid)
		var e *spec.Error
		if errors.As(err, &e) && hasCode(e, codeNoFollower) {
			f, err = Followers{}, nil
			_, err = d.TabletPartition(ctx, leader, t.ID, pid)
		}
		if err != nil {
			return nil, false, err
		}
		if len(offsets) <= i {
			offsets = append(offsets, f.Offset)
		}
		for _, one := range f.Followers {
			alive := slices.ContainsFunc(t.Parts[i].Replicas, func(r Replica) bool { return r.Endpoint == one.Endpoint && r.Alive })
			behind = behind || alive && one.Offset < min(offsets[i], f.Offset)
		}
	}
	return offsets, behind, nil
}

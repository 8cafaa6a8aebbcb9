package commands

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"shardsh/cluster/transfer"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// copyState is what a copy goes on from. Files are numbered in the order of their paths, which the identity of the job
// vouches for.
type copyState struct {
	// Done are the files that are at their destination: ranges, the end not included, in order and apart from each other.
	// Files are taken in order, so that there are hardly more ranges than files under way.
	Done [][2]int `json:"done"`
	Same int      `json:"same,omitempty"` // of them were there before
}

// add notes that a file is at its destination.
func (s *copyState) add(file int) {
	at, _ := slices.BinarySearchFunc(s.Done, file, func(r [2]int, file int) int { return cmp.Compare(r[1], file) })
	switch {
	case at == len(s.Done) || file < s.Done[at][0]-1:
		s.Done = slices.Insert(s.Done, at, [2]int{file, file + 1})
	case file == s.Done[at][0]-1:
		s.Done[at][0] = file
	case file == s.Done[at][1]:
		s.Done[at][1]++
		if next := at + 1; next < len(s.Done) && s.Done[next][0] == file+1 {
			s.Done[at][1] = s.Done[next][1]
			s.Done = slices.Delete(s.Done, next, next+1)
		}
	}
}

// has lists which of n files are noted.
func (s *copyState) has(n int) []bool {
	all := make([]bool, n)
	for _, r := range s.Done {
		for i := max(r[0], 0); i < min(r[1], n); i++ {
			all[i] = true
		}
	}
	return all
}

// identity says what a journal is true of: the places, and the files as they were listed.
func (t *fileTransfer) identity() map[string]string {
	h := sha256.New()
	var bytes int64
	for _, m := range t.moves {
		fmt.Fprintf(h, "%q %d %d %s\n", m.From.Path, m.From.Size, m.From.Modified.UnixNano(), m.From.MD5)
		bytes += m.From.Size
	}
	return map[string]string{
		"source": t.source, "target": t.sink,
		"files": fmt.Sprintf("%s, %d bytes, %x", Plural(len(t.moves), "file"), bytes, h.Sum(nil)[:8]),
	}
}

func (t *fileTransfer) job() *spec.Job {
	return &spec.Job{Name: "copy", Identity: t.identity(), Rate: t.rate, Run: t.run}
}

// How often a copy looks at its rate, and how often it saves what it has done. What it did since is not lost either:
// files that are there are compared, and not copied again.
const (
	lookAtRate = 100 * time.Millisecond
	saveEvery  = time.Second
)

// copyAttempts is how often a file is tried before the copy gives up: with the pauses between, for about a minute, in which
// another namenode has taken over, or a busy service got its breath.
const copyAttempts = 8

// transferRun is a copy at work.
type transferRun struct {
	*fileTransfer
	w      spec.Work
	index  map[string]int // of a file, by its destination
	before storage.Progress

	mu      sync.Mutex
	state   copyState
	changed bool // since it was saved
	at      storage.Progress
	retries int64
	held    string // what is tried again, "" when nothing is
}

// run copies what the journal does not have.
func (t *fileTransfer) run(ctx context.Context, w spec.Work) error {
	r := &transferRun{fileTransfer: t, w: w, index: make(map[string]int, len(t.moves))}
	again, err := w.Restore(&r.state)
	if err != nil {
		return err
	}
	rest := r.rest(again)
	if !again {
		if err := w.Save(r.state); err != nil {
			return err
		}
	}
	r.show()
	copying, stop := context.WithCancelCause(ctx)
	limit := storage.NewLimit(int64(w.Rate().Bytes))
	var tended sync.WaitGroup
	tended.Go(func() {
		look := func() { storage.SetLimit(limit, int64(w.Rate().Bytes)) }
		if err := transfer.Attend(copying.Done(), lookAtRate, saveEvery, look, r.save); err != nil {
			stop(err)
		}
	})
	_, err = storage.CopyAll(copying, t.from, t.into, rest, storage.CopyOptions{
		Parallel: t.parallel, Limit: limit, Attempts: copyAttempts, Progress: r.progress, Done: r.arrived, Retry: r.again,
	})
	broken := context.Cause(copying) // before it is stopped here
	stop(nil)
	tended.Wait()
	saved := r.save()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case broken != nil:
		err = broken
	case err == nil:
		err = saved
	}
	r.show()
	return r.ended(err)
}

// rest lists the files that are still to be copied. One that the journal has and the destination has no more, or with
// another size, is copied again.
func (r *transferRun) rest(again bool) []storage.Move {
	done := r.state.has(len(r.moves))
	r.state.Done = nil
	var rest []storage.Move
	for i, m := range r.moves {
		r.index[m.To] = i
		r.before.TotalFiles++
		r.before.TotalBytes += m.From.Size
		there, found := r.there[m.To]
		if again && done[i] && found && there.Size == m.From.Size && !differ(there, m.From) {
			r.state.add(i)
			r.before.Files++
			r.before.Bytes += m.From.Size
			continue
		}
		rest = append(rest, m)
	}
	r.state.Same = min(r.state.Same, r.before.Files)
	return rest
}

// differ tells whether two files have checksums, and other ones.
func differ(a, b storage.Entry) bool { return a.MD5 != "" && b.MD5 != "" && a.MD5 != b.MD5 }

func (r *transferRun) save() error {
	r.mu.Lock()
	changed, state := r.changed, r.state
	state.Done = slices.Clone(state.Done)
	r.changed = false
	r.mu.Unlock()
	if !changed {
		return nil
	}
	return r.w.Save(state)
}

// progress is how far this run is.
func (r *transferRun) progress(p storage.Progress) {
	r.mu.Lock()
	r.at = p
	r.mu.Unlock()
	r.show()
}

func (r *transferRun) arrived(c storage.Copied) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.add(r.index[c.To])
	if c.Skipped {
		r.state.Same++
	}
	r.changed, r.held = true, ""
}

func (r *transferRun) again(m storage.Move, err error) {
	r.mu.Lock()
	r.retries++
	r.held = fmt.Sprintf("%s is tried again: %v", m.From.Path, err)
	r.mu.Unlock()
	r.show()
}

// show tells the figures of this run and those before it.
func (r *transferRun) show() {
	rate := r.w.Rate()
	r.mu.Lock()
	f := spec.Figures{
		Done: int64(r.before.Files + r.at.Files), Total: int64(r.before.TotalFiles), Unit: "files",
		Bytes: r.before.Bytes + r.at.Bytes, TotalBytes: r.before.TotalBytes,
		Counts: []spec.Count{{Name: "same", N: int64(r.state.Same)}, {Name: "retries", N: r.retries}}, Held: r.held,
	}
	r.mu.Unlock()
	if rate.Rows > 0 {
		f.Held = "only a rate of bytes holds files back, and not " + spec.Rate{Rows: rate.Rows}.String()
	}
	r.w.Show(f)
}

// ended says how it went.
func (r *transferRun) ended(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	files := r.before.Files + r.at.Files
	detail := Plural(files-r.state.Same, "file") + " copied"
	if r.state.Same > 0 {
		detail += fmt.Sprintf(", %d the same before", r.state.Same)
	}
	r.w.Detail("%s", detail)
	kind := spec.KindOf(err)
	if err == nil || errors.Is(err, context.Canceled) || kind == spec.UnknownOutcome || kind == spec.Interrupted || files == r.state.Same {
		return err
	}
	return &spec.Error{
		Kind: spec.PartlyDone, Op: fmt.Sprintf("%d of %s at the destination", files, Plural(len(r.moves), "file")), Err: err, Hint: spec.HintOf(err),
	}
}

// where is a place as journals name it: what its service is now may be something else tomorrow.
func where(env Env, l storage.Location) string {
	if b, found := BlockNamed(env, l.Service); found && !b.Sandbox {
		return strings.TrimSpace(fmt.Sprintf("%s (%s %s)", l, b.Type, b.Where))
	}
	return l.String()
}

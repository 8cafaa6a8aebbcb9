package tablet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
)

// binlog is a partition's log: files of records with rising indexes, without a gap within a file. Appending and replaying
// belong to whoever has the partition's lock; readers may read what has been appended at any time.
type binlog struct {
	dir  string
	roll int64    // bytes at which the next file begins
	w    *os.File // nil until something is appended: a file of an earlier life is not continued

	mu    sync.Mutex
	parts []logPart // by number
}

// logPart is one file.
type logPart struct {
	number int
	first  uint64 // index of its first entry
	size   int64
}

// errMissing is what a reader ends in when the log no longer has what it wants.
var errMissing = errors.New("the binlog does not go back that far")

// openBinlog finds the files in dir, which need not exist.
func openBinlog(dir string, roll int64) (*binlog, error) {
	l := &binlog{dir: dir, roll: roll}
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, f := range files {
		number, ok := partNumber(f.Name())
		if !ok {
			continue
		}
		l.parts = append(l.parts, logPart{number: number})
	}
	slices.SortFunc(l.parts, func(a, b logPart) int { return a.number - b.number })
	for i := range l.parts {
		if err := l.measure(i); err != nil {
			return nil, err
		}
	}
	// What was being written as the process died may be less than one record.
	if n := len(l.parts); n > 0 && l.parts[n-1].first == 0 {
		if err := os.Remove(l.path(l.parts[n-1].number)); err != nil {
			return nil, err
		}
		l.parts = l.parts[:n-1]
	}
	return l, nil
}

const partSuffix = ".log"

func partNumber(name string) (int, bool) {
	digits, found := strings.CutSuffix(name, partSuffix)
	number, err := strconv.Atoi(digits)
	return number, found && err == nil && number >= 0 && len(digits) >= 8
}

func (l *binlog) path(number int) string {
	return filepath.Join(l.dir, fmt.Sprintf("%08d%s", number, partSuffix))
}

// measure finds a file's size and its first entry. Only the last file may end before that.
func (l *binlog) measure(i int) error {
	p := &l.parts[i]
	f, err := os.Open(l.path(p.number))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p.size = info.Size()
	payload, err := readRecords(f, 0).next()
	switch {
	case (errors.Is(err, io.EOF) || errors.Is(err, errTorn)) && i == len(l.parts)-1:
		return nil
	case err != nil:
		return l.damaged(p.number, err)
	}
	if p.first = indexOf(payload); p.first == 0 {
		return l.damaged(p.number, errEntry)
	}
	return nil
}

func (l *binlog) damaged(number int, err error) error {
	if !errors.Is(err, errDamaged) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return fmt.Errorf("%s: %w", l.path(number), err)
}

// replay hands on the entries after an index, in order, and answers the last one's. A last file that ends within a record
// is cut off there; whatever else is not as it was written, or is missing, is errDamaged.
func (l *binlog) replay(after uint64, do func(*entry) error) (last uint64, err error) {
	l.mu.Lock()
	parts := slices.Clone(l.parts)
	l.mu.Unlock()
	for i, p := range parts {
		if i+1 < len(parts) && parts[i+1].first <= after+1 {
			continue
		}
		size := int64(-1)
		if after, size, err = l.replayPart(p, i == len(parts)-1, after, do); err != nil {
			return after, err
		}
		if size >= 0 {
			l.mu.Lock()
			l.parts[i].size = size
			l.mu.Unlock()
		}
	}
	return after, nil
}

// replayPart replays one file; size is what is left of one that was cut off, else -1.
func (l *binlog) replayPart(p logPart, isLast bool, after uint64, do func(*entry) error) (last uint64, size int64, err error) {
	f, err := os.Open(l.path(p.number))
	if err != nil {
		return after, -1, err
	}
	defer f.Close()
	last, end, err := readLog(f, p.first, after, do)
	switch {
	case errors.Is(err, errTorn) && isLast:
		return last, end, os.Truncate(l.path(p.number), end)
	case errors.Is(err, errTorn) || errors.Is(err, errDamaged):
		err = l.damaged(p.number, err)
	}
	return last, -1, err
}

// readLog reads a file whose first entry is known, hands on the entries after an index, and answers the last one's and
// where the records end that are whole.
func readLog(file io.Reader, first, after uint64, do func(*entry) error) (last uint64, end int64, err error) {
	r := readRecords(file, 0)
	last = after
	for within := first; ; within++ {
		payload, err := r.next()
		if errors.Is(err, io.EOF) {
			return last, r.at, nil
		}
		if err != nil {
			return last, r.at, err
		}
		e, err := parseEntry(payload)
		if err != nil {
			return last, r.at, fmt.Errorf("%w: %w", errDamaged, err)
		}
		if e.index != within || e.index > last+1 {
			return last, r.at, fmt.Errorf("%w: entry %d follows on %d", errDamaged, e.index, max(last, within-1))
		}
		if e.index <= last {
			continue
		}
		if err := do(e); err != nil {
			return last, r.at, err
		}
		last = e.index
	}
}

// append writes the records of entries from an index on. After an error nothing of them is in the log, unless the error
// is errDamaged: then nothing may be appended any more.
func (l *binlog) append(first uint64, b []byte) error {
	number, size := l.last()
	if l.w == nil || size >= l.roll {
		if err := l.begin(number+1, first); err != nil {
			return err
		}
		size = 0
	}
	if _, err := l.w.Write(b); err != nil {
		if e := errors.Join(l.w.Truncate(size), seek(l.w, size)); e != nil {
			return fmt.Errorf("%w: %w", errDamaged, errors.Join(err, e))
		}
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[len(l.parts)-1].size += int64(len(b))
	return nil
}

// last is the last file's number and size; -1 when there is none.
func (l *binlog) last() (number int, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.parts); n > 0 {
		return l.parts[n-1].number, l.parts[n-1].size
	}
	return -1, 0
}

func seek(f *os.File, to int64) error {
	_, err := f.Seek(to, io.SeekStart)
	return err
}

// begin starts the next file.
func (l *binlog) begin(number int, first uint64) error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	w, err := os.OpenFile(l.path(number), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = l.close()
	l.w = w
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts = append(l.parts, logPart{number: number, first: first})
	return err
}

func (l *binlog) close() error {
	if l.w == nil {
		return nil
	}
	err := l.w.Close()
	l.w = nil
	return err
}

// size is the bytes of all files.
func (l *binlog) size() (sum uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.parts {
		sum += uint64(p.size)
	}
	return sum
}

// trim removes the files of which nothing is needed but entries up to an index; the last file stays.
func (l *binlog) trim(upTo uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.parts) > 1 && l.parts[1].first <= upTo+1 {
		if err := os.Remove(l.path(l.parts[0].number)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		l.parts = slices.Delete(l.parts, 0, 1)
	}
	return nil
}

// holding finds the file that has an entry, or would have it next.
func (l *binlog) holding(index uint64) (logPart, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.parts) - 1; i >= 0; i-- {
		if l.parts[i].first <= index {
			return l.parts[i], nil
		}
	}
	return logPart{}, errMissing
}

// logReader reads entries in turn, to send them on.
type logReader struct {
	log  *binlog
	want uint64 // index of the next one
	part logPart
	f    *os.File
	r    *records
}

func (l *binlog) reader(from uint64) *logReader { return &logReader{log: l, want: from} }

func (r *logReader) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// Bounds of one batch of entries.
const (
	batchEntries = 512
	batchBytes   = 1 << 20
)

// batch reads entries up to an index that has been appended, and answers them as the fields of an AppendEntriesRequest,
// and the last one's index. After an error the reader goes on where it was.
func (r *logReader) batch(upTo uint64) (fields []byte, last uint64, err error) {
	for n := 0; n < batchEntries && len(fields) < batchBytes && r.want <= upTo; n++ {
		payload, err := r.next()
		if err != nil {
			r.close()
			if n > 0 {
				break // what was read is good; the next call meets the error
			}
			return nil, 0, err
		}
		fields = protowire.AppendTag(fields, fieldEntries, protowire.BytesType)
		fields = protowire.AppendBytes(fields, payload)
		r.want++
	}
	return fields, r.want - 1, nil
}

// fieldEntries is the number of AppendEntriesRequest.entries.
const fieldEntries = 4

// next finds the entry that is wanted.
func (r *logReader) next() ([]byte, error) {
	for {
		if r.f == nil {
			if err := r.open(); err != nil {
				return nil, err
			}
		}
		payload, err := r.r.next()
		if errors.Is(err, io.EOF) {
			done := r.part.number
			r.close()
			if p, err := r.log.holding(r.want); err != nil || p.number == done {
				return nil, errMissing
			}
			continue
		}
		if err != nil {
			return nil, r.log.damaged(r.part.number, err)
		}
		switch index := indexOf(payload); {
		case index == r.want:
			return payload, nil
		case index > r.want:
			return nil, errMissing
		}
	}
}

func (r *logReader) open() (err error) {
	if r.part, err = r.log.holding(r.want); err != nil {
		return err
	}
	if r.f, err = os.Open(r.log.path(r.part.number)); err != nil {
		r.f = nil
		if errors.Is(err, os.ErrNotExist) {
			return errMissing
		}
		return err
	}
	r.r = readRecords(r.f, 0)
	return nil
}

package shell

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"shardsh/commands/spec"
)

// journal is what one job of a plan saved last, and what it saved before that: NAME.journal and NAME.journal.old. A journal
// is a line of head, with the size and CRC-32C of the body, and the body: the job's own JSON.
type journal struct {
	path string // of NAME.journal
}

// journalHead is the first line of a journal.
type journalHead struct {
	Version int           `json:"version"`
	Number  int64         `json:"number"` // of the Save, over all runs
	Saved   time.Time     `json:"saved"`
	Size    int           `json:"size"`
	Sum     uint32        `json:"crc32c"`
	Figures *spec.Figures `json:"figures,omitempty"`
}

const journalVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errNoJournal says that nothing was saved yet.
var errNoJournal = errors.New("nothing was saved")

// save puts a state in place of the last one, which stays beside it. It is on disk when save returns.
func (j journal) save(head journalHead, body []byte) error {
	head.Version, head.Size, head.Sum = journalVersion, len(body), crc32.Checksum(body, castagnoli)
	first, err := json.Marshal(head)
	if err != nil {
		return err
	}
	// Between the two renames there is no NAME.journal, and the old one is what is read.
	if err := os.Rename(j.path, j.path+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeDurably(j.path, append(append(first, '\n'), body...))
}

// load answers what was saved last. Where that is damaged the one before is answered, with damage saying so; where both are,
// it is an error: nobody starts again from nothing unasked.
func (j journal) load() (head journalHead, body []byte, damage, err error) {
	head, body, err = readJournal(j.path)
	if err == nil {
		return head, body, nil, nil
	}
	older, oldBody, oldErr := readJournal(j.path + ".old")
	switch {
	case oldErr == nil && errors.Is(err, os.ErrNotExist):
		return older, oldBody, nil, nil
	case oldErr == nil:
		return older, oldBody, err, nil
	case errors.Is(err, os.ErrNotExist) && errors.Is(oldErr, os.ErrNotExist):
		return head, nil, nil, errNoJournal
	case errors.Is(err, os.ErrNotExist):
		err = oldErr
	}
	return head, nil, nil, &spec.Error{
		Kind: spec.Failed, Op: "read the journal " + j.path, Err: err, Hint: "run the command again to begin anew; the journal is left as it is",
	}
}

func readJournal(path string) (head journalHead, body []byte, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return head, nil, err
	}
	first, body, whole := bytes.Cut(text, []byte{'\n'})
	name := filepath.Base(path)
	switch err := json.Unmarshal(first, &head); {
	case err != nil || !whole:
		return head, nil, fmt.Errorf("%s is damaged: its head cannot be read", name)
	case head.Version != journalVersion:
		return head, nil, fmt.Errorf("%s is of version %d, and this program reads %d", name, head.Version, journalVersion)
	case head.Size != len(body):
		return head, nil, fmt.Errorf("%s is damaged: it has %d bytes of %d", name, len(body), head.Size)
	case head.Sum != crc32.Checksum(body, castagnoli):
		return head, nil, fmt.Errorf("%s is damaged: its checksum differs", name)
	}
	return head, body, nil
}

package transfer

import (
	"encoding/json"
	"sync"
	"time"

	"shardsh/commands/spec"
)

// Attend looks after a work until it is over: it calls look and save, each so often. The error is that of a save, which
// ends it.
func Attend(over <-chan struct{}, lookEvery, saveEvery time.Duration, look func(), save func() error) error {
	looks, saves := time.NewTicker(lookEvery), time.NewTicker(saveEvery)
	defer looks.Stop()
	defer saves.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-looks.C:
			look()
		case <-saves.C:
			if err := save(); err != nil {
				return err
			}
		}
	}
}

// Inside is the Work of a part of a work: what the part saves is kept in the journal of the whole. While the part runs
// nobody else may change that.
type Inside struct {
	spec.Work
	mu    sync.Mutex
	part  *json.RawMessage
	whole any
}

// NewInside makes one of w. part is where whole, which w saves, has the state of the part; nil for none.
func NewInside(w spec.Work, part *json.RawMessage, whole any) *Inside {
	return &Inside{Work: w, part: part, whole: whole}
}

// Restore implements spec.Work.
func (i *Inside) Restore(state any) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if *i.part == nil {
		return false, nil
	}
	return true, json.Unmarshal(*i.part, state)
}

// Save implements spec.Work.
func (i *Inside) Save(state any) (err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if *i.part, err = json.Marshal(state); err != nil {
		return err
	}
	return i.Work.Save(i.whole)
}

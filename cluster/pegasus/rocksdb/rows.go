package rocksdb

import (
	"fmt"
	"time"
)

// Rows are rows by rising keys, each key once. What it answers is valid until its next move.
type Rows interface {
	Next() bool
	Key() []byte
	Value() []byte
	Err() error
	Close()
}

var (
	_ Rows = (*Iterator)(nil)
	_ Rows = (*LiveRows)(nil)
	_ Rows = (*runReader)(nil)
)

// LiveRows leaves out rows that are expired, and stores the others in another data version.
type LiveRows struct {
	Rows
	From, To int       // data versions
	Now      time.Time // the zero time lets all live
	Expired  int64     // rows left out so far
	value    []byte
	err      error
}

// Next moves to the next row that lives.
func (l *LiveRows) Next() bool {
	for l.err == nil && l.Rows.Next() {
		stored := l.Rows.Value()
		v, err := DecodeValue(l.From, stored)
		if err != nil {
			l.err = fmt.Errorf("the row %x: %w", l.Key(), err)
			return false
		}
		if v.Expired(l.Now) {
			l.Expired++
			continue
		}
		if l.value = stored; l.From != l.To {
			l.value, l.err = v.AppendTo(nil, l.To)
		}
		return l.err == nil
	}
	return false
}

// Value is the value as the data version To stores it.
func (l *LiveRows) Value() []byte { return l.value }

// Err is what ended the rows before their end, nil otherwise.
func (l *LiveRows) Err() error {
	if l.err != nil {
		return l.err
	}
	return l.Rows.Err()
}

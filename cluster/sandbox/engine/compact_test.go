package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestCompactFreesSpace(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	for i := range 4000 {
		if err := put(s, fmt.Sprintf("k%05d", i), valueOf(i)); err != nil {
			t.Fatal(err)
		}
	}
	lower, upper := []byte("k"), After([]byte("k"))
	if err := s.Compact(t.Context(), lower, upper); err != nil {
		t.Fatal(err)
	}
	full, err := s.DiskUsage(lower, upper)
	if err != nil || full == 0 {
		t.Fatal(full, err)
	}
	b := s.NewBatch()
	for i := range 4000 {
		if i%10 != 0 {
			if err := b.Delete(fmt.Appendf(nil, "k%05d", i), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(s.Apply(b), s.Compact(t.Context(), lower, upper)); err != nil {
		t.Fatal(err)
	}
	if left, err := s.DiskUsage(lower, upper); err != nil || left > full/5 {
		t.Errorf("%d of %d bytes are left, %v", left, full, err)
	}
	if got, err := s.Read([]byte("k00010")); err != nil || string(got) != valueOf(10) {
		t.Errorf("a row that was kept reads %q, %v", got, err)
	}
}

func TestRekey(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	b := s.NewBatch()
	op := b.SetDeferred(2, 3)
	copy(op.Key, "a1")
	copy(op.Value, "one")
	if err := errors.Join(op.Finish(), b.Set([]byte("a2"), []byte("a2"), nil), b.Delete([]byte("a3"), nil)); err != nil {
		t.Fatal(err)
	}
	repr := bytes.Clone(b.Repr())
	if err := errors.Join(s.Apply(b), put(s, "b3", "x")); err != nil {
		t.Fatal(err)
	}
	if err := Rekey(repr, func(key []byte) { key[0] = 'b' }); err != nil {
		t.Fatal(err)
	}
	other, err := s.BatchOf(repr)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(other); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"a1": "one", "a2": "a2", "b1": "one", "b2": "a2"} {
		if got, err := s.Read([]byte(key)); err != nil || string(got) != want {
			t.Errorf("%s reads %q, %v", key, got, err)
		}
	}
	if got, err := s.Read([]byte("b3")); !errors.Is(err, ErrNotFound) {
		t.Errorf("b3 reads %q, %v", got, err)
	}
	if err := Rekey(repr[:len(repr)-1], func([]byte) {}); err == nil {
		t.Error("a batch that is cut was read to its end")
	}
}

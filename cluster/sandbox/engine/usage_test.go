package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestUsage(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	before, err := s.Usage()
	if err != nil || before.MemTables == 0 || before.Mutable != before.MemTables || before.Tables != 0 || before.Indexes != 0 {
		t.Errorf("an empty store takes %+v, %v", before, err)
	}
	if n, err := s.Files([]byte("a"), []byte("z")); n != 0 || err != nil {
		t.Errorf("an empty store has %d files, %v", n, err)
	}
	for i := range 3000 {
		if err := put(s, fmt.Sprintf("row%08d", i), strings.Repeat("v", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	// 3 MB through memtables of 1 MiB: at least one is on its way to the disk.
	var after Usage
	for end := time.Now().Add(30 * time.Second); after.Tables < 1<<20; time.Sleep(5 * time.Millisecond) {
		if after, err = s.Usage(); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("still %+v", after)
		}
	}
	if after.Indexes == 0 || after.Indexes >= after.Tables || after.Mutable > after.MemTables {
		t.Errorf("a store with rows takes %+v", after)
	}
	if n, err := s.Files([]byte("row"), []byte("rox")); n == 0 || err != nil {
		t.Errorf("a store with rows has %d files, %v", n, err)
	}
	if n, err := s.Files([]byte("s"), []byte("t")); n != 0 || err != nil {
		t.Errorf("%d files hold what is not there, %v", n, err)
	}
}

package wire

import "testing"

func TestHash64(t *testing.T) {
	for _, tt := range []struct {
		key      string
		hash     int64
		of8, o16 uint32
	}{
		{"", 7207201254813729732, 4, 4},
		{"a", 584566915021039271, 7, 7},
		{"key1", 4010863117771081158, 6, 6},
		{"card0", 4530658224593431225, 1, 9},
		{"mcc0", 2155516454043016712, 0, 8},
		{"172.27.128.31", 3666566478818586482, 2, 2},
		{JoinKey([]string{"1", "2"}), 2887602492695136393, 1, 9},
		{"hello world 123", 8296109239168593249, 1, 1},
	} {
		if got := Hash64(tt.key); got != tt.hash {
			t.Errorf("Hash64(%q) = %d, want %d", tt.key, got, tt.hash)
		}
		if a, b := PartitionOf(tt.key, 8), PartitionOf(tt.key, 16); a != tt.of8 || b != tt.o16 {
			t.Errorf("PartitionOf(%q) = %d of 8, %d of 16, want %d and %d", tt.key, a, b, tt.of8, tt.o16)
		}
	}
	if got := PartitionOf("a", 0); got != 0 {
		t.Errorf("a table without partitions: %d", got)
	}
}

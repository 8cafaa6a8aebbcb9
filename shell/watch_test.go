package shell

import "testing"

func TestMarkChangedFields(t *testing.T) {
	before := "name  state  rows\nT1    up       10\nT2    up       20\n"
	after := "name  state  rows\nT1    down     10\nT2    up       21\n"
	want := "name  state  rows\nT1    \x1b[7mdown\x1b[27m     10\nT2    up       \x1b[7m21\x1b[27m\n"
	if got := mark(after, before); got != want {
		t.Errorf("got %q", got)
	}
	if got := mark(after, ""); got != after {
		t.Errorf("the first frame is marked: %q", got)
	}
	if got := mark("| a b |\n", "| a c |\n"); got != "| \x1b[7ma b\x1b[27m |\n" {
		t.Errorf("got %q", got)
	}
}

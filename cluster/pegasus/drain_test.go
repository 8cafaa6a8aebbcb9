package pegasus

import (
	"slices"
	"testing"
)

func TestBlackListAnswers(t *testing.T) {
	for _, c := range []struct {
		text string
		list []string
		ok   bool
	}{
		{"get ok: ", nil, true},
		{"get ok: 10.0.0.1:34801,10.0.0.2:34801", []string{"10.0.0.1:34801", "10.0.0.2:34801"}, true},
		{"set ok", nil, true},
		{"clear ok", nil, true},
		{"invalid arguments", nil, false},
		{`{"error":"ok","assign_secondary_black_list":"a:1,b:2"}`, []string{"a:1", "b:2"}, true},
		{`{"error":"invalid argument, bad host:port 'x'"}`, nil, false},
		{"", nil, false},
	} {
		list, ok := blackListAnswer(c.text)
		if ok != c.ok || !slices.Equal(list, c.list) && len(list)+len(c.list) > 0 {
			t.Errorf("%q: %q %v", c.text, list, ok)
		}
	}
}

// The list is read as a read, which may be asked again, and set as a change, which may not.
func TestBlackListCommandReadsAndChanges(t *testing.T) {
	if !CommandReads(blackListCommand, nil) || CommandReads(blackListCommand, []string{"clear"}) {
		t.Error("the black list command is taken for the wrong kind of call")
	}
}

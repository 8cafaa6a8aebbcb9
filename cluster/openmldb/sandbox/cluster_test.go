package sandbox

import (
	"testing"
	"time"
)

func TestStart(t *testing.T) {
	began := time.Now()
	c := run(t, "", nil)
	t.Logf("started in %s", time.Since(began))
	u := newUser(t, c)
	for _, x := range u.all() {
		t.Log(x.GetDb(), x.GetName(), x.GetTid(), lines(c, x))
	}
	for _, n := range c.Nodes() {
		t.Log(n)
	}
	t.Log(c.Address())
}

package pegasus

import "testing"

func TestReplicaCounterNames(t *testing.T) {
	for full, want := range map[string]struct {
		name string
		app  int32
		part int
		ok   bool
	}{
		"replica*app.pegasus*get_qps@2.10":              {"get_qps", 2, 10, true},
		"replica*app.pegasus*disk.storage.sst(MB)@12.0": {"disk.storage.sst(MB)", 12, 0, true},
		"replica*app.pegasus*a@b@3.4":                   {"a@b", 3, 4, true},
		"replica*app.pegasus*get_qps@2":                 {},
		"replica*app.pegasus*get_qps":                   {},
		"replica*eon.replica_stub*x@2.0":                {},
		"replica*app.pegasus*get_qps@99999999999.0":     {},
		"": {},
	} {
		if name, app, part, ok := (Counter{Name: full}).Replica(); name != want.name || app != want.app || part != want.part || ok != want.ok {
			t.Errorf("%q is %q of %d.%d, %t", full, name, app, part, ok)
		}
	}
}

package config

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"shardsh/commands/spec"
)

var update = flag.Bool("update", false, "write the repository's config.ini anew")

func TestDefault(t *testing.T) {
	const repository = "../../config.ini"
	if *update {
		if err := os.WriteFile(repository, []byte(Default()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(repository)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), string(data)); diff != "" {
		t.Errorf("the repository's config.ini differs (go test ./shell/config -run TestDefault -update):\n%s", diff)
	}
	c := mustLoad(t, Default(), Options{Sections: map[string]string{"pegasus.clusters": "pegasus"}, Strict: true})
	if got := mustLoad(t, "", Options{}); !cmp.Equal(got.All(), c.All()) || len(c.Clusters()) != 0 {
		t.Errorf("config.ini changes something: %v", c.All())
	}
}

// TestDefaultInForce takes off every ; and expects the defaults, the examples and no warning.
func TestDefaultInForce(t *testing.T) {
	var text strings.Builder
	for l := range strings.Lines(Default()) {
		text.WriteString(strings.TrimPrefix(l, ";"))
	}
	c := mustLoad(t, text.String(), Options{Strict: true})
	for _, k := range Keys() {
		v := c.Shell(k.Name)
		if v.Value != k.Default || !strings.HasPrefix(v.Source, "file ") {
			t.Errorf("%s is %+v, want %q from the file", k.Name, v, k.Default)
		}
	}
	var names []string
	for _, k := range c.Clusters() {
		names = append(names, k.Name)
	}
	if got := strings.Join(names, " "); got != "ClusterB m prod room_a v vearch_meta" {
		t.Errorf("clusters %s", got)
	}
	if len(c.BlockServices()) != 3 {
		t.Errorf("%+v", c.BlockServices())
	}
}

func FuzzLoad(f *testing.F) {
	fixture, err := os.ReadFile("testdata/pegasus.ini")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{example, Default(), string(fixture), "[shell]\r\noutput", "[a.clusters]\n=\n", "[cluster.x]\npager = \"\"\"", "[etcd.]", "[\x00]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o := Options{Sections: allSections, Env: env(), Builtin: []Cluster{{Name: "onebox"}}}
		l := newLoader(o, "/c.ini")
		if err := l.load(data); err != nil {
			if spec.KindOf(err) != spec.Usage || !strings.HasPrefix(err.Error(), "/c.ini:") {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		for _, c := range l.config.Clusters() {
			if got, ok := l.config.Cluster(c.Name); !ok || got.Address != c.Address || c.Settings == nil {
				t.Fatalf("%q: %+v", data, c)
			}
		}
		for _, e := range l.config.All() {
			if unprintable(e.Value+e.Key+e.Section) != "" {
				t.Fatalf("%q: %+v", data, e)
			}
		}
	})
}

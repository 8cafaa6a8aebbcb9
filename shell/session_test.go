package shell

import (
	"os"
	"path/filepath"
	"testing"

	"shardsh/commands/spec"
	"shardsh/shell/config"
)

// A cluster of any system is opened by its name in the file, or by its address without one; secrets are fetched then,
// and kept nowhere.
func TestOpenClusters(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.dir, "config.ini")
	text := "[openmldb.clusters]\nprod = zk://127.0.0.1:1,127.0.0.1:2/om\nlost = ns://127.0.0.1:1\n" +
		"[cluster.prod]\nzk_user = u\nzk_password_env = ZK\n[cluster.lost]\npassword_env = NOPE\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, warnings, err := config.Load(config.Options{Path: file, Sections: systemSections()})
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	b.conf = conf
	b.getenv = func(name string) string { return map[string]string{"ZK": "hunter2"}[name] }
	for _, name := range []string{"prod", "zk://127.0.0.1:1/om", "ns://127.0.0.1:1,127.0.0.1:2", "127.0.0.1:34601"} {
		if _, err := b.Open(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, o := range b.session.open {
		for key, value := range o.target.settings {
			if value == "hunter2" {
				t.Errorf("%s keeps the secret as %s", name, key)
			}
		}
	}
	if _, err := b.Open(t.Context(), "lost"); spec.KindOf(err) != spec.Usage {
		t.Errorf("without its secret: %v", err)
	}
	if _, err := b.Open(t.Context(), "zk://127.0.0.1:1"); spec.KindOf(err) != spec.NotFound {
		t.Errorf("an address that is none: %v", err)
	}
}

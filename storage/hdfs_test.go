package storage

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shardsh/commands/spec"
)

// A namenode lists by bare names; List has directories with a slash behind theirs.
func TestSlashed(t *testing.T) {
	names := []string{"a/", "a-b/", "a-b-c", "a-b0", "a.txt", "a0", "b", "c/", "c!/", "c!!/", "c!!x", "d/"}
	bare := slices.Clone(names)
	slices.SortFunc(bare, func(a, b string) int { return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/")) })
	var held []Entry
	var got []string
	yield := func(e Entry, _ error) bool {
		got = append(got, orderKey(e))
		return true
	}
	for _, name := range bare {
		base, dir := strings.CutSuffix(name, "/")
		if !slashed(&held, Entry{Name: base, Dir: dir}, yield) {
			t.Fatal("it was stopped")
		}
	}
	for _, e := range held {
		yield(e, nil)
	}
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("%q, want %q", got, names)
	}
}

func TestHDFSPlaces(t *testing.T) {
	conf := t.TempDir()
	property := func(k, v string) string { return "<property><name>" + k + "</name><value>" + v + "</value></property>" }
	core := property("fs.defaultFS", "hdfs://prod") + property("hadoop.security.authentication", "kerberos")
	site := property("dfs.nameservices", "prod") + property("dfs.ha.namenodes.prod", "nn1, nn2") +
		property("dfs.namenode.rpc-address.prod.nn1", "one:9000") + property("dfs.namenode.rpc-address.prod.nn2", "two") +
		property("dfs.namenode.kerberos.principal", "nn/_HOST@R") + property("dfs.data.transfer.protection", "integrity,authentication")
	for name, text := range map[string]string{"core-site.xml": core, "hdfs-site.xml": site} {
		if err := os.WriteFile(filepath.Join(conf, name), []byte("<configuration>"+text+"</configuration>"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		dir        string
		args       []string
		addresses  string
		root       string
		kerberos   bool
		protection string
	}{
		{"", []string{"hdfs://nn"}, "nn:8020", "/", false, "authentication"},
		{"", []string{"hdfs://nn:9000/", "/"}, "nn:9000", "/", false, "authentication"},
		{"", []string{"hdfs://a,b:1", "user/pegasus/"}, "a:8020,b:1", "/user/pegasus", false, "authentication"},
		{"", []string{"hdfs://[::1]:9000"}, "[::1]:9000", "/", false, "authentication"},
		{"", []string{"hdfs://[::1]"}, "[::1]:8020", "/", false, "authentication"},
		{conf, []string{"hdfs://prod", "/x"}, "one:9000,two:8020", "/x", true, "integrity"},
		{conf, []string{"hdfs://"}, "one:9000,two:8020", "/", true, "integrity"},
		{conf, []string{"hdfs://other"}, "other:8020", "/", true, "integrity"},
	} {
		getenv := func(name string) string {
			return map[string]string{"HADOOP_CONF_DIR": c.dir, "KRB5_CONFIG": filepath.Join(conf, "none")}[name]
		}
		p, err := parseHDFS(Config{Args: c.args, Getenv: getenv})
		if err != nil || strings.Join(p.addresses, ",") != c.addresses || p.root != c.root || p.kerberos() != c.kerberos {
			t.Errorf("%q: %+v, %v", c.args, p, err)
			continue
		}
		o, err := p.options()
		if err != nil || c.kerberos != (o.User == "") || p.protection() != c.protection {
			t.Errorf("%q: %q, %q, %v", c.args, o.User, p.protection(), err)
		}
	}
}

// Where Kerberos is wanted and there are no tickets, that is said before anything is dialled.
func TestHDFSWithoutTickets(t *testing.T) {
	s, err := Open(Config{
		Name: "h", Type: HDFSType, Args: []string{"hdfs://127.0.0.1:1"}, Settings: map[string]string{"principal": "p@R"},
		Getenv: func(name string) string { return map[string]string{"KRB5_CONFIG": "/no/such/krb5.conf"}[name] },
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), "f")
	if ReasonOf(err) != BadCredentials || spec.KindOf(err) != spec.Failed || !strings.Contains(err.Error(), "/no/such/krb5.conf") {
		t.Errorf("%v", err)
	}
}

// The quotas that are asked for are those of the place and above it, but for what holds everything.
func TestQuotaPlaces(t *testing.T) {
	for _, c := range []struct{ root, place, want string }{
		{"/", "/", ""},
		{"/", "/user", "/user"},
		{"/", "/user/pegasus/backup", "/user/pegasus/backup /user/pegasus"},
		{"/backup", "/backup/a", "/backup/a /backup"},
		{"/user/pegasus", "/user/pegasus", "/user/pegasus"},
	} {
		if got := strings.Join(quotaPlaces(c.root, c.place), " "); got != c.want {
			t.Errorf("%s of %s: %s", c.place, c.root, got)
		}
	}
}

// Files cost as many times their size as whoever writes them has them stored.
func TestHDFSCopies(t *testing.T) {
	for _, c := range []struct {
		own             string
		byDefault, want int
	}{{"", 0, 1}, {"", 3, 3}, {"2", 3, 3}, {"3", 2, 3}, {"many", 2, 2}, {"-1", 0, 1}} {
		h := &hdfsService{pool: &hdfsPool{place: &hdfsPlace{conf: map[string]string{"dfs.replication": c.own}}}}
		if got := h.copies(c.byDefault); got != c.want {
			t.Errorf("%q and %d: %d", c.own, c.byDefault, got)
		}
	}
}

func TestHDFSRoomOfNobody(t *testing.T) {
	s, err := Open(Config{Name: "h", Type: HDFSType, Args: []string{"hdfs://127.0.0.1:1,127.0.0.1:2", "/x"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RoomOf(t.Context(), s, ""); ReasonOf(err) != NoListener || spec.KindOf(err) != spec.Unavailable || !strings.Contains(err.Error(), askRoom+": hdfs://127.0.0.1:1") {
		t.Errorf("%v", err)
	}
}

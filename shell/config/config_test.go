package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"shardsh/commands/spec"
)

var allSections = map[string]string{
	"pegasus.clusters": "pegasus", "openmldb.clusters": "openmldb", "zankv.clusters": "zankv",
	"vearch.clusters": "vearch", "milvus.clusters": "milvus",
}

// write puts a file into a directory of the test and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// load loads a text as the file named by --config.
func load(t *testing.T, text string, o Options) (*Config, []string, error) {
	t.Helper()
	o.Path = write(t, t.TempDir(), "c.ini", text)
	if o.Sections == nil {
		o.Sections = allSections
	}
	return Load(o)
}

func mustLoad(t *testing.T, text string, o Options) *Config {
	t.Helper()
	c, warnings, err := load(t, text, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Fatalf("warnings: %q", warnings)
	}
	return c
}

const example = `
[shell]
output = json ; for people who pipe
  timeout = 5
colour = never
trace = yes
[pegasus.clusters]
ClusterB = 10.0.0.1:34601,10.0.0.2:34601
[openmldb.clusters]
prod = zk://172.27.128.31:8090,172.27.128.32:8090/openmldb_cluster     ; or ns://host:port,…
[vearch.clusters]
v = http://127.0.0.1:8817, http://127.0.0.1:9001	# two masters
[milvus.clusters]
m = 127.0.0.1:19530
[cluster.m]
user = root
password_file = secrets/m
tls_ca = /etc/ca.pem
tls_key = ~/m.key
timeout = 1m
read_only = on
color = red
store = s3_main files
password_file_x = 1
[etcd.vearch_meta]
endpoints = http://127.0.0.1:2370, http://127.0.0.1:2371
password_command = pass show "etcd ; root"
[cluster.vearch_meta]
colour = blue
[block_service.s3_main]
type = s3_service
args = https://minio.internal:9000 bucket "a prefix" 'b'x   ; access_key_env …
secret_key_env = S3_SECRET
use_ssl = no
[block_service.disk]
type = local_service
args = "/var/lib/my backups"
`

func TestExample(t *testing.T) {
	text := strings.Replace(example, "password_file_x = 1\n", "", 1)
	c := mustLoad(t, text, Options{
		Env:     env("HOME", "/home/u"),
		Builtin: []Cluster{{Name: "onebox", System: "pegasus", Address: "127.0.1.1:34601", Sandbox: true}},
	})
	dir := filepath.Dir(c.Path())
	at := func(line string) string { return "file " + c.Path() + ":" + line }
	want := []Cluster{
		{Name: "ClusterB", System: "pegasus", Address: "10.0.0.1:34601,10.0.0.2:34601", Source: at("8"), Settings: map[string]string{}},
		{Name: "m", System: "milvus", Address: "127.0.0.1:19530", Source: at("14"), Settings: map[string]string{
			"user": "root", "password_file": dir + "/secrets/m", "tls_ca": "/etc/ca.pem", "tls_key": "/home/u/m.key",
			"timeout": "1m0s", "read_only": "true", "colour": "red", "store": "s3_main files",
		}},
		{Name: "prod", System: "openmldb", Address: "zk://172.27.128.31:8090,172.27.128.32:8090/openmldb_cluster", Source: at("10"), Settings: map[string]string{}},
		{Name: "v", System: "vearch", Address: "http://127.0.0.1:8817,http://127.0.0.1:9001", Source: at("12"), Settings: map[string]string{}},
		{Name: "vearch_meta", System: "etcd", Address: "http://127.0.0.1:2370,http://127.0.0.1:2371", Source: at("24"), Settings: map[string]string{
			"password_command": `pass show "etcd ; root"`, "colour": "blue",
		}},
		{Name: "onebox", System: "pegasus", Address: "127.0.1.1:34601", Sandbox: true, Source: "built in", Settings: map[string]string{}},
	}
	if diff := cmp.Diff(want, c.Clusters()); diff != "" {
		t.Error("clusters: -want +got\n" + diff)
	}
	wantServices := []BlockService{
		{Name: "disk", Type: "local_service", Args: []string{"/var/lib/my backups"}, Settings: map[string]string{}, Source: at("34")},
		{
			Name: "s3_main", Type: "s3_service", Args: []string{"https://minio.internal:9000", "bucket", "a prefix", "b", "x"},
			Settings: map[string]string{"secret_key_env": "S3_SECRET", "use_ssl": "false"}, Source: at("29"),
		},
	}
	if diff := cmp.Diff(wantServices, c.BlockServices()); diff != "" {
		t.Error("services: -want +got\n" + diff)
	}
	for key, want := range map[string]Value{
		"output": {"json", at("3")}, "timeout": {"5s", at("4")}, "color": {"never", at("5")}, "trace": {"true", at("6")},
		"pager": {"auto", "default"},
	} {
		if got := c.Shell(key); got != want {
			t.Errorf("%s is %+v, want %+v", key, got, want)
		}
	}
	if v := c.Shell("timeout"); v.Duration() != 5*time.Second || !c.Shell("trace").Bool() || c.Shell("history").Int() != 10000 {
		t.Errorf("typed values: %v", v)
	}
	for _, name := range []string{"vearch_meta", "etcd:vearch_meta", "onebox"} {
		if _, ok := c.Cluster(name); !ok {
			t.Errorf("%s is not found", name)
		}
	}
	if got, ok := c.Cluster("etcd:m"); ok {
		t.Errorf("etcd:m is %+v", got)
	}
}

func TestAll(t *testing.T) {
	c := mustLoad(t, "[shell]\ntrace=on\n[pegasus.clusters]\na = h:1\n[cluster.a]\npassword_command = echo hunter2\n",
		Options{Builtin: []Cluster{{Name: "b", System: "pegasus", Address: "x:1", Source: "sandbox"}}})
	all := c.All()
	if len(all) != len(Keys())+3 {
		t.Errorf("%d entries", len(all))
	}
	at := "file " + c.Path()
	for _, want := range []Entry{
		{"shell", "output", "auto", "default"},
		{"shell", "trace", "true", at + ":2"},
		{"pegasus.clusters", "a", "h:1", at + ":4"},
		{"cluster.a", "password_command", "echo ***", at + ":6"},
		{"pegasus.clusters", "b", "x:1", "sandbox"},
	} {
		found := false
		for _, e := range all {
			found = found || e == want
			if strings.Contains(e.Value, "hunter2") {
				t.Errorf("%+v shows a secret", e)
			}
		}
		if !found {
			t.Errorf("%+v is missing", want)
		}
	}
}

func TestPrecedence(t *testing.T) {
	o := Options{
		Env:   env("SHARDSH_OUTPUT", "csv", "SHARDSH_TIMEOUT", "7s", "SHARDSH_TRACE", "1", "SHARDSH_COLOR", ""),
		Flags: map[string]string{"output": "yaml", "cluster": ""},
	}
	c := mustLoad(t, "[shell]\noutput = json\ntimeout = 3s\ncolor = always\n", o)
	for key, want := range map[string]Value{
		"output":  {"yaml", "flag"},
		"timeout": {"7s", "environment SHARDSH_TIMEOUT"},
		"trace":   {"true", "environment SHARDSH_TRACE"},
		"color":   {"always", "file " + c.Path() + ":4"},
		"cluster": {"", "flag"},
		"confirm": {"risky", "default"},
	} {
		if got := c.Shell(key); got != want {
			t.Errorf("%s is %+v, want %+v", key, got, want)
		}
	}
}

func TestSearch(t *testing.T) {
	top := t.TempDir()
	dir := func(name string) string { return filepath.Join(top, name) }
	named := write(t, dir("named"), "my.ini", "[shell]\noutput=json\n")
	byEnv := write(t, dir("env"), "e.ini", "[shell]\noutput=csv\n")
	here := write(t, dir("work"), "config.ini", "[shell]\noutput=tsv\n")
	xdg := write(t, dir("xdg"), "shardsh/config.ini", "[shell]\noutput=yaml\n")
	home := write(t, dir("home"), ".config/shardsh/config.ini", "[shell]\noutput=table\n")
	system := write(t, dir("etc"), "config.ini", "[shell]\noutput=plain\n")
	everything := []string{"SHARDSH_CONFIG", byEnv, "XDG_CONFIG_HOME", dir("xdg"), "HOME", dir("home")}
	for _, tt := range []struct {
		name, want string
		o          Options
	}{
		{"flag", named, Options{Path: named, WorkDir: dir("work"), Env: env(everything...), system: system}},
		{"variable", byEnv, Options{WorkDir: dir("work"), Env: env(everything...), system: system}},
		{"working directory", here, Options{WorkDir: dir("work"), Env: env(everything[2:]...), system: system}},
		{"xdg", xdg, Options{WorkDir: top, Env: env(everything[2:]...), system: system}},
		{"home", home, Options{WorkDir: top, Env: env("XDG_CONFIG_HOME", "relative", "HOME", dir("home")), system: system}},
		{"system", system, Options{WorkDir: top, Env: env("HOME", dir("nobody")), system: system}},
		{"none", "", Options{WorkDir: top, system: dir("none")}},
	} {
		c, warnings, err := Load(tt.o)
		if err != nil || len(warnings) > 0 || c.Path() != tt.want {
			t.Errorf("%s: %v, %q, %v", tt.name, c, warnings, err)
		}
	}
	for _, o := range []Options{{Path: dir("missing")}, {Env: env("SHARDSH_CONFIG", dir("missing"))}, {Path: top}} {
		if _, _, err := Load(o); spec.KindOf(err) != spec.Usage {
			t.Errorf("%+v: %v", o.Path, err)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ text, says, hint string }{
		{"[shell]\n\noutput = xml\n", "c.ini:3: output: \"xml\" is none of auto, table", ""},
		{"[shell]\ntimeout = soon\n", `c.ini:2: timeout: "soon" is not a duration`, "500ms"},
		{"[shell]\ntimeout = -5s\n", "is not a duration", ""},
		{"[shell]\ntrace = maybe\n", "neither true nor false", ""},
		{"[shell]\nhistory = -1\n", "no number", ""},
		{"[shell]\noutput =\n", "c.ini:2: output: a value is missing", ""},
		{"[shell]\noutput = json\ncolor = auto\noutput = csv\n", "c.ini:4: output is set twice, first at ", ""},
		{"[shell]\ncolor = auto\ncolour = never\n", "color is set twice", ""},
		{"output = json\n", "c.ini:1: a key stands before the first section", "[shell]"},
		{"[shell\noutput = json\n", "c.ini:1: the name of a section", ""},
		{"[shell]\noutput json\n", "c.ini:2: a line is KEY = VALUE", ""},
		{"[shell]\n= json\n", "a key is missing", ""},
		{"[shell]\npager = `less\n", "cannot begin with", ""},
		{"[shell]\npager = \"\"\"less\n", "cannot begin with", ""},
		{"[shell]\npager = a\x1bb\n", "control character", ""},
		{"[shell]\npager = \xff\n", "not UTF-8", ""},
		{"[a\u202eb]\n", "control character", ""},
		{"[shell]\npager = \x00\n", "NUL", "UTF-8"},
		{"[core]\na\x00\n", "c.ini:2: a NUL byte", ""},
		{"[pegasus.clusters]\na = x:1\n\na = y:1\n", "c.ini:4: the name a is taken at ", "one namespace"},
		{"[pegasus.clusters]\na = x:1\n[milvus.clusters]\na = y:1\n", "c.ini:4: the name a is taken at ", ""},
		{"[pegasus.clusters]\na = x:1\n[etcd.a]\nendpoints = y:1\n", "c.ini:3: the name a is taken at ", ""},
		{"[block_service.a]\ntype = local_service\n[pegasus.clusters]\na = x:1\n", "c.ini:4: the name a is taken at ", ""},
		{"[block_service.a]\ntype = t\n[block_service.a]\ntype = t\n", "c.ini:3: the name a is taken at ", ""},
		{"[pegasus.clusters]\na =\n", "c.ini:2: a: a value is missing", ""},
		{"[pegasus.clusters]\na = http://u:hunter2@h:1\n", "c.ini:2: a password stands in the value of a", "password_file"},
		{"[etcd.e]\nuser = u\n", "c.ini:1: [etcd.e] wants endpoints", ""},
		{"[block_service.b]\nargs = u\n", "c.ini:1: [block_service.b] wants a type", "hdfs_service"},
		{"[cluster.]\nuser = u\n", "wants a name", ""},
		{"[cluster.a]\ntimeout = x\n", "c.ini:2: timeout: ", ""},
		{"[cluster.a]\nuser = a\n[cluster.a]\nuser = b\n", "c.ini:4: user is set twice", ""},
		{"[cluster.a]\ncolour = pink\n", "none of red", ""},
		{"[cluster.a]\npassword_env = A\npassword_file = f\n", "c.ini:3: both password_file and password_env are set", ""},
		{"[cluster.a]\nzk_password_env = A\nzk_password_file = f\n", "c.ini:3: both zk_password_file and zk_password_env are set", ""},
		{"[cluster.a]\nzk_password = hunter2\n", "c.ini:2: zk_password stands in the file", "zk_password_file"},
		{"[cluster.a]\nPassword = hunter2\n", "c.ini:2: Password stands in the file", "password_file, password_command or password_env"},
		{"[etcd.a]\npassword = hunter2\n", "password stands in the file", "password_file"},
		{"[block_service.a]\nsecret_key = hunter2\n", "secret_key stands in the file", "secret_key_env"},
		{"[block_service.a]\nargs = https://k:hunter2@h/ b\n", "a password stands in the value of args", ""},
		{"[shell]\npassword = hunter2\n", "password stands in the file", ""},
		{strings.Repeat("\n", maxLines+1), "more than 10000 lines", ""},
		{"[shell]\n" + strings.Repeat("# comment comment\n", maxFile/16), "larger than 1024 KiB", ""},
	} {
		_, _, err := load(t, tt.text, Options{})
		name := tt.text[:min(len(tt.text), 60)]
		switch {
		case err == nil:
			t.Errorf("%q: no error", name)
		case spec.KindOf(err) != spec.Usage || !strings.Contains(err.Error(), tt.says) || !strings.Contains(spec.HintOf(err), tt.hint):
			t.Errorf("%q: %v (%v; hint %q)", name, err, spec.KindOf(err), spec.HintOf(err))
		case strings.Contains(err.Error()+spec.HintOf(err), "hunter2"):
			t.Errorf("%q: the error shows the secret: %v", name, err)
		}
	}
	for name, o := range map[string]Options{
		"environment SHARDSH_OUTPUT, output: ": {Env: env("SHARDSH_OUTPUT", "xml")},
		"flag, timeout: ":                      {Flags: map[string]string{"timeout": "soon"}},
	} {
		if _, _, err := load(t, "", o); spec.KindOf(err) != spec.Usage || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := load(t, "", Options{Flags: map[string]string{"nonsense": ""}}); err == nil {
		t.Error("a flag for an unknown setting is accepted")
	}
}

func TestWarnings(t *testing.T) {
	builtin := []Cluster{{Name: "onebox", System: "pegasus"}}
	for text, want := range map[string]string{
		"[shell]\nouput = json\n":                                  "c.ini:2: the key ouput is not known in [shell]; did you mean output?",
		"[shell]\nnonsense = json\n":                               "c.ini:2: the key nonsense is not known in [shell]",
		"[cluster.onebox]\nreadonly = on\n":                        "c.ini:2: the key readonly is not known in [cluster.onebox]; did you mean read_only?",
		"[block_service.a]\ntype = t\nregoin = x\n":                "c.ini:3: the key regoin is not known in [block_service.a]; did you mean region?",
		"[cluster.onebx]\nuser = a\n":                              "c.ini:1: [cluster.onebx] is about a cluster that is not known; did you mean onebox?",
		"[shel]\noutput = json\n":                                  "c.ini:1: the section [shel] is not known; did you mean shell?",
		"[Shell]\noutput = json\n":                                 "c.ini:1: the section [Shell] is not known; did you mean shell?",
		"[pegasus.cluster]\na = x\n":                               "c.ini:1: the section [pegasus.cluster] is not known; did you mean pegasus.clusters?",
		"[pegasos.clusters]\na = x\n":                              "c.ini:1: the section [pegasos.clusters] is of no system known here; did you mean pegasus.clusters?",
		"[other.clusters]\na = x\n":                                "c.ini:1: the section [other.clusters] is of no system known here",
		"[clusters.onebox]\nuser = x\n":                            "c.ini:1: the section [clusters.onebox] is not known; did you mean cluster?",
		"[other.clusters]\n[core]\nx = `\n[cluster.@A@]\nuser=a\n": "",
	} {
		_, warnings, err := load(t, text, Options{Builtin: builtin})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := strings.Join(warnings, "\n")
		if i := strings.Index(got, "c.ini"); i >= 0 {
			got = got[i:]
		}
		if got != want {
			t.Errorf("%q warns %q, want %q", text, got, want)
		}
		strict := want != ""
		for name, o := range map[string]Options{
			"flag": {Builtin: builtin, Strict: true}, "variable": {Builtin: builtin, Env: env("SHARDSH_STRICT", "on")},
		} {
			if _, _, err := load(t, text, o); (spec.KindOf(err) == spec.Usage) != strict || strict && !strings.Contains(err.Error(), want) {
				t.Errorf("%q, strict by %s: %v", text, name, err)
			}
		}
	}
}

func TestBuiltin(t *testing.T) {
	builtin := []Cluster{
		{Name: "onebox2", System: "pegasus", Address: "b", Sandbox: true},
		{Name: "onebox", System: "pegasus", Address: "a", Sandbox: true, Settings: map[string]string{"sandbox": "/s"}},
		{Name: "ClusterA", System: "pegasus", Address: "a", Sandbox: true},
	}
	c := mustLoad(t, "[milvus.clusters]\nz = q:1\nonebox = other:1\n[cluster.ClusterA]\nread_only = true\n[cluster.z]\nsandbox = ctl.sock\n",
		Options{Builtin: builtin})
	var got []string
	for _, k := range c.Clusters() {
		line := k.Name + " " + k.System + " " + k.Address
		if k.Sandbox {
			line += " sandbox"
		}
		if k.Settings["read_only"] == "true" {
			line += " read-only"
		}
		got = append(got, line)
	}
	want := []string{"onebox milvus other:1", "z milvus q:1 sandbox", "ClusterA pegasus a sandbox read-only", "onebox2 pegasus b sandbox"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if k, _ := c.Cluster("z"); k.Settings["sandbox"] != filepath.Join(filepath.Dir(c.Path()), "ctl.sock") {
		t.Errorf("%+v", k.Settings)
	}
	if builtin[2].Settings != nil || len(builtin[1].Settings) != 1 {
		t.Error("the caller's clusters were changed")
	}
}

// TestPegasusFile: a configuration of Pegasus's own shell serves as it is.
func TestPegasusFile(t *testing.T) {
	c, warnings, err := Load(Options{Path: "testdata/pegasus.ini", Sections: allSections, Strict: true})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%q, %v", warnings, err)
	}
	got := c.Clusters()
	if len(got) != 1 || got[0].Name != "onebox" || got[0].Address != "127.0.0.1:34601,127.0.0.1:34602,127.0.0.1:34603" {
		t.Errorf("%+v", got)
	}
	if len(c.BlockServices()) != 0 {
		t.Errorf("%+v", c.BlockServices())
	}
	for _, k := range Keys() {
		if v := c.Shell(k.Name); v.Source != "default" {
			t.Errorf("%s comes from %s", k.Name, v.Source)
		}
	}
}

func TestLineEnds(t *testing.T) {
	c := mustLoad(t, "\xef\xbb\xbf[shell] ; the [shell]\r\noutput = json\r\npager = C:\\bin\\less.exe\\\r\n[ pegasus.clusters ]\r\na = x:1\r\n", Options{})
	if c.Shell("output").Value != "json" || c.Shell("pager").Value != `C:\bin\less.exe\` || len(c.Clusters()) != 1 {
		t.Errorf("%v", c.All())
	}
}

func TestValues(t *testing.T) {
	for raw, want := range map[string]string{
		"a ; b":              "a",
		"a;b #c":             "a;b",
		"a\t# b ; c":         "a",
		`'a ; b'`:            `'a ; b'`,
		`sh -c "x ; y" ; z`:  `sh -c "x ; y"`,
		`it's ; fine`:        `it's`,
		`"open ; x`:          `"open`,
		"; all":              "",
		"ns://h:1,ns://h:2;": "ns://h:1,ns://h:2;",
	} {
		if got := withoutComment(raw); got != want {
			t.Errorf("withoutComment(%q) = %q, want %q", raw, got, want)
		}
	}
	for raw, want := range map[string]string{`"a b"`: "a b", `'a'`: "a", `"a" b "c"`: `"a" b "c"`, `"`: `"`, `""`: "", `"a'`: `"a'`} {
		if got := unquote(raw); got != want {
			t.Errorf("unquote(%q) = %q, want %q", raw, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct{ key, value, want, says string }{
		{"output", "json", "json", ""},
		{"timeout", "90", "1m30s", ""},
		{"trace", "ON", "true", ""},
		{"colour", "never", "never", ""},
		{"state", "", "", ""},
		{"output", "xml", "", "output: \"xml\" is none of"},
		{"outptu", "json", "", "there is no setting outptu"},
	} {
		got, err := Check(tt.key, tt.value)
		if got != tt.want || (err == nil) != (tt.says == "") || err != nil && !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("Check(%s, %s) = %q, %v", tt.key, tt.value, got, err)
		}
	}
	if _, err := Check("outptu", "json"); spec.HintOf(err) != "did you mean output?" {
		t.Errorf("hint %q", spec.HintOf(err))
	}
	for _, k := range Keys() {
		if got, err := k.check(k.Default); err != nil || got != k.Default {
			t.Errorf("the default of %s is spelled %q, %v", k.Name, got, err)
		}
	}
}

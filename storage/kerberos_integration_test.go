//go:build integration

package storage_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/commands/spec"
	"shardsh/storage"
	"shardsh/storage/storagetest"
)

// kerberosFile is a file of the KDC of the tests, see .ci/servers/kerberos.
func kerberosFile(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(server(t, "SHARDSH_TEST_KERBEROS_DIR"), name)
}

// environment gives a service variables, beside those that it has.
func environment(c storage.Config, variables map[string]string) storage.Config {
	before := c.Getenv
	c.Getenv = func(name string) string {
		if value, ok := variables[name]; ok || before == nil {
			return value
		}
		return before(name)
	}
	return c
}

// kerberosAs is a service of the HDFS that wants tickets, as a principal that logs in with the keytab.
func kerberosAs(t *testing.T, principal, root string) storage.Config {
	t.Helper()
	storagetest.ShareServer(t, server(t, "SHARDSH_TEST_KERBEROS_CONTROL"))
	return environment(storage.Config{
		Name: "secure", Type: storage.HDFSType, Args: []string{"hdfs://" + server(t, "SHARDSH_TEST_KERBEROS"), root},
		Settings: map[string]string{"principal": principal, "keytab": kerberosFile(t, "keytab")},
		Timeout:  10 * time.Second, Stall: 20 * time.Second,
	}, map[string]string{"KRB5_CONFIG": kerberosFile(t, "krb5.conf")})
}

// kerberosRoot makes a root of its own on the HDFS that wants tickets.
func kerberosRoot(t *testing.T) string {
	t.Helper()
	root := "/suite/" + fresh()
	above := open(t, kerberosAs(t, "shardsh", "/"))
	storagetest.Write(t, above, root+"/made", nil)
	if err := above.Remove(t.Context(), root+"/made"); err != nil {
		t.Fatal(err)
	}
	return root
}

// withCache has a service use tickets in a file, and what Hadoop's own tools are configured by.
func withCache(t *testing.T, c storage.Config, cache string) storage.Config {
	t.Helper()
	c.Settings = nil
	return environment(c, map[string]string{"HADOOP_CONF_DIR": kerberosFile(t, "conf"), "KRB5CCNAME": "FILE:" + cache})
}

// kinit logs in as the person who runs a job would.
func kinit(t *testing.T, cache, principal string, options ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "kinit", append([]string{"-k", "-t", kerberosFile(t, "keytab"), "-c", cache}, append(options, principal)...)...)
	c.Env = append(os.Environ(), "KRB5_CONFIG="+kerberosFile(t, "krb5.conf"))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("kinit: %s, %v", out, err)
	}
}

func TestRealKerberos(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Service { return open(t, kerberosAs(t, "shardsh", kerberosRoot(t))) })
}

func TestRealKerberosCache(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "tickets")
	kinit(t, cache, "shardsh")
	storagetest.Run(t, func(t *testing.T) storage.Service {
		return open(t, withCache(t, kerberosAs(t, "", kerberosRoot(t)), cache))
	})
}

// Each datanode protects what it is sent in its own way, and stores some of many files.
func TestRealKerberosProtections(t *testing.T) {
	c := kerberosAs(t, "shardsh", kerberosRoot(t))
	s := open(t, c)
	const size, files = 150_007, 80 // one of four gets none of them every 10^9 times
	for i := range files {
		name := fmt.Sprint(i)
		data := storagetest.Bytes(size, uint64(i))
		storagetest.Write(t, s, name, data)
		if got, err := storage.ReadFile(t.Context(), s, name, size); err != nil || string(got) != string(data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	for i := range 4 {
		command := fmt.Sprintf("holds %d %d", i, size)
		if answer, err := storagetest.Steered(server(t, "SHARDSH_TEST_KERBEROS_CONTROL"), command); answer != "ok" || err != nil {
			t.Errorf("%s: %q, %v", command, answer, err)
		}
	}

	// Who asks for more than a datanode offers sends it nothing.
	conf := t.TempDir()
	hadoop := `<configuration><property><name>dfs.data.transfer.protection</name><value>privacy</value></property></configuration>`
	if err := os.WriteFile(filepath.Join(conf, "hdfs-site.xml"), []byte(hadoop), 0o600); err != nil {
		t.Fatal(err)
	}
	demanding := open(t, environment(c, map[string]string{"HADOOP_CONF_DIR": conf}))
	var err error
	for i := 0; i < files && err == nil; i++ {
		err = storage.WriteFile(t.Context(), demanding, "private", storagetest.Bytes(size, 1))
	}
	storagetest.Want(t, err, spec.Failed, storage.BadCredentials)
	if !strings.Contains(spec.HintOf(err), "dfs.data.transfer.protection") {
		t.Errorf("%v: hint %q", err, spec.HintOf(err))
	}
}

// One is who the ticket says, whatever user is set.
func TestRealKerberosGuest(t *testing.T) {
	c := kerberosAs(t, "guest", kerberosRoot(t))
	c.Settings["user"] = "shardsh"
	s := open(t, environment(c, map[string]string{"HADOOP_USER_NAME": "shardsh"}))
	if got := storagetest.Names(t, s, ""); len(got) != 0 {
		t.Errorf("%q", got)
	}
	err := storage.WriteFile(t.Context(), s, "f", []byte("1"))
	storagetest.Want(t, err, spec.Failed, storage.Forbidden)
	if strings.Contains(spec.HintOf(err), "wants Kerberos") {
		t.Errorf("%v: hint %q", err, spec.HintOf(err))
	}
}

// A job that takes longer than its ticket lives: the calls after it are made on connections that the first ticket opens no
// more, because another namenode has taken over.
func TestRealKerberosTicketEnds(t *testing.T) {
	storagetest.OwnServer(t, server(t, "SHARDSH_TEST_KERBEROS_CONTROL"))
	root := kerberosRoot(t)
	byKeytab := open(t, kerberosAs(t, "brief", root)) // its tickets live for 10 s
	cache := filepath.Join(t.TempDir(), "tickets")
	kinit(t, cache, "shardsh", "-l", "10s")
	byCache := open(t, withCache(t, kerberosAs(t, "", root), cache))
	storagetest.Write(t, byKeytab, "a", []byte("1"))
	storagetest.Write(t, byCache, "b", []byte("1"))
	data := storagetest.Bytes(5<<20, 1)
	w, err := byKeytab.Create(t.Context(), "long", -1)
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Now().Add(11 * time.Second)
	for i := range 5 { // a file that is written for longer than that
		if _, err := w.Write(data[i<<20 : (i+1)<<20]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(ended) / time.Duration(5-i))
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	storagetest.Write(t, byCache, "c", []byte("1")) // the connection is there yet

	steerKerberos(t, "failover")
	defer steerKerberos(t, "failover")
	if got := storagetest.Names(t, byKeytab, ""); !slices.Equal(got, []string{"a", "b", "c", "long"}) {
		t.Errorf("%q", got)
	}
	err = storage.WriteFile(t.Context(), byCache, "d", []byte("1"))
	storagetest.Want(t, err, spec.Failed, storage.BadCredentials)
	if !strings.Contains(err.Error(), "ended at") || !strings.Contains(spec.HintOf(err), "kinit -c FILE:"+cache) {
		t.Errorf("%v: hint %q", err, spec.HintOf(err))
	}
	kinit(t, cache, "shardsh")
	storagetest.Write(t, byCache, "d", []byte("1"))
}

func steerKerberos(t *testing.T, command string) {
	t.Helper()
	storagetest.Steer(t, server(t, "SHARDSH_TEST_KERBEROS_CONTROL"), command)
}

// kerberosFault is a service that cannot work, and what it is to say.
type kerberosFault struct {
	change func(c storage.Config) storage.Config
	kind   spec.ErrorKind
	reason storage.Reason
	why    string // a part of the error
	hint   string // a part of the hint
}

func TestRealKerberosRefuses(t *testing.T) {
	good := kerberosAs(t, "shardsh", "/")
	for name, f := range kerberosFaults(t) {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.Args, bad.Settings = slices.Clone(good.Args), maps.Clone(good.Settings)
			for what, err := range attempts(t, open(t, f.change(bad))) {
				storagetest.Want(t, err, f.kind, f.reason)
				if !strings.Contains(err.Error(), f.why) || !strings.Contains(spec.HintOf(err), f.hint) {
					t.Errorf("%s: %v; hint: %s", what, err, spec.HintOf(err))
				}
			}
		})
	}
}

func kerberosFaults(t *testing.T) map[string]kerberosFault {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	set := func(key, value string) func(storage.Config) storage.Config {
		return func(c storage.Config) storage.Config { c.Settings[key] = value; return c }
	}
	env := func(variables ...string) func(storage.Config) storage.Config {
		return func(c storage.Config) storage.Config {
			for i := 0; i < len(variables); i += 2 {
				c = environment(c, map[string]string{variables[i]: variables[i+1]})
			}
			return c
		}
	}
	cache := func(name string) func(storage.Config) storage.Config {
		return func(c storage.Config) storage.Config { return withCache(t, c, name) }
	}
	withoutKeytab := func(change func(storage.Config) storage.Config) func(storage.Config) storage.Config {
		return func(c storage.Config) storage.Config { delete(c.Settings, "keytab"); return change(c) }
	}
	ended, another := filepath.Join(dir, "ended"), filepath.Join(dir, "another")
	kinit(t, ended, "shardsh", "-l", "1s")
	kinit(t, another, "guest")
	time.Sleep(1100 * time.Millisecond) // the tickets of ended end
	conf := file("hdfs-site.xml", `<configuration><property><name>dfs.namenode.kerberos.principal</name><value>hdfs/_HOST@R</value></property></configuration>`)
	const no, gone, failed = storage.BadCredentials, spec.Unavailable, spec.Failed
	return map[string]kerberosFault{
		"wrong keytab":       {set("keytab", kerberosFile(t, "old.keytab")), failed, no, "the key of shardsh@SHARDSH.TEST in ", "kinit -kt "},
		"no keytab":          {set("keytab", filepath.Join(dir, "none")), failed, no, "no such file", "check keytab"},
		"no key in keytab":   {set("principal", "nn/127.0.0.1"), failed, no, "holds no key of nn/127.0.0.1@SHARDSH.TEST", "klist -ket "},
		"cut keytab":         {set("keytab", file("cut", "\x05\x02\x00\x00\x00\x50secret")), failed, no, "it is no keytab, or an incomplete one", "check keytab"},
		"no principal":       {set("principal", ""), failed, no, "keytab is set, and principal is not", "klist -k "},
		"unknown principal":  {set("principal", "nobody"), failed, no, "the KDC knows no nobody@SHARDSH.TEST", "check principal"},
		"expired principal":  {set("principal", "expired"), failed, no, "expired@SHARDSH.TEST may not log in", "getprinc"},
		"unknown realm":      {set("principal", "shardsh@ELSEWHERE.TEST"), failed, no, "names no KDC", "add the realm"},
		"skewed clock":       {env("KRB5_CONFIG", kerberosFile(t, "krb5-skewed.conf")), failed, storage.WrongClock, "clocks", "NTP"},
		"KDC down":           {env("KRB5_CONFIG", kerberosFile(t, "krb5-down.conf")), gone, storage.NoListener, "no KDC listens", "[realms]"},
		"no krb5.conf":       {env("KRB5_CONFIG", filepath.Join(dir, "none")), failed, no, "read ", "KRB5_CONFIG"},
		"no ticket":          {cache(filepath.Join(dir, "none")), failed, no, "there is no ticket", "run: kinit -c FILE:"},
		"ended ticket":       {cache(ended), failed, no, "ended at 20", "run: kinit -c FILE:"},
		"cut ticket":         {cache(file("empty", "")), failed, no, "it is cut off", "run: kinit -c FILE:"},
		"tickets of another": {withoutKeytab(env("KRB5CCNAME", another)), failed, no, "are those of guest@SHARDSH.TEST", "shardsh, or set"},
		"tickets elsewhere":  {withoutKeytab(env("KRB5CCNAME", "KEYRING:persistent:0")), failed, no, "KEYRING:persistent:0", "FILE:PATH"},
		"unknown namenode":   {env("HADOOP_CONF_DIR", filepath.Dir(conf)), failed, no, "the KDC knows no hdfs/127.0.0.1", "dfs.namenode.kerberos.principal"},
		"nobody there":       {func(c storage.Config) storage.Config { c.Args[0] = "hdfs://127.0.0.1:1"; return c }, gone, storage.NoListener, "refused", ""},
		"without Kerberos":   {func(c storage.Config) storage.Config { c.Settings = nil; return c }, failed, no, "nobody without Kerberos", "set principal and keytab"},
		"not wanted": {func(c storage.Config) storage.Config {
			c.Args[0] = "hdfs://" + server(t, "SHARDSH_TEST_HDFS")
			return c
		}, failed, no, "the namenode does without it", "take principal out"},
	}
}

//go:build integration

package storage_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"shardsh/commands/spec"
	"shardsh/storage"
	"shardsh/storage/storagetest"
)

func TestRealS3Refuses(t *testing.T) {
	good := s3Config(t, true)
	for name, c := range map[string]struct {
		change func(*storage.Config)
		kind   spec.ErrorKind
		reason storage.Reason
		code   string
	}{
		"wrong secret": {
			func(c *storage.Config) { c.Settings["secret_key_env"] = "SHARDSH_TEST_S3_ACCESS_KEY" }, spec.Failed, storage.BadCredentials, "SignatureDoesNotMatch",
		},
		"unknown key": {
			func(c *storage.Config) { c.Settings["access_key_env"] = "SHARDSH_TEST_S3_SECRET_KEY" }, spec.Failed, storage.BadCredentials, "InvalidAccessKeyId",
		},
		"no bucket":         {func(c *storage.Config) { c.Args[1] = "no-such-bucket" }, spec.NotFound, storage.NoPlace, "NoSuchBucket"},
		"unknown authority": {func(c *storage.Config) { delete(c.Settings, "ca") }, spec.Unavailable, storage.CertUnknown, ""},
		"another name":      {func(c *storage.Config) { c.Args[0] = strings.Replace(c.Args[0], "127.0.0.1", "127.0.0.2", 1) }, spec.Unavailable, "", ""},
		"no TLS there": {func(c *storage.Config) {
			c.Args[0] = strings.Replace(server(t, "SHARDSH_TEST_S3"), "http:", "https:", 1)
		}, spec.Unavailable, storage.NotTLS, ""},
		"nobody there": {func(c *storage.Config) { c.Args[0] = "https://127.0.0.1:1" }, spec.Unavailable, storage.NoListener, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.Args, bad.Settings = slices.Clone(good.Args), map[string]string{}
			for k, v := range good.Settings {
				bad.Settings[k] = v
			}
			c.change(&bad)
			s := open(t, bad)
			for what, err := range attempts(t, s) {
				storagetest.Want(t, err, c.kind, c.reason)
				var e *spec.Error
				if errors.As(err, &e); e.Code != c.code || e.Hint == "" {
					t.Errorf("%s: code %q, hint %q: %v", what, e.Code, e.Hint, err)
				}
			}
		})
	}
	if got := storagetest.Names(t, open(t, good), ""); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

// attempts tries what can be tried, and answers how it failed. None of it may take long.
func attempts(t *testing.T, s storage.Service) map[string]error {
	t.Helper()
	started := time.Now()
	all := map[string]error{"write": storage.WriteFile(t.Context(), s, "f", []byte("1"))}
	_, all["stat"] = s.Stat(t.Context(), "")
	for _, err := range s.List(t.Context(), "") {
		all["list"] = err
	}
	_, all["check"] = storage.Check(t.Context(), s)
	if r, ok := s.(storage.Roomy); ok {
		_, all["room"] = r.Room(t.Context(), "")
	}
	if took := time.Since(started); took > 20*time.Second {
		t.Errorf("it took %s to fail", took)
	}
	return all
}

func TestRealHDFSNamenodes(t *testing.T) {
	storagetest.OwnServer(t, server(t, "SHARDSH_TEST_HDFS_CONTROL"))
	c := hdfsConfig(t)
	s := open(t, c)
	storagetest.Write(t, s, "before", storagetest.Bytes(3<<20, 1))
	down := true
	steer(t, "down")
	defer func() {
		if down {
			steer(t, "up")
		}
	}()
	for what, err := range attempts(t, s) {
		if spec.KindOf(err) != spec.Unavailable || spec.HintOf(err) == "" || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s, with the active namenode dead: %v", what, err)
		}
	}
	steer(t, "up")
	down = false
	// The idle connections lead nowhere; nobody notices.
	if got, err := storage.ReadFile(t.Context(), s, "before", 4<<20); len(got) != 3<<20 || err != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	steer(t, "failover")
	storagetest.Write(t, s, "after", []byte("1"))
	if got := storagetest.Names(t, s, ""); !slices.Equal(got, []string{"after", "before"}) {
		t.Errorf("%q", got)
	}
	steer(t, "failover")

	steer(t, "safemode on")
	err := storage.WriteFile(t.Context(), s, "never", []byte("1"))
	steer(t, "safemode off")
	storagetest.Want(t, err, spec.Unavailable, storage.Busy)

	c.Args[0] = "hdfs://127.0.0.1:1,127.0.0.1:2"
	for _, err := range attempts(t, open(t, c)) {
		storagetest.Want(t, err, spec.Unavailable, storage.NoListener)
	}
}

// A datanode that closes in the middle of a block fails the file; the copy writes it again, and nothing half-written is
// ever there.
func TestRealHDFSDatanodeDies(t *testing.T) {
	storagetest.OwnServer(t, server(t, "SHARDSH_TEST_HDFS_CONTROL"))
	s := open(t, hdfsConfig(t))
	w, err := s.Create(t.Context(), "d/alone", -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(storagetest.Bytes(1<<19, 1)); err != nil {
		t.Fatal(err)
	}
	// Two of the three have the block under way: one of these two is among them.
	steer(t, "stop 0")
	steer(t, "stop 1")
	err = nil
	for i := 0; i < 40 && err == nil; i++ {
		_, err = w.Write(storagetest.Bytes(1<<20, 1))
	}
	if err == nil {
		err = w.Commit()
	}
	storagetest.Want(t, err, spec.Unavailable, "")
	if aerr := w.Abort(); aerr != nil {
		t.Errorf("Abort: %v", aerr)
	}
	steer(t, "start 0")
	steer(t, "start 1")
	if got := storagetest.Names(t, s, ""); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}

	source := openLocal(t, t.TempDir(), "none")
	data := storagetest.Bytes(24<<20, 9)
	storagetest.Write(t, source, "f", data)
	stopped := false
	defer func() { steer(t, "start 1") }()
	o := storage.CopyOptions{Attempts: 12, Limit: storage.NewLimit(16 << 20), Progress: func(p storage.Progress) {
		if p.Bytes > 4<<20 && !stopped {
			stopped = true
			if answer, err := storagetest.Steered(server(t, "SHARDSH_TEST_HDFS_CONTROL"), "stop 1"); answer != "ok" || err != nil {
				t.Errorf("stop 1: %q, %v", answer, err)
			}
		}
	}}
	p, err := storage.Tree(t.Context(), source, "", s, "x", o)
	if err != nil || p.Files != 1 || !stopped {
		t.Errorf("%+v, %v", p, err)
	}
	if got, err := storage.ReadFile(t.Context(), s, "x/f", 25<<20); err != nil || string(got) != string(data) {
		t.Errorf("what is there after it: %d bytes, %v", len(got), err)
	}
	if got := storagetest.Names(t, s, ""); !slices.Equal(got, []string{"x/f"}) {
		t.Errorf("%q", got)
	}
}

func TestRealHDFSRefuses(t *testing.T) {
	root := "/full/" + fresh()
	c := hdfsAt(t, root)
	s := open(t, c)
	steer(t, "quota "+root+" 4194304") // two replicas of two blocks
	err := storage.WriteFile(t.Context(), s, "d/f", storagetest.Bytes(8<<20, 1))
	storagetest.Want(t, err, spec.Failed, storage.NoSpace)
	if got := storagetest.Names(t, s, ""); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
	steer(t, "quota "+root+" 0")
	storagetest.Write(t, s, "d/f", storagetest.Bytes(8<<20, 1))

	steer(t, "own "+root+" somebody")
	c.Settings = map[string]string{"user": "nobody"}
	err = storage.WriteFile(t.Context(), open(t, c), "g", []byte("1"))
	storagetest.Want(t, err, spec.Failed, storage.Forbidden)
	if !strings.Contains(spec.HintOf(err), "Kerberos") {
		t.Errorf("%s", spec.HintOf(err))
	}
}

// The smaller one counts of what the datanodes have and what quotas leave, in bytes of content: there are two replicas.
func TestRealHDFSRoom(t *testing.T) {
	root := "/room/" + fresh()
	c := hdfsAt(t, root)
	s := open(t, c)
	room := func(dir string) storage.Room {
		t.Helper()
		r, err := storage.RoomOf(t.Context(), s, dir)
		if err != nil || r.Copies != 2 || r.Free < 0 || r.Free > r.Total {
			t.Fatalf("%s: %+v, %v", dir, r, err)
		}
		return r
	}
	bare := room("deep/below")
	if bare.Bound != "" || bare.Unsure != "" || bare.Free == 0 {
		t.Errorf("without a quota it is %+v", bare)
	}
	const mebi = 1 << 20
	steer(t, "quota "+root+" 16777216")
	storagetest.Write(t, s, "d/f", storagetest.Bytes(3*mebi, 1))
	if r := room("deep/below"); r.Free != 5*mebi || r.Total != 8*mebi || r.Bound != "the quota of "+root {
		t.Errorf("3 MiB of a quota of 16 are taken twice: %+v", r)
	}
	steer(t, "quota "+root+"/d 8388608")
	if r := room("d/x"); r.Free != mebi || r.Bound != "the quota of "+root+"/d" {
		t.Errorf("within a smaller quota: %+v", r)
	}
	if r := room(""); r.Free != 5*mebi {
		t.Errorf("beside the smaller quota: %+v", r)
	}
	steer(t, "quota "+root+"/d 2097152") // less than it holds
	if r := room("d"); r.Free != 0 {
		t.Errorf("beyond its quota: %+v", r)
	}
	steer(t, "quota "+root+"/d 0")
	steer(t, "quota "+root+" 0")
	if r := room("d"); r.Bound != "" || r.Free < 8*mebi {
		t.Errorf("without a quota again: %+v", r)
	}

	// What one may not look at is said, and the datanodes' room is told all the same.
	steer(t, "own "+root+" somebody")
	steer(t, "mode "+root+" 700")
	c.Settings = map[string]string{"user": "nobody"}
	r, err := storage.RoomOf(t.Context(), open(t, c), "d")
	if err != nil || r.Free == 0 || r.Unsure != "whether "+root+"/d has a quota is not known: permission denied" {
		t.Errorf("where one may not look: %+v, %v", r, err)
	}
}

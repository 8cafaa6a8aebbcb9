//go:build integration && linux

package main_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	client "github.com/colinmarc/hdfs/v2"
	"golang.org/x/sys/unix"

	"shardsh/storage/storagetest"
)

// steerHDFS tells the real HDFS to do something, and waits until it has.
func steerHDFS(t *testing.T, command string) {
	t.Helper()
	conn, err := net.Dial("tcp", realServer(t, "SHARDSH_TEST_HDFS_CONTROL"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, command)
	if answer, err := bufio.NewReader(conn).ReadString('\n'); strings.TrimSpace(answer) != "ok" {
		t.Fatalf("%s: %q, %v", command, answer, err)
	}
}

// refused runs a line that fails, and demands one clear line with what to do next.
func (l *fsLab) refused(exit int, line string, says ...string) {
	l.t.Helper()
	_, errs := l.run(exit, line)
	l.oneError(line, errs, says...)
}

func (l *fsLab) oneError(line, errs string, says ...string) {
	l.t.Helper()
	n := 0
	for text := range strings.Lines(errs) {
		var e struct{ Message, Hint string }
		if !strings.HasPrefix(text, "{") {
			continue // how far it is
		}
		n++
		if json.Unmarshal([]byte(text), &e) != nil || e.Message == "" || e.Hint == "" || strings.Contains(e.Message, "\n") {
			l.t.Errorf("%s: it says\n%s", line, errs)
		}
	}
	if n != 1 {
		l.t.Errorf("%s: %d errors in\n%s", line, n, errs)
	}
	for _, text := range says {
		if !strings.Contains(errs, text) {
			l.t.Errorf("%s: %q is not in\n%s", line, text, errs)
		}
	}
}

// writing are lines that write to a service.
func writing(service string) []string {
	return []string{"fs check " + service, "fs put in " + service + ":/x", "fs copy disk:/ " + service + ":/x", "fs put in/0/f00 " + service + ":/x/"}
}

// paths are the files of a service, by path, with the moment of their writing.
func (l *fsLab) paths(place string) map[string]string {
	l.t.Helper()
	out, _ := l.run(0, "fs ls -R "+place+" --columns path,modified")
	var rows []struct{ Path, Modified string }
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
	all := map[string]string{}
	for _, r := range rows {
		all[r.Path] = r.Modified
	}
	return all
}

// What is wrong with an S3 is said by every word in one line, nothing is left there, and no job is made.
func TestFSFaultsS3(t *testing.T) {
	section := s3Section(t, "s3")
	expired, ca := expiredServer(t)
	l := newFSLab(t, section+
		strings.NewReplacer("block_service.s3", "block_service.key", "SHARDSH_TEST_S3_SECRET_KEY", "SHARDSH_TEST_S3_ACCESS_KEY").Replace(section)+
		strings.NewReplacer("block_service.s3", "block_service.unknown", "access_key_env = SHARDSH_TEST_S3_ACCESS_KEY", "access_key_env = SHARDSH_TEST_S3_SECRET_KEY").Replace(section)+
		strings.NewReplacer("block_service.s3", "block_service.bucket", "/prefix", "", " shell", " no-such").Replace(section)+
		fmt.Sprintf("[block_service.expired]\ntype = s3_service\nargs = %s bucket\nca = %s\naccess_key_env = HOME\nsecret_key_env = HOME\n", expired, ca))
	l.run(0, "fs put in disk:/d", "fs get disk:/d/0 s3here", "job remove j1", "job remove j2")
	for _, c := range []struct {
		service string
		exit    int
		says    []string
	}{
		{"key", 1, []string{"SignatureDoesNotMatch"}},
		{"unknown", 1, []string{"InvalidAccessKeyId"}},
		{"bucket", 1, []string{"NoSuchBucket"}},
		{"expired", 4, []string{"expired", "renew the certificate"}},
	} {
		for _, line := range writing(c.service) {
			l.refused(c.exit, line, c.says...)
		}
		l.refused(c.exit, "fs get "+c.service+":/a back", c.says...)
	}
	if out, _ := l.run(0, "jobs --all"); strings.TrimSpace(out) != "[]" {
		t.Errorf("there are jobs: %s", out)
	}
	if got := l.paths("s3:/"); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if got := l.tree("back"); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

// expiredServer serves with a certificate of yesterday, and answers its URL and the file of the authority.
func expiredServer(t *testing.T) (url, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "expired"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	ca = t.TempDir() + "/ca.pem"
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL, ca
}

// TestFSFaultsFull: the disk is full in the middle. What is there is whole; with more room the job goes on.
func TestFSFaultsFull(t *testing.T) {
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("mount a file system: %v", err)
	}
	defer func() {
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	l := newFSLab(t, fmt.Sprintf("[block_service.small]\ntype = local_service\nargs = %q\n", small))
	l.refused(5, "fs put in small:/x", "4 MiB free", "make room, or name another place")
	l.refused(3, "fs put in small:/x --parallel 2 --force --yes=small:/x", "no space left", "make room, or use another place", "to go on: job resume j1")
	l.whole(small)
	if err := unix.Mount("tmpfs", small, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	l.run(0, "job resume j1", "fs get small:/x back")
	l.same("what came back", l.tree("back"), l.want)
}

// whole demands that the files of a local_service are those of the source, each with its .meta, and some are missing.
func (l *fsLab) whole(dir string) {
	l.t.Helper()
	other := &fsLab{t: l.t, dir: dir}
	got, files := other.tree("x"), 0
	for name, data := range got {
		if strings.HasSuffix(name, ".meta") {
			continue
		}
		files++
		if data != l.want[name] || got[metaOf(name)] == "" {
			l.t.Errorf("%s is %s, want %s, and has the .meta %q", name, data, l.want[name], got[metaOf(name)])
		}
	}
	if files == 0 || files == len(l.want) {
		l.t.Errorf("%d files of %d are there", files, len(l.want))
	}
}

// TestFSFaultsNamenode: no namenode answers, before a copy and in the middle of it.
func TestFSFaultsNamenode(t *testing.T) {
	storagetest.OwnServer(t, realServer(t, "SHARDSH_TEST_HDFS_CONTROL"))
	l := newFSLab(t, hdfsSection(t, "hdfs")+"[block_service.dead]\ntype = hdfs_service\nargs = hdfs://127.0.0.1:1,127.0.0.1:2 /x\n")
	l.run(0, "fs put in disk:/d", "job remove j1")
	for _, line := range writing("dead") {
		l.refused(4, line, "connection refused", "check whether the namenodes run")
	}
	r := l.start("fs put in hdfs:/x --max-rate 2MB/s")
	comesAbout(t, "files are there", func() bool { return l.journaled("j2") >= 4 })
	steerHDFS(t, "down")
	up := false
	defer func() {
		if !up {
			steerHDFS(t, "up")
		}
	}()
	_, errs := r.exit(3)
	l.oneError("the copy", errs, "to go on: job resume j2", "hdfs://", "is tried again")
	steerHDFS(t, "up")
	up = true
	before := l.paths("hdfs:/x")
	l.run(0, "job resume j2", "fs get hdfs:/x back")
	l.same("what came back", l.tree("back"), l.want)
	l.kept(before, l.paths("hdfs:/x"))
}

// kept demands that what was there has not been written again.
func (l *fsLab) kept(before, now map[string]string) {
	l.t.Helper()
	if len(before) == 0 || len(before) >= len(now) {
		l.t.Errorf("%d files were there, and %d are", len(before), len(now))
	}
	for path, at := range before {
		if now[path] != at {
			l.t.Errorf("%s was written at %s, and is of %s now", path, at, now[path])
		}
	}
}

// TestFSFaultsDatanode: datanodes close in the middle of blocks; the files are written again, and nobody notices.
func TestFSFaultsDatanode(t *testing.T) {
	storagetest.OwnServer(t, realServer(t, "SHARDSH_TEST_HDFS_CONTROL"))
	l := newFSLab(t, hdfsSection(t, "hdfs"))
	r := l.start("fs put in hdfs:/x --max-rate 3MB/s")
	comesAbout(t, "files are there", func() bool { return l.journaled("j1") >= 3 })
	steerHDFS(t, "stop 1")
	started := false
	defer func() {
		if !started {
			steerHDFS(t, "start 1")
		}
	}()
	r.exit(0)
	steerHDFS(t, "start 1")
	started = true
	l.run(0, "fs get hdfs:/x back")
	l.same("what came back", l.tree("back"), l.want)
}

// TestFSJobKilledReal kills copies between real services with -9, and resumes them.
func TestFSJobKilledReal(t *testing.T) {
	s3, hdfs := s3Section(t, "s3"), hdfsSection(t, "hdfs")
	l := newFSLab(t, s3+hdfs)
	big := make([]byte, 40<<20) // in parts
	_, _ = rand.Read(big)
	l.write("in/big", big)
	l.want = l.tree("in")
	for i, c := range []struct{ line, into string }{
		{"fs put in s3:/x --max-rate 20MB/s", "s3:/x"},
		{"fs copy s3:/x hdfs:/x --max-rate 20MB/s", "hdfs:/x"},
		{"fs copy hdfs:/x s3:/y --max-rate 20MB/s", "s3:/y"},
		{"fs get s3:/y back --max-rate 20MB/s", ""},
	} {
		id := fmt.Sprintf("j%d", i+1)
		r := l.start(c.line)
		comesAbout(t, "files are there", func() bool { return l.journaled(id) >= 8 })
		r.cmd.Process.Kill()
		r.exit(-1)
		if c.into == "" {
			l.run(0, "job resume "+id)
			break
		}
		before := l.paths(c.into)
		l.run(0, "job resume "+id)
		l.kept(before, l.paths(c.into))
	}
	l.same("what came back", l.tree("back"), l.want)
	nothingUnderWay(t, sectionArgs(s3), sectionArgs(hdfs))
}

// sectionArgs are the args of a section.
func sectionArgs(section string) []string {
	_, rest, _ := strings.Cut(section, "\nargs = ")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line)
}

// nothingUnderWay looks past the shell for uploads that were begun, and for files under temporary names.
func nothingUnderWay(t *testing.T, s3, hdfs []string) {
	t.Helper()
	for u := range s3Admin(t).ListIncompleteUploads(t.Context(), s3[1], "", true) {
		t.Errorf("an upload of %s is left: %v", u.Key, u.Err)
	}
	c, err := client.NewClient(client.ClientOptions{Addresses: strings.Split(strings.TrimPrefix(hdfs[0], "hdfs://"), ","), User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	files := 0
	err = c.Walk(hdfs[1], func(path string, info os.FileInfo, err error) error {
		if strings.HasSuffix(path, ".shardsh-tmp") {
			t.Errorf("%s is left", path)
		}
		files++
		return err
	})
	if err != nil || files <= fsFiles {
		t.Errorf("%d files, %v", files, err)
	}
}

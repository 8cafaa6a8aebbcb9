package main_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// What is uploaded, and how often by each program, taking turns; the medians are compared. uploadBar is how fast ours shall
// be at least, in shares of the other's speed.
const (
	uploadFiles = 64
	uploadSize  = 16 << 20
	uploadRuns  = 5
	uploadBar   = 1.0
)

const benchAccess, benchSecret = "benchroot", "benchsecret"

// s3Bench is a versitygw in a process of its own, with the files to upload.
type s3Bench struct {
	b                 *testing.B
	dir, url, gateway string
	rclone            string
}

// BenchmarkS3Upload compares fs put with rclone, each as people run it: four files at a time, checked by their MD5s.
func BenchmarkS3Upload(b *testing.B) {
	s := newS3Bench(b)
	for range b.N {
		var ours, theirs []time.Duration
		for run := range uploadRuns + 1 {
			o, t := s.timed(s.shardsh, fmt.Sprint("ours", run)), s.timed(s.other, fmt.Sprint("theirs", run))
			if run == 0 { // the first of a series is far slower
				continue
			}
			ours, theirs = append(ours, o), append(theirs, t)
		}
		o, t := rateOf(median(ours)), rateOf(median(theirs))
		fmt.Printf("BENCH s3_upload ours=%.0f reference=%.0f ratio=%.2f unit=MiB/s (rclone copy, the same files to the same server, told not to wait for 100 Continue, "+
			"medians of %d runs each; bar: ratio >= %.1f)\n", o, t, o/t, uploadRuns, uploadBar)
		if o < uploadBar*t {
			b.Errorf("fs put moves %.0f MiB/s, rclone %.0f", o, t)
		}
	}
}

func rateOf(d time.Duration) float64 { return uploadFiles * uploadSize / (1 << 20) / d.Seconds() }

// tool is a program that .ci/tool builds.
func tool(b *testing.B, name string) string {
	b.Helper()
	cmd := exec.Command(filepath.Join(".ci", "tool"), name)
	cmd.Dir = filepath.Join("..", "..")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		b.Skipf("%s cannot be built here: %v: %s", name, err, &errs)
	}
	return strings.TrimSpace(string(out))
}

func newS3Bench(b *testing.B) *s3Bench {
	b.Helper()
	s := &s3Bench{b: b, dir: b.TempDir(), gateway: tool(b, "versitygw"), rclone: tool(b, "rclone")}
	r := rand.NewChaCha8([32]byte{7})
	data := make([]byte, uploadSize)
	for i := range uploadFiles {
		_, _ = r.Read(data)
		s.write(fmt.Sprintf("in/d%d/f%02d", i%4, i), data)
	}
	s.serve()
	s.write("config.ini", fmt.Appendf(nil, "[block_service.s3]\ntype = s3_service\nargs = %s bench\n", s.url))
	keys := credentials.NewStaticV4(benchAccess, benchSecret, "")
	admin, err := minio.New(strings.TrimPrefix(s.url, "http://"), &minio.Options{Creds: keys})
	if err == nil {
		err = admin.MakeBucket(b.Context(), "bench", minio.MakeBucketOptions{})
	}
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func (s *s3Bench) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *s3Bench) write(name string, data []byte) {
	s.b.Helper()
	err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755)
	if err == nil {
		err = os.WriteFile(s.path(name), data, 0o600)
	}
	if err != nil {
		s.b.Fatal(err)
	}
}

// serve starts the server on a free port.
func (s *s3Bench) serve() {
	s.b.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.b.Fatal(err)
	}
	at := free.Addr().String()
	s.url = "http://" + at
	for _, dir := range []string{"data", "iam"} {
		if err := os.Mkdir(s.path(dir), 0o755); err != nil {
			s.b.Fatal(err)
		}
	}
	free.Close()
	cmd := exec.Command(s.gateway, "--port", at, "--iam-dir", s.path("iam"), "--keep-alive", "--health", "/health", "--quiet", "posix", s.path("data"))
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+benchAccess, "ROOT_SECRET_KEY="+benchSecret)
	if err := cmd.Start(); err != nil {
		s.b.Fatal(err)
	}
	s.b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if answer, err := http.Get(s.url + "/health"); err == nil {
			answer.Body.Close()
			return
		}
		if time.Now().After(until) {
			s.b.Fatal("the server does not answer")
		}
	}
}

// timed runs an upload to a directory of its own, demands that all of it is there, and removes it.
func (s *s3Bench) timed(upload func(to string) *exec.Cmd, to string) time.Duration {
	s.b.Helper()
	cmd := upload(to)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started := time.Now()
	err := cmd.Run()
	took := time.Since(started)
	if err != nil {
		s.b.Fatalf("%v: %v\n%s", cmd.Args, err, &out)
	}
	files, size := 0, int64(0)
	at := s.path("data", "bench", to)
	err = filepath.WalkDir(at, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files++
			size += info.Size()
		}
		return err
	})
	if err != nil || files != uploadFiles || size != uploadFiles*uploadSize {
		s.b.Fatalf("%s has %d files, %d bytes: %v", to, files, size, err)
	}
	if err := os.RemoveAll(at); err != nil {
		s.b.Fatal(err)
	}
	s.b.Logf("%s: %.0f MiB/s", to, rateOf(took))
	return took
}

func (s *s3Bench) shardsh(to string) *exec.Cmd {
	cmd := exec.Command(program, "--config", s.path("config.ini"), "-e", "fs put in s3:/"+to)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), append(isolated(s.dir), "AWS_ACCESS_KEY_ID="+benchAccess, "AWS_SECRET_ACCESS_KEY="+benchSecret)...)
	return cmd
}

func (s *s3Bench) other(to string) *exec.Cmd {
	cmd := exec.Command(s.rclone, "copy", "--config", s.path("rclone.conf"), "--expect-continue-timeout", "0", "--s3-provider", "Other", "--s3-endpoint", s.url,
		"--s3-access-key-id", benchAccess, "--s3-secret-access-key", benchSecret, "--s3-force-path-style", "--s3-no-check-bucket", "--transfers", "4",
		s.path("in"), ":s3:bench/"+to)
	cmd.Env = append(os.Environ(), isolated(s.dir)...)
	return cmd
}

//go:build integration

package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"shardsh/storage"
	"shardsh/storage/storagetest"
)

// server answers what .ci/integration says about a server it started.
func server(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Fatalf("%s is not set: .ci/integration starts the server and sets it", variable)
	}
	return value
}

var roots atomic.Int64

// fresh is a name that nothing else in this run has.
func fresh() string { return fmt.Sprintf("t%d-%d", os.Getpid(), roots.Add(1)) }

// open opens a service and closes it at the end of the test.
func open(t *testing.T, c storage.Config) storage.Service {
	t.Helper()
	s, err := storage.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// hdfsConfig is a root of its own on the real HDFS, which is made.
func hdfsConfig(t *testing.T) storage.Config {
	t.Helper()
	return hdfsAt(t, "/suite/"+fresh())
}

func hdfsAt(t *testing.T, root string) storage.Config {
	t.Helper()
	storagetest.ShareServer(t, server(t, "SHARDSH_TEST_HDFS_CONTROL"))
	c := storage.Config{
		Name: "hdfs", Type: storage.HDFSType, Args: []string{"hdfs://" + server(t, "SHARDSH_TEST_HDFS"), root}, Timeout: 10 * time.Second, Stall: 20 * time.Second,
	}
	above := c
	above.Args = []string{c.Args[0], "/"}
	storagetest.Write(t, open(t, above), root+"/made", nil)
	if err := open(t, c).Remove(t.Context(), "made"); err != nil {
		t.Fatal(err)
	}
	return c
}

// steer tells the HDFS to do something, and waits until it has.
func steer(t *testing.T, command string) {
	t.Helper()
	storagetest.Steer(t, server(t, "SHARDSH_TEST_HDFS_CONTROL"), command)
}

// s3Config is an empty bucket of its own on a real S3, which is made.
func s3Config(t *testing.T, tls bool) storage.Config {
	t.Helper()
	c := storage.Config{
		Name: "s3", Type: storage.S3Type, Args: []string{server(t, "SHARDSH_TEST_S3"), fresh(), "some/prefix"}, Getenv: os.Getenv,
		Settings: map[string]string{"access_key_env": "SHARDSH_TEST_S3_ACCESS_KEY", "secret_key_env": "SHARDSH_TEST_S3_SECRET_KEY"},
	}
	if tls {
		c.Args[0], c.Settings["ca"] = server(t, "SHARDSH_TEST_S3_TLS"), server(t, "SHARDSH_TEST_S3_CA")
	}
	if err := s3Admin(t).MakeBucket(t.Context(), c.Args[1], minio.MakeBucketOptions{}); !tls && err != nil {
		t.Fatal(err)
	}
	if tls {
		makeTLSBucket(t, c)
	}
	return c
}

func makeTLSBucket(t *testing.T, c storage.Config) {
	t.Helper()
	transport, err := minio.DefaultTransport(true)
	if err != nil {
		t.Fatal(err)
	}
	transport.TLSClientConfig.RootCAs = roots509(t, c.Settings["ca"])
	admin, err := minio.New(strings.TrimPrefix(c.Args[0], "https://"), &minio.Options{Creds: s3Keys(t), Secure: true, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.MakeBucket(t.Context(), c.Args[1], minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
}

func s3Keys(t *testing.T) *credentials.Credentials {
	t.Helper()
	return credentials.NewStaticV4(server(t, "SHARDSH_TEST_S3_ACCESS_KEY"), server(t, "SHARDSH_TEST_S3_SECRET_KEY"), "")
}

// s3Admin is another client of the S3 without TLS.
func s3Admin(t *testing.T) *minio.Core {
	t.Helper()
	core, err := minio.NewCore(strings.TrimPrefix(server(t, "SHARDSH_TEST_S3"), "http://"), &minio.Options{Creds: s3Keys(t)})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

func TestRealHDFS(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Service { return open(t, hdfsConfig(t)) })
}

func TestRealS3(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Service { return open(t, s3Config(t, false)) })
}

func TestRealS3TLS(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Service { return open(t, s3Config(t, true)) })
}

// Each kind of service to each other, and back: the same bytes.
func TestRealCopies(t *testing.T) {
	kinds := map[string]func() storage.Service{
		"local": func() storage.Service { return openLocal(t, t.TempDir(), "") },
		"hdfs":  func() storage.Service { return open(t, hdfsConfig(t)) },
		"s3":    func() storage.Service { return open(t, s3Config(t, true)) },
	}
	source := openLocal(t, t.TempDir(), "none")
	sizes := []int{0, 100, 1 << 20, 17 << 20}
	for i, size := range sizes {
		storagetest.Write(t, source, fmt.Sprintf("d%d/f", i), storagetest.Bytes(size, uint64(i)))
	}
	for from := range kinds {
		for into := range kinds {
			t.Run(from+" to "+into, func(t *testing.T) {
				a, b := kinds[from](), kinds[into]()
				back := openLocal(t, t.TempDir(), "none")
				for _, step := range [][2]storage.Service{{source, a}, {a, b}, {b, back}} {
					p, err := storage.Tree(t.Context(), step[0], "", step[1], "", storage.CopyOptions{})
					if err != nil || p.Files != len(sizes) || p.Skipped != 0 {
						t.Fatalf("%s to %s: %+v, %v", step[0].Type(), step[1].Type(), p, err)
					}
				}
				if p, err := storage.Tree(t.Context(), source, "", back, "", storage.CopyOptions{}); err != nil || p.Skipped != len(sizes) {
					t.Errorf("what came back differs: %+v, %v", p, err)
				}
				if p, err := storage.Tree(t.Context(), a, "", b, "", storage.CopyOptions{}); err != nil || p.Skipped != len(sizes) {
					t.Errorf("what is there is copied again: %+v, %v", p, err)
				}
			})
		}
	}
}

// No part of an upload that was aborted stays in the bucket, nor one that a killed program left of the same file.
func TestRealS3IncompleteUploads(t *testing.T) {
	c := s3Config(t, false)
	s := open(t, c)
	admin := s3Admin(t)
	left := func() int {
		t.Helper()
		found, err := admin.ListMultipartUploads(t.Context(), c.Args[1], "some/prefix/f", "", "", "", 100)
		if err != nil {
			t.Fatal(err)
		}
		return len(found.Uploads)
	}
	if _, err := admin.NewMultipartUpload(t.Context(), c.Args[1], "some/prefix/f", minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 1 {
		t.Fatalf("%d uploads are under way", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, err := s.Create(ctx, "f", -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(storagetest.Bytes(50<<20, 1)); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 1 {
		t.Errorf("%d uploads are under way, one is ours", n)
	}
	cancel()
	if err := errors.Join(w.Abort()); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

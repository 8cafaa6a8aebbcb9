package storage_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shardsh/commands/spec"
	"shardsh/storage"
	"shardsh/storage/storagetest"
)

// keys are an environment with keys.
func keys(name string) string {
	return map[string]string{"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}[name]
}

func openS3At(t *testing.T, url string, settings map[string]string) storage.Service {
	t.Helper()
	s, err := storage.Open(storage.Config{
		Name: "s3", Type: storage.S3Type, Args: []string{url, "bucket"}, Settings: settings, Getenv: keys, Timeout: 5 * time.Second, Stall: 5 * time.Second,
	})
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

// A certificate that has expired is said at once, and nothing is tried again.
func TestS3ExpiredCertificate(t *testing.T) {
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
	var dialled atomic.Int64
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dialled.Add(1)
		}
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openS3At(t, server.URL, map[string]string{"ca": ca})
	_, err = s.Stat(t.Context(), "f")
	storagetest.Want(t, err, spec.Unavailable, storage.CertExpired)
	if n := dialled.Load(); n != 1 || !strings.Contains(err.Error(), "expired") || !strings.Contains(spec.HintOf(err), "renew") {
		t.Errorf("%d connections, %v, %s", n, err, spec.HintOf(err))
	}
	storagetest.Want(t, storage.WriteFile(t.Context(), s, "f", []byte("1")), spec.Unavailable, storage.CertExpired)
}

// answering is an S3 that says the same whatever it is asked.
func answering(t *testing.T, status int, code string) storage.Service {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as it is</Message></Error>", code)
		}
	}))
	t.Cleanup(server.Close)
	return openS3At(t, server.URL, nil)
}

func TestS3Codes(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		kind   spec.ErrorKind
		reason storage.Reason
	}{
		{403, "AccessDenied", spec.Failed, storage.Forbidden},
		{403, "RequestTimeTooSkewed", spec.Failed, storage.WrongClock},
		{403, "InvalidAccessKeyId", spec.Failed, storage.BadCredentials},
		{400, "ExpiredToken", spec.Failed, storage.BadCredentials},
		{400, "AuthorizationHeaderMalformed", spec.Failed, storage.WrongRegion},
		{404, "NoSuchBucket", spec.NotFound, storage.NoPlace},
		{507, "XMinioStorageFull", spec.Failed, storage.NoSpace},
		{507, "Whatever", spec.Failed, storage.NoSpace},
		{503, "SlowDown", spec.Unavailable, storage.Busy},
		{418, "Teapot", spec.Failed, storage.Other},
	} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel()
			s := answering(t, c.status, c.code)
			_, err := s.Stat(t.Context(), "f")
			if storage.ReasonOf(err) != c.reason {
				t.Errorf("stat: %v", err)
			}
			storagetest.Want(t, err, c.kind, c.reason)
			storagetest.Want(t, storage.WriteFile(t.Context(), s, "f", []byte("1")), c.kind, c.reason)
		})
	}
}

// A server that takes a file and never answers leaves it open whether it has it.
func TestS3UnknownOutcome(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPut {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	err := storage.WriteFile(t.Context(), openS3At(t, server.URL, nil), "f", []byte("1"))
	storagetest.Want(t, err, spec.UnknownOutcome, storage.Broken)
	if !strings.Contains(spec.HintOf(err), "fs stat s3:/f") {
		t.Error(spec.HintOf(err))
	}
}

// A download that breaks is taken up where it broke.
func TestS3ReadGoesOn(t *testing.T) {
	data := storagetest.Bytes(1<<20, 1)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		if asked.Add(1) < 4 {
			w = &cutting{w, 100_000}
		}
		http.ServeContent(w, r, "", time.Unix(1700000000, 0), strings.NewReader(string(data)))
	}))
	defer server.Close()
	s := openS3At(t, server.URL, nil)
	got, err := storage.ReadFile(t.Context(), s, "f", 1<<20)
	if string(got) != string(data) || err != nil || asked.Load() != 4 {
		t.Errorf("%d bytes after %d requests, %v", len(got), asked.Load(), err)
	}
}

// cutting breaks the connection after some bytes.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		if _, err := c.ResponseWriter.Write(p[:c.left]); err != nil {
			return 0, err
		}
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// A limit holds for all files together, and may be lifted while the copy runs.
func TestCopyLimit(t *testing.T) {
	from, into := openLocal(t, t.TempDir(), "none"), openLocal(t, t.TempDir(), "none")
	for _, name := range []string{"1", "2", "3"} {
		storagetest.Write(t, from, name, storagetest.Bytes(2<<20, 1))
	}
	limit := storage.NewLimit(2 << 20)
	started, lifted := time.Now(), time.Duration(0)
	_, err := storage.Tree(context.Background(), from, "", into, "", storage.CopyOptions{Limit: limit, Progress: func(p storage.Progress) {
		if p.Bytes >= 3<<20 && lifted == 0 {
			lifted = time.Since(started)
			storage.SetLimit(limit, 0)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if lifted < time.Second {
		t.Errorf("3 MiB at 2 MiB/s took %s", lifted)
	}
}

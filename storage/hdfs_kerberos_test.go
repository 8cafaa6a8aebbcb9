package storage

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/keytab"

	"shardsh/commands/spec"
)

// silentKDC is a service whose KDC hears and says nothing.
func silentKDC(t *testing.T) (c Config, asked <-chan struct{}) {
	t.Helper()
	kdc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kdc.Close() })
	heard := make(chan struct{}, 100)
	go func() {
		for {
			if _, _, err := kdc.ReadFrom(make([]byte, 4096)); err != nil {
				return
			}
			heard <- struct{}{}
		}
	}()
	dir := t.TempDir()
	keys := keytab.New()
	if err := keys.AddEntry("p", "R", "secret", time.Unix(0, 0), 1, etypeID.AES256_CTS_HMAC_SHA1_96); err != nil {
		t.Fatal(err)
	}
	table, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("[libdefaults]\ndefault_realm = R\n[realms]\nR = {\n kdc = %s\n v4_name_convert = {\n }\n}\n", kdc.LocalAddr())
	for name, data := range map[string][]byte{"keytab": table, "krb5.conf": []byte(conf)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Config{
		Name: "h", Type: HDFSType, Args: []string{"hdfs://127.0.0.1:1"}, Timeout: 300 * time.Millisecond,
		Settings: map[string]string{"principal": "p", "keytab": filepath.Join(dir, "keytab")},
		Getenv: func(name string) string {
			return map[string]string{"KRB5_CONFIG": filepath.Join(dir, "krb5.conf")}[name]
		},
	}, heard
}

// The library waits for seconds for each KDC; the timeout of the service is shorter, and Ctrl-C needs no patience at all.
func TestKDCIsSilent(t *testing.T) {
	c, asked := silentKDC(t)
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), "f")
	if spec.KindOf(err) != spec.Unavailable || ReasonOf(err) != NoAnswer || !strings.Contains(err.Error(), "the KDC does not answer") || !strings.Contains(spec.HintOf(err), "[realms]") {
		t.Errorf("%v: hint %q", err, spec.HintOf(err))
	}
	<-asked

	c.Timeout = time.Hour
	if s, err = Open(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range cap(done) { // one asks, the other waits for what it finds
		go func() {
			_, err := s.Stat(ctx, "f")
			done <- err
		}()
	}
	<-asked
	cancel()
	for range cap(done) {
		if err := <-done; spec.KindOf(err) != spec.Interrupted {
			t.Errorf("%v", err)
		}
	}
}

// What is wrong with a keytab is said without quoting it: it holds keys.
func TestKeytabStaysSecret(t *testing.T) {
	c, _ := silentKDC(t)
	whole, err := os.ReadFile(c.Settings["keytab"])
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(c.Settings["keytab"], whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadKeytab(c.Settings["keytab"])
		if err == nil || err.Error() != "it is no keytab, or an incomplete one" {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// A namenode that wants tickets ends connections without one; whether its answer comes through is a matter of luck.
func TestNamenodeWantsTickets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			header := make([]byte, 7)
			if _, err := io.ReadFull(conn, header); err == nil && !more(conn) {
				_, _ = conn.Write([]byte("SIMPLE authentication is not enabled.  Available:[TOKEN, KERBEROS]"))
			}
			_ = conn.Close()
		}
	}()
	s, err := Open(Config{Name: "h", Type: HDFSType, Args: []string{"hdfs://127.0.0.1:1," + l.Addr().String()}, Settings: map[string]string{"user": "u"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), "f")
	if spec.KindOf(err) != spec.Failed || ReasonOf(err) != BadCredentials || !strings.Contains(spec.HintOf(err), "kinit") {
		t.Errorf("%v: hint %q", err, spec.HintOf(err))
	}
}

// more reports whether something else comes.
func more(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	n, _ := conn.Read(make([]byte, 1))
	return n > 0
}

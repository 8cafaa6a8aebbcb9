//go:build integration

package storage_test

import (
	"crypto/x509"
	"os"
	"testing"
)

// roots509 is a pool of the certificates in a file.
func roots509(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", file)
	}
	return pool
}

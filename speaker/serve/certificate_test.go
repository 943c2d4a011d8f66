package serve

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCertificateIsRenewedBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSelfSigned("node1")
		get := func() *x509.Certificate {
			t.Helper()
			c, err := s.Get(nil)
			if err != nil {
				t.Fatal(err)
			}
			if now := time.Now(); now.Before(c.Leaf.NotBefore) || now.Add(renewBefore).After(c.Leaf.NotAfter) {
				t.Errorf("at %v it is valid from %v to %v", now, c.Leaf.NotBefore, c.Leaf.NotAfter)
			}
			return c.Leaf
		}
		first := get()
		if err := first.VerifyHostname("node1"); err != nil {
			t.Error(err)
		}
		if time.Sleep(300 * 24 * time.Hour); get() != first {
			t.Error("it is replaced early")
		}
		if time.Sleep(36 * 24 * time.Hour); get() == first {
			t.Error("it is not replaced before it ends")
		}
		// The clock of the node was wrong, and went back.
		later, err := selfSigned("node1", time.Now().Add(48*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		s.current = later
		if get() == later.Leaf {
			t.Error("a certificate that is not valid yet stays in use")
		}
	})
}

// writePair writes a new certificate with its key, both PEM.
func writePair(t *testing.T, certFile, keyFile string) {
	t.Helper()
	made, err := selfSigned("node1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(made.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]}))
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}))
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCertificateFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := NewFiles(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
		get := func(step string) *tls.Certificate {
			t.Helper()
			time.Sleep(lookEvery)
			c, err := f.Get(nil)
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			return c
		}
		for range 100 {
			time.Sleep(lookEvery)
			if _, err := f.Get(nil); err == nil || !strings.Contains(err.Error(), "tls.crt") {
				t.Fatalf("without files: %v", err)
			}
		}
		if got := strings.Count(log.String(), "the certificate cannot be used"); got != 1 {
			t.Errorf("the missing files were logged %d times", got)
		}
		writePair(t, certFile, keyFile)
		first := get("with the first pair")
		if get("again") != first {
			t.Error("files that do not change make another certificate")
		}
		writePair(t, certFile, filepath.Join(dir, "other.key")) // the two files do not belong together
		if get("with another key") != first {
			t.Error("a bad pair replaces the last good one")
		}
		write(t, keyFile, []byte("no key"))
		if get("with a bad key") != first {
			t.Error("a bad pair replaces the last good one")
		}
		if got := strings.Count(log.String(), "last-good-in-use=true"); got != 2 {
			t.Errorf("two bad pairs made %d lines:\n%s", got, log.String())
		}
		writePair(t, certFile, keyFile)
		if get("with the second pair") == first {
			t.Error("the second pair is not used")
		}
	})
}

package serve

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"sync"
	"time"
)

const (
	// certificateLife is how long a certificate that the program makes is valid.
	certificateLife = 365 * 24 * time.Hour
	// renewBefore the end of its life a certificate is replaced.
	renewBefore = 30 * 24 * time.Hour
	// clockTolerance is how far the clock of a client can be behind.
	clockTolerance = time.Hour
	// lookEvery is how often the files of a certificate are read.
	lookEvery = 10 * time.Second
)

// SelfSigned is a certificate that the program makes itself, in memory. Clients cannot
// verify it, so it only keeps tokens and metrics from being read on the way.
type SelfSigned struct {
	name string

	mu      sync.Mutex
	current *tls.Certificate
}

// NewSelfSigned returns a SelfSigned for a host of that name.
func NewSelfSigned(name string) *SelfSigned { return &SelfSigned{name: name} }

// Get returns the certificate. It makes a new one if the last one ends soon, or if the clock
// was changed so that the last one is not valid now.
func (s *SelfSigned) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.current != nil && now.After(s.current.Leaf.NotBefore) && now.Before(s.current.Leaf.NotAfter.Add(-renewBefore)) {
		return s.current, nil
	}
	made, err := selfSigned(s.name, now)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	s.current = made
	return made, nil
}

func selfSigned(name string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-clockTolerance), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// Files is a certificate that the operator has put into two files. Changes of the files take
// effect within lookEvery.
type Files struct {
	certificate, key string
	log              *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	text    []byte // of both files, as they were read last
	current *tls.Certificate
	problem string // the last one that was logged
}

// NewFiles returns the certificate in the file certificate, whose private key is in the file
// key. Both are PEM. If they cannot be used, it logs that, and looks again later.
func NewFiles(certificate, key string, log *slog.Logger) *Files {
	f := &Files{certificate: certificate, key: key, log: log}
	f.look(time.Now())
	return f
}

// Get returns the last good certificate. It returns an error if there was none.
func (f *Files) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= lookEvery {
		f.look(now)
	}
	if f.current == nil {
		return nil, errors.New("there is no certificate: " + f.problem)
	}
	return f.current, nil
}

// look reads the files. f.mu is locked.
func (f *Files) look(now time.Time) {
	f.looked = now
	err := f.read()
	if err == nil {
		f.problem = ""
		return
	}
	if problem := err.Error(); problem != f.problem {
		f.problem = problem
		f.log.Error("the certificate cannot be used", "error", err, "last-good-in-use", f.current != nil, "hint", "correct the files of --tls-cert-file and --tls-private-key-file; they are read again every "+lookEvery.String())
	}
}

func (f *Files) read() error {
	certificate, err := os.ReadFile(f.certificate)
	if err != nil {
		return err // it has the path
	}
	key, err := os.ReadFile(f.key)
	if err != nil {
		return err
	}
	text := append(bytes.Clone(certificate), key...)
	if f.current != nil && bytes.Equal(text, f.text) {
		return nil
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("reading %s and %s: %w", f.certificate, f.key, err)
	}
	if f.current != nil {
		f.log.Info("certificate replaced", "file", f.certificate, "not-after", pair.Leaf.NotAfter)
	}
	f.current, f.text = &pair, text
	return nil
}

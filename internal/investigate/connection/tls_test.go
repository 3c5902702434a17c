package connection

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.issue("Example CA", nil, true)
	return a
}

func (a *authority) issue(name string, hosts []string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: ca,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func certPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func keyPEM(t *testing.T, k *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// server listens with TLS, asks for a certificate of its authority if mutual, and says one byte to whom it accepts.
func (a *authority) server(host string, mutual bool) string {
	a.t.Helper()
	cert, key := a.issue("broker", []string{host}, false)
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, ClientCAs: pool}
	if mutual {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Write([]byte("!"))
			}()
		}
	}()
	return l.Addr().String()
}

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// inProperties writes PEM text as a value of a properties file.
func inProperties(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\\n") }

func talk(s *Settings, address string) error {
	dial, err := s.Dialer(nil)
	if err != nil {
		return err
	}
	conn, err := dial(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	clientCert, clientKey := a.issue("client", nil, false)
	trust := file(t, "ca.pem", []byte(certPEM(a.cert)))
	chain, key := file(t, "client.pem", []byte(certPEM(clientCert))), file(t, "client.key", []byte(keyPEM(t, clientKey)))
	both := file(t, "both.pem", []byte(keyPEM(t, clientKey)+certPEM(clientCert)))
	p12, err := pkcs12.Modern.Encode(clientKey, clientCert, []*x509.Certificate{a.cert}, "changeit")
	if err != nil {
		t.Fatal(err)
	}
	store := file(t, "client.p12", p12)
	p12, err = pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{a.cert}, "changeit")
	if err != nil {
		t.Fatal(err)
	}
	trustStore := file(t, "trust.jks", p12) // as keytool names them
	jks := file(t, "old.jks", []byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2})
	clear := clearServer(t)

	known, other, mutual := a.server("localhost", false), a.server("elsewhere.example.com", false), a.server("localhost", true)
	local := func(address string) string {
		_, port, _ := net.SplitHostPort(address)
		return "localhost:" + port
	}
	for _, c := range []struct {
		name, text, address, want string // what the error says; empty: none
	}{
		{"PEM trust", "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=" + trust, local(known), ""},
		{"PEM trust inline", "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.certificates=" + inProperties(certPEM(a.cert)), local(known), ""},
		{"PKCS 12 trust", "security.protocol=SSL\nssl.truststore.password=changeit\nssl.truststore.location=" + trustStore, local(known), ""},
		{"PKCS 12 trust, wrong password", "security.protocol=SSL\nssl.truststore.password=hunter2\nssl.truststore.location=" + trustStore, local(known), "PKCS #12"},
		{"rpk's names", "tls.enabled=true\ntls.ca=" + trust, local(known), ""},
		{"rpk's names without enabled", "tls.ca=" + trust, local(known), ""},
		{"unknown authority", "security.protocol=SSL", local(known), "certificate"},
		{"no check at all", "tls.enabled=true\ntls.insecure_skip_verify=true", local(other), ""},
		{"wrong name", "security.protocol=SSL\nssl.truststore.location=" + trust, local(other), "elsewhere.example.com"},
		{"wrong name, names not checked", "security.protocol=SSL\nssl.endpoint.identification.algorithm=\nssl.truststore.location=" + trust, local(other), ""},
		{"names not checked, but the chain", "security.protocol=SSL\nssl.endpoint.identification.algorithm=", local(other), "unknown authority"},
		{"algorithm", "security.protocol=SSL\nssl.endpoint.identification.algorithm=ldap", local(other), "allowed"},
		{"mutual without a certificate", "tls.ca=" + trust, local(mutual), "certificate required"},
		{"mutual, PEM files", "tls.ca=" + trust + "\ntls.cert=" + chain + "\ntls.key=" + key, local(mutual), ""},
		{"mutual, PEM store", "security.protocol=SSL\nssl.truststore.location=" + trust + "\nssl.keystore.type=PEM\nssl.keystore.location=" + both, local(mutual), ""},
		{"mutual, PEM inline", "security.protocol=SSL\nssl.truststore.location=" + trust + "\nssl.keystore.key=" + inProperties(keyPEM(t, clientKey)) +
			"\nssl.keystore.certificate.chain=" + inProperties(certPEM(clientCert)), local(mutual), ""},
		{"mutual, PKCS 12", "security.protocol=SSL\nssl.truststore.location=" + trust + "\nssl.keystore.location=" + store + "\nssl.keystore.password=changeit", local(mutual), ""},
		{"mutual, PKCS 12, wrong password", "security.protocol=SSL\nssl.keystore.location=" + store + "\nssl.keystore.password=hunter2", local(mutual), "PKCS #12"},
		{"key without certificate", "tls.key=" + key, local(mutual), "belong together"},
		{"JKS", "security.protocol=SSL\nssl.truststore.location=" + jks, local(known), "keytool -importkeystore"},
		{"JKS keys", "security.protocol=SSL\nssl.keystore.location=" + jks, local(known), "keytool -importkeystore"},
		{"an encrypted key", "security.protocol=SSL\nssl.keystore.key=-----BEGIN ENCRYPTED PRIVATE KEY-----", local(known), "openssl pkey"},
		{"no certificates", "security.protocol=SSL\nssl.truststore.location=" + key, local(known), "no certificate"},
		{"no file", "security.protocol=SSL\nssl.truststore.location=/no/such", local(known), "no such file"},
		{"in the clear", "security.protocol=PLAINTEXT", clear, ""},
		{"TLS to a clear listener", "tls.enabled=true", clear, "handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &Settings{}
			if err := s.Properties([]byte(c.text)); err != nil {
				t.Fatal(err)
			}
			err := talk(s, c.address)
			switch {
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error tells a password: %v", err)
			}
		})
	}
}

func clearServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("!clear"))
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// Who may not be connected to is refused before a handshake tells it anything.
func TestDialerRefusesBeforeTheHandshake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("not there")
	for _, security := range []string{"PLAINTEXT", "SSL"} {
		s := &Settings{}
		if err := s.Properties([]byte("security.protocol=" + security)); err != nil {
			t.Fatal(err)
		}
		dial, err := s.Dialer(func(_, address string, _ syscall.RawConn) error {
			if address != l.Addr().String() {
				t.Errorf("asked about %s", address)
			}
			return refused
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dial(t.Context(), "tcp", l.Addr().String()); !errors.Is(err, refused) {
			t.Errorf("%s: %v", security, err)
		}
	}
	last, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	defer l.Close()
	if first.RemoteAddr().String() != last.LocalAddr().String() {
		t.Error("a refused address was connected to")
	}
}

func FuzzStores(f *testing.F) {
	f.Add([]byte{0x30, 0x82, 0, 0}, "changeit")
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "")
	f.Fuzz(func(t *testing.T, b []byte, password string) {
		if certs, err := trusted(b, password, "store"); err == nil && len(certs) == 0 && storeKind(b) == storePEM {
			t.Error("no certificates and no error")
		}
	})
}

package connection

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
)

const dialTimeout = 5 * time.Second

// TLS is the configuration of connections; nil: they are in the clear.
func (s *Settings) TLS() (*tls.Config, error) {
	on, _, err := s.security()
	if err != nil || !on {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.values[ownServerName]}
	if out.RootCAs, err = s.roots(); err != nil {
		return nil, err
	}
	if cert, err := s.certificate(); err != nil {
		return nil, err
	} else if cert != nil {
		out.Certificates = []tls.Certificate{*cert}
	}
	insecure, err := boolean(ownInsecure, s.values[ownInsecure])
	if err != nil {
		return nil, err
	}
	algorithm, given := s.values["ssl.endpoint.identification.algorithm"]
	switch {
	case insecure:
		out.InsecureSkipVerify = true
	case given && algorithm == "":
		anyName(out)
	case given && !strings.EqualFold(algorithm, "https"):
		return nil, fmt.Errorf("ssl.endpoint.identification.algorithm %q: allowed: https, or nothing", algorithm)
	}
	return out, nil
}

// anyName keeps the check of the chain and drops that of the host's name, as an empty algorithm does in Java.
func anyName(c *tls.Config) {
	roots := c.RootCAs
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the broker shows no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range state.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
}

// Dialer opens connections as the settings say, without logging in: for clients that speak the protocol themselves. control, if not nil, may refuse
// an address before anything is sent to it, as net.Dialer has it.
func (s *Settings) Dialer(control func(network, address string, c syscall.RawConn) error) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	if err := s.addresses(); err != nil {
		return nil, err
	}
	config, err := s.TLS()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout, Control: control}
	if config == nil {
		return dialer.DialContext, nil
	}
	return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext, nil
}

// roots are who may sign the brokers' certificates; nil: whom the system trusts.
func (s *Settings) roots() (*x509.CertPool, error) {
	text, what := []byte(s.values["ssl.truststore.certificates"]), "ssl.truststore.certificates"
	path := s.values["ssl.truststore.location"]
	if ca := s.values[ownCA]; ca != "" {
		path = ca
	}
	if path != "" {
		b, err := readFile(path)
		if err != nil {
			return nil, err
		}
		text, what = b, path
	}
	if len(text) == 0 {
		return nil, nil
	}
	certs, err := trusted(text, s.values["ssl.truststore.password"], what)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

// certificate is who we are; nil: nobody.
func (s *Settings) certificate() (*tls.Certificate, error) {
	v := s.values
	switch {
	case v[ownCert] != "" || v[ownKey] != "":
		if v[ownCert] == "" || v[ownKey] == "" {
			return nil, fmt.Errorf("%s and %s belong together", ownCert, ownKey)
		}
		chain, err := readFile(v[ownCert])
		if err != nil {
			return nil, err
		}
		key, err := readFile(v[ownKey])
		if err != nil {
			return nil, err
		}
		return pair(chain, key, v[ownKey])
	case v["ssl.keystore.key"] != "":
		return pair([]byte(v["ssl.keystore.certificate.chain"]), []byte(v["ssl.keystore.key"]), "ssl.keystore.key")
	case v["ssl.keystore.location"] != "":
		path := v["ssl.keystore.location"]
		b, err := readFile(path)
		if err != nil {
			return nil, err
		}
		switch storeKind(b) {
		case storePEM:
			return pair(b, b, path)
		case storePKCS12:
			return pkcs12Key(b, v["ssl.keystore.password"], path)
		}
		return nil, errJKS(path)
	}
	return nil, nil
}

// pair makes a certificate of PEM text. Keys that want a password are refused with the command that takes it off.
func pair(chain, key []byte, what string) (*tls.Certificate, error) {
	if bytes.Contains(key, []byte("ENCRYPTED PRIVATE KEY")) || bytes.Contains(key, []byte("Proc-Type: 4,ENCRYPTED")) {
		return nil, fmt.Errorf("%s: the key wants a password: take it off with `openssl pkey -in KEY -out PLAIN_KEY`", what)
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return &cert, nil
}

// trusted reads certificates from PEM text or a PKCS #12 store.
func trusted(b []byte, password, what string) ([]*x509.Certificate, error) {
	switch storeKind(b) {
	case storePKCS12:
		return pkcs12Trust(b, password, what)
	case storeJKS:
		return nil, errJKS(what)
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no certificate in it", what)
	}
	return out, nil
}

type store int

const (
	storePEM store = iota
	storePKCS12
	storeJKS
)

// storeKind goes by the first bytes: what ssl.truststore.type says is wrong where keytool of Java 9 and later wrote a "JKS".
func storeKind(b []byte) store {
	switch {
	case bytes.HasPrefix(b, []byte{0xfe, 0xed, 0xfe, 0xed}), bytes.HasPrefix(b, []byte{0xce, 0xce, 0xce, 0xce}):
		return storeJKS
	case len(b) > 1 && b[0] == 0x30:
		return storePKCS12
	}
	return storePEM
}

func errJKS(path string) error {
	return fmt.Errorf("%s is a JKS key store, which only Java reads. Convert it: `keytool -importkeystore -srckeystore %s -destkeystore %s.p12 -deststoretype PKCS12`", path, path, path)
}

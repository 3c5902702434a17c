package connection

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

// pkcs12Key reads a private key and its chain.
func pkcs12Key(b []byte, password, what string) (*tls.Certificate, error) {
	key, leaf, chain, err := pkcs12.DecodeChain(b, password)
	if err != nil {
		return nil, fmt.Errorf("%s (PKCS #12): %w", what, err)
	}
	out := &tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
	for _, c := range chain {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out, nil
}

// pkcs12Trust reads certificates that Java marked as trusted.
func pkcs12Trust(b []byte, password, what string) ([]*x509.Certificate, error) {
	out, err := pkcs12.DecodeTrustStore(b, password)
	if err != nil {
		return nil, fmt.Errorf("%s (PKCS #12): %w", what, err)
	}
	return out, nil
}

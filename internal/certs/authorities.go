package certs

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// LoadAuthorities reads the certificates of authorities from a PEM file. It fails with
// an *Error when one of them is damaged, or when there is none.
func LoadAuthorities(file string) (*x509.CertPool, error) {
	data, err := read(file)
	if err != nil {
		return nil, err
	}
	pool, count := x509.NewCertPool(), 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		count++
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, &Error{File: file, Reason: ErrFormat, Detail: fmt.Sprintf("certificate %d in it is damaged: %v", count, err), Cause: err}
		}
		pool.AddCert(certificate)
	}
	if count == 0 {
		return nil, &Error{File: file, Reason: ErrFormat, Detail: "no PEM certificate in it; it must begin with -----BEGIN CERTIFICATE-----"}
	}
	return pool, nil
}

package smtp

import (
	"testing"

	"postern/internal/mail"
)

var everything = Extensions{EightBitMIME: true, SMTPUTF8: true, DSN: true, HasSize: true}

func TestFormatMail(t *testing.T) {
	full := mail.Envelope{
		From: mail.Address{Local: "joe", Domain: "example.com"}, Body: mail.Body8BitMIME, UTF8: true,
		Return: mail.ReturnHeaders, EnvelopeID: "a+b c=1",
	}
	tests := []struct {
		name     string
		envelope mail.Envelope
		size     int64
		ext      Extensions
		want     string
	}{
		{"null", mail.Envelope{}, 0, everything, "MAIL FROM:<>"},
		{"all", full, 10, everything,
			"MAIL FROM:<joe@example.com> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+20c+3D1"},
		{"nothing offered", full, 10, Extensions{}, "MAIL FROM:<joe@example.com>"},
		{"only SIZE", full, 10, Extensions{HasSize: true}, "MAIL FROM:<joe@example.com> SIZE=10"},
		{"only 8BITMIME", full, 10, Extensions{EightBitMIME: true}, "MAIL FROM:<joe@example.com> BODY=8BITMIME"},
		{"only SMTPUTF8", full, 10, Extensions{SMTPUTF8: true}, "MAIL FROM:<joe@example.com> SMTPUTF8"},
		{"REQUIRETLS", mail.Envelope{From: mail.Address{Local: "a", Domain: "x"}, RequireTLS: true}, 0, Extensions{RequireTLS: true}, "MAIL FROM:<a@x> REQUIRETLS"},
		{"REQUIRETLS that is not offered", mail.Envelope{RequireTLS: true}, 0, everything, "MAIL FROM:<>"},
		{"REQUIRETLS that is not asked for", mail.Envelope{}, 0, Extensions{RequireTLS: true}, "MAIL FROM:<>"},
		{"size unknown", full, 0, Extensions{HasSize: true}, "MAIL FROM:<joe@example.com>"},
		{"quoted", mail.Envelope{From: mail.Address{Local: "a b", Domain: "x"}}, 0, everything, `MAIL FROM:<"a b"@x>`},
		{"sender needs SMTPUTF8", mail.Envelope{From: mail.Address{Local: "jürgen", Domain: "x"}}, 0, everything,
			"MAIL FROM:<jürgen@x> SMTPUTF8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := FormatMail(tt.envelope, tt.size, tt.ext); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestFormatRcpt(t *testing.T) {
	to := mail.Address{Local: "ann", Domain: "example.com"}
	tests := []struct {
		name      string
		recipient mail.Recipient
		ext       Extensions
		want      string
	}{
		{"plain", mail.Recipient{Address: to}, everything, "RCPT TO:<ann@example.com>"},
		{"postmaster", mail.Recipient{Address: mail.Address{Local: "postmaster"}}, everything, "RCPT TO:<postmaster>"},
		{"all", mail.Recipient{Address: to, Notify: mail.NotifySuccess | mail.NotifyDelay, Original: "rfc822;a+b@x"},
			everything, "RCPT TO:<ann@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@x"},
		{"no DSN", mail.Recipient{Address: to, Notify: mail.NotifyNever, Original: "rfc822;a@x"},
			Extensions{}, "RCPT TO:<ann@example.com>"},
		{"utf-8", mail.Recipient{Address: to, Original: `UTF-8;jürgen+=\ €` + "\x01@x"}, everything,
			`RCPT TO:<ann@example.com> ORCPT=UTF-8;j\x{FC}rgen\x{2B}\x{3D}\x{5C}\x{20}\x{20AC}\x{01}@x`},
		{"rfc822 with octets that are not ASCII", mail.Recipient{Address: to, Original: "rfc822;ü@x"}, everything,
			"RCPT TO:<ann@example.com> ORCPT=rfc822;+C3+BC@x"},
		{"no type", mail.Recipient{Address: to, Original: "a b"}, everything, "RCPT TO:<ann@example.com>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := FormatRcpt(tt.recipient, tt.ext); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

package message

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/mail"
)

var testTime = time.Date(2024, 2, 5, 9, 8, 7, 0, time.FixedZone("", 3600))

func recipients(addresses ...mail.Address) []mail.Recipient {
	var list []mail.Recipient
	for _, a := range addresses {
		list = append(list, mail.Recipient{Address: a})
	}
	return list
}

func TestReceived(t *testing.T) {
	client := netip.MustParseAddrPort("192.0.2.7:1234")
	joe := mail.Address{Local: "joe", Domain: "example.net"}
	long := mail.Address{Local: strings.Repeat("l", 60), Domain: "example.net"}
	tests := []struct {
		name string
		in   Received
		want string
	}{
		{"TLS, one recipient",
			Received{Origin: mail.Origin{Client: client, Hello: "client.example.org", Protocol: "ESMTPS",
				TLS: &mail.TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256"}}, Recipients: recipients(joe)},
			"Received: from client.example.org ([192.0.2.7])\r\n" +
				"\t(using TLSv1.3 with cipher TLS_AES_128_GCM_SHA256)\r\n" +
				"\tby mx.example.com with ESMTPS id 0123456789abcdef\r\n" +
				"\tfor <joe@example.net>; Mon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"clear, two recipients",
			Received{Origin: mail.Origin{Client: netip.MustParseAddrPort("[2001:db8::1%eth0]:25"), Hello: "[IPv6:2001:db8::1]", Protocol: "SMTP"},
				Recipients: recipients(joe, joe)},
			"Received: from [IPv6:2001:db8::1] ([IPv6:2001:db8::1])\r\n" +
				"\tby mx.example.com with SMTP id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"mapped client address, HELO not a domain",
			Received{Origin: mail.Origin{Client: netip.MustParseAddrPort("[::ffff:192.0.2.7]:25"), Hello: "my pc)\r\nX: y\xc3\xa4", Protocol: "ESMTP"}},
			"Received: from [192.0.2.7] ([192.0.2.7])\r\n" +
				"\t(HELO my?pc???X:?y??)\r\n" +
				"\tby mx.example.com with ESMTP id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"a name, and an account that is named",
			Received{Origin: mail.Origin{Client: client, ClientName: "pc.example.org", Hello: "pc", Protocol: "ESMTPA", Account: &mail.Account{Name: "joe(x)\r\n\xe9"}}, Account: true},
			"Received: from pc (pc.example.org [192.0.2.7])\r\n" +
				"\t(authenticated as joe?x????)\r\n" +
				"\tby mx.example.com with ESMTPA id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"an account that is not named",
			Received{Origin: mail.Origin{Client: client, Hello: "pc", Protocol: "ESMTPA", Account: &mail.Account{Name: "joe"}}},
			"Received: from pc ([192.0.2.7])\r\n" +
				"\tby mx.example.com with ESMTPA id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"no HELO", Received{Origin: mail.Origin{Client: client}},
			"Received: from [192.0.2.7] ([192.0.2.7])\r\n" +
				"\tby mx.example.com id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"no client", Received{},
			"Received: by mx.example.com id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"user of this host", Received{Origin: mail.Origin{User: &mail.User{UID: 33, Name: "www-data"}, Hello: "localhost", Protocol: "ESMTP"}},
			"Received: by mx.example.com (from uid 33) with ESMTP id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"HELO without client", Received{Origin: mail.Origin{Hello: "host"}},
			"Received: from host\r\n" +
				"\tby mx.example.com id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"UTF-8 in an ASCII protocol",
			Received{Origin: mail.Origin{Client: client, Hello: "bücher.example", Protocol: "ESMTP"},
				Recipients: recipients(mail.Address{Local: "jörg", Domain: "example.net"})},
			"Received: from [192.0.2.7] ([192.0.2.7])\r\n" +
				"\t(HELO b??cher.example)\r\n" +
				"\tby mx.example.com with ESMTP id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"UTF-8",
			Received{Origin: mail.Origin{Client: client, Hello: "bücher.example", Protocol: "UTF8SMTPS"},
				Recipients: recipients(mail.Address{Local: "jörg", Domain: "example.net"})},
			"Received: from bücher.example ([192.0.2.7])\r\n" +
				"\tby mx.example.com with UTF8SMTPS id 0123456789abcdef\r\n" +
				"\tfor <jörg@example.net>; Mon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"folded before the date", Received{Recipients: recipients(long)},
			"Received: by mx.example.com id 0123456789abcdef\r\n" +
				"\tfor <" + strings.Repeat("l", 60) + "@example.net>;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
		{"recipient with a line break", Received{Recipients: recipients(mail.Address{Local: "a\r\nX: y", Domain: "b"})},
			"Received: by mx.example.com id 0123456789abcdef;\r\n" +
				"\tMon, 5 Feb 2024 09:08:07 +0100\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.Host, tt.in.ID, tt.in.Time = "mx.example.com", "0123456789abcdef", testTime
			got := tt.in.String()
			if got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			if _, err := ParseField(got); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMessageID(t *testing.T) {
	if got, want := MessageID("0123456789abcdef", "mx.example.com"), "<0123456789abcdef@mx.example.com>"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// FuzzReceived lets the client choose all it can choose: the field stays one
// field, its comments stay closed, and its lines stay short.
func FuzzReceived(f *testing.F) {
	f.Add("client.example.org", "joe", "example.net", "ESMTP")
	f.Add("x\r\nBcc: y", "a\"b", "[192.0.2.1]", "UTF8SMTP")
	f.Add("(((;", "\u0085", "", "")
	f.Fuzz(func(t *testing.T, hello, local, domain, protocol string) {
		r := Received{
			Origin: mail.Origin{Client: netip.MustParseAddrPort("192.0.2.7:25"), Hello: hello, Protocol: protocol},
			Host:   "mx.example.com", ID: "0123456789abcdef", Time: testTime,
		}
		if a, err := mail.ParseAddress(local + "@" + domain); err == nil {
			r.Recipients = recipients(a)
		}
		field, err := ParseField(r.String())
		if err != nil || !field.Is("Received") {
			t.Fatalf("%q: %v", r.String(), err)
		}
		from, _, _ := strings.Cut(r.String(), "\r\n\tby ")
		if strings.Count(from, "(") != strings.Count(from, ")") {
			t.Errorf("comments not closed: %q", from)
		}
		if !strings.HasPrefix(protocol, "UTF8SMTP") && HasEightBit(field.raw) {
			t.Errorf("8-bit field for protocol %q: %q", protocol, field.raw)
		}
		for line := range strings.SplitSeq(r.String(), "\r\n") {
			if len(line) > 998 {
				t.Errorf("line of %d octets", len(line))
			}
		}
	})
}

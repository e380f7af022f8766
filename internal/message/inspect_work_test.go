package message

import (
	"fmt"
	"strings"
	"testing"
)

// worst are messages made to be much work, each of about n octets.
var worst = map[string]func(n int) string{
	"text":             func(n int) string { return "A: b\r\n\r\n" + strings.Repeat("some text\r\n", n/11) },
	"one line":         func(n int) string { return "A: b\r\n\r\n" + strings.Repeat("x", n) },
	"empty lines":      func(n int) string { return "A: b\r\n\r\n" + strings.Repeat("\r\n", n/2) },
	"header":           func(n int) string { return strings.Repeat("A: b\r\n", n/6) },
	"folded header":    func(n int) string { return "Subject: a\r\n" + strings.Repeat(" b\r\n", n/4) },
	"dashes":           func(n int) string { return opened(40, "") + strings.Repeat("--\r\n", n/4) },
	"long dashes":      func(n int) string { return opened(40, "") + strings.Repeat("-", n) },
	"near boundaries":  func(n int) string { return opened(40, "") + strings.Repeat("--"+strings.Repeat("b", 66)+"\r\n", n/70) },
	"alike boundaries": func(n int) string { return alike(60) + strings.Repeat("--"+strings.Repeat("b", 60)+"x\r\n", n/65) },
	"delimiters": func(n int) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n", n/5)
	},
	"ends": func(n int) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat("--b--\r\n", n/7)
	},
	"messages": func(n int) string { return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n/32) },
	"nested":   func(n int) string { return opened(n/60, "") },
	"abandoned": func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: multipart/mixed; boundary=o\r\n\r\n")
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "--o\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n\r\n", i, i)
		}
		return b.String()
	},
	"parameters": func(n int) string {
		return "Content-Type: a/b" + strings.Repeat(";a=b", min(n, 200_000)/4) + "\r\n\r\n"
	},
	"names": func(n int) string { return "Content-Type: a/b" + numbered(";name=%d", min(n, 200_000)) + "\r\n\r\n" },
	"continuations": func(n int) string {
		return "Content-Type: a/b" + numbered(";name*%d*=%%41", min(n, 200_000)) + "\r\n\r\n"
	},
	"quotes": func(n int) string {
		return "Content-Type: a/b" + strings.Repeat(`;a="\"`, min(n, 200_000)/6) + "\r\n\r\n"
	},
	"comments": func(n int) string { return "Content-Type: a/b" + strings.Repeat("(", min(n, 200_000)) + "\r\n\r\n" },
	"folds": func(n int) string {
		return "Content-Type: a/b" + strings.Repeat(";\r\n a=(b)", min(n, 200_000)/9) + "\r\n\r\n"
	},
	"types": func(n int) string { return numbered("Content-Type: a/%d\r\n", min(n, 200_000)) + "\r\n" },
	"words": func(n int) string {
		return "Subject: " + strings.Repeat("=?utf-8?q?a?= ", min(n, 200_000)/14) + "\r\n\r\n"
	},
	"words of charset": func(n int) string {
		return "Subject: " + numbered("=?iso-8859-%d?q?a?= ", min(n, 200_000)) + "\r\n\r\n"
	},
	"open words":       func(n int) string { return "Subject: " + strings.Repeat("=?utf-8?q?", min(n, 200_000)/10) + "\r\n\r\n" },
	"question marks":   func(n int) string { return "Subject: " + strings.Repeat("=?", min(n, 200_000)/2) + "\r\n\r\n" },
	"authors":          func(n int) string { return "From: " + strings.Repeat("a@b,", min(n, 200_000)/4) + "\r\n\r\n" },
	"comments in From": func(n int) string { return "From: " + strings.Repeat("()", min(n, 200_000)/2) + "\r\n\r\n" },
	"base64": func(n int) string {
		return "Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("YmVn\r\n", n/6)
	},
	"padding": func(n int) string { return "Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("=", n) },
	"equal signs": func(n int) string {
		return "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("= ", n/2)
	},
	"files in text":    func(n int) string { return "\r\n" + numbered("begin 644 %d\r\n", n) },
	"many names":       func(n int) string { return mixedLines(n, "--b\r\nContent-Type: a/b; name=%d\r\n\r\n") },
	"unlike defects":   func(n int) string { return mixedLines(n, "--b\r\nContent-Type: %d\r\n\r\n") },
	"headers of parts": func(n int) string { return mixedLines(n, "--b\r\n"+strings.Repeat("A: b\r\n", 100)+"X: %d\r\n\r\n") },
}

// opened is a message in which so many multiparts, one in the other, begin.
func opened(depth int, suffix string) string {
	var b strings.Builder
	for i := range depth {
		boundary := strings.Repeat("b", 60) + fmt.Sprintf("%04d", i) + suffix
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n", boundary, boundary)
	}
	return b.String() + "\r\n"
}

// alike is the same with boundaries that begin with one another.
func alike(depth int) string {
	var b strings.Builder
	for i := range depth {
		boundary := strings.Repeat("b", i+1)
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n", boundary, boundary)
	}
	return b.String() + "\r\n"
}

func mixedLines(n int, part string) string {
	return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + numbered(part, n)
}

// numbered repeats a format with a number to about n octets.
func numbered(format string, n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// TestInspectWork: what is looked at grows with the size of a message, and not
// faster, and what is kept is bounded.
func TestInspectWork(t *testing.T) {
	for name, make := range worst {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{10_000, 100_000, 1_000_000} {
				got := inspect(t, make(n))
				if len(got.Defects) > maxDefects || len(got.Parts) > maxParts || len(got.From) > maxAuthors {
					t.Errorf("%d defects, %d parts, %d addresses", len(got.Defects), len(got.Parts), len(got.From))
				}
				size := 0
				for _, p := range got.Parts {
					for _, name := range p.Names {
						size += len(name)
					}
				}
				if size > maxNameBytes {
					t.Errorf("%d octets of names", size)
				}
			}
		})
	}
}

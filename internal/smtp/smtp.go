// Package smtp is the wire grammar of SMTP, both ends of it: commands and
// their parameters, replies, service extensions, dot-stuffing and the CR/LF
// law. It turns bytes into values and values into bytes.
//
// The CR/LF law: content of DATA ends with CRLF "." CRLF and with nothing else,
// that of BDAT with its last octet, and
// a CR or LF that stands alone never leaves this package, neither inwards
// (DataReader) nor outwards (DotWriter). Nor does NUL, which some servers drop,
// so that what stood around it would come together.
//
// It is no client and no server: it opens no connection, sets no deadline
// and knows no state but that of the text it reads. Sequence rules are in
// package smtpserver, phases and time-outs in package smtpclient.
//
// What a client sent wrongly comes back as a *mail.Error that carries the
// reply it deserves.
package smtp

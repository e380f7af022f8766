// Package smtpserver is the SMTP server engine: it speaks the protocol with
// clients and asks a Handler what to answer.
//
// Three values keep three lifetimes apart: a conn is the connection (bytes,
// deadlines, TLS), a session is what EHLO began (who the client is, its
// limits), a transaction is one message between MAIL and the end of data.
//
// The engine owns sequence, syntax, framing and limits; a command reaches the
// handler only when those are in order. The handler owns the answers: each of
// its methods may return any reply, and may take its time to find one, a
// round trip to another server included. Where it returns none the engine
// gives its own. The package knows no queue, no policy and no route; why a
// handler refused something it may say as an Explainer, and that stands in the
// fact of the refusal.
//
// How it fails: a client that breaks a rule gets the reply for it, and after
// too many of those 421 and the end of the connection; one that cannot be kept
// in step is hung up on after its reply. The connection is closed so that the
// last reply arrives. A panic in a handler ends its session alone.
//
// Deliberate choices: commands that end with a bare LF are refused; a client
// that speaks before the greeting is served (its commands are pipelined, no
// more); whatever stands behind STARTTLS in one packet ends the session.
package smtpserver

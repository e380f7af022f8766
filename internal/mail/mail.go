// Package mail holds Postern's words: the identifiers, addresses, envelopes,
// replies, outcomes, reasons and facts that every other package speaks of.
//
// It does no I/O and imports nothing of the project. A type lives here when
// at least two layers must agree on it; whatever only one package needs
// stays in that package.
package mail

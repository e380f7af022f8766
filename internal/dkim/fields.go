package dkim

import (
	"slices"
	"strings"
)

// oversigned are the header fields that are signed once more than they occur, so that a
// signature is broken by one that is added: those that readers of mail show, or go by (RFC
// 6376 5.4, 5.4.1, 8.15).
var oversigned = []string{
	"from", "to", "cc", "subject", "date", "message-id", "reply-to", "in-reply-to", "references",
	"mime-version", "content-type", "content-transfer-encoding", "content-id", "content-description", "content-disposition",
}

// signed are those that are signed as often as they occur: a mailing list, or whoever sends
// a message on, may add them and leave the rest as it is.
var signed = []string{
	"sender", "resent-date", "resent-from", "resent-to", "resent-cc", "resent-sender", "resent-message-id",
	"list-id", "list-help", "list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post", "list-owner", "list-archive",
}

// unsignable are fields that change on the way (RFC 6376 5.4): with them in a signature, it
// would be broken by every server.
var unsignable = []string{"return-path", "received", "comments", "keywords", "bcc", "resent-bcc", "dkim-signature"}

// CanSign reports whether a field may be added to those that are signed.
func CanSign(name string) bool { return !slices.Contains(unsignable, strings.ToLower(name)) }

// signedFields are the names for the h= tag, in order: for each the last field of that name
// comes first (RFC 6376 5.4.2). counts says how often each occurs, by its name in lower case.
func signedFields(counts map[string]int, more []string) []string {
	var list []string
	for _, name := range slices.Concat(oversigned, more) {
		if name = strings.ToLower(name); slices.Contains(list, name) {
			continue
		}
		for range counts[name] + 1 {
			list = append(list, name)
		}
	}
	for _, name := range signed {
		if slices.Contains(list, name) {
			continue
		}
		for range counts[name] {
			list = append(list, name)
		}
	}
	return list
}

package smtpclient

import (
	"encoding/json"
	"fmt"
	"strings"

	"postern/internal/mail"
)

// bearerProof shows a token: OAUTHBEARER (RFC 7628) or XOAUTH2, as Google and Microsoft describe
// it. A server that does not take the token says why in a challenge, which has an answer
// without meaning, and refuses behind it.
type bearerProof struct {
	response []byte
	// dummy answers the challenge.
	dummy []byte
	// status is what the challenge said.
	status string
}

func (c *Conn) beginBearer(name string) proof {
	if name == mail.XOAuth2 {
		return &bearerProof{response: xoauth2Response(c.options.Credentials)}
	}
	return &bearerProof{response: c.bearerResponse(), dummy: []byte{1}} // RFC 7628 3.2.3
}

// bearerResponse is what OAUTHBEARER shows (RFC 7628 3.1).
func (c *Conn) bearerResponse() []byte {
	return fmt.Appendf(nil, "n,a=%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01",
		gs2Name(c.options.Credentials.User), strings.Trim(c.host, "[]"), c.address.Port(), string(c.options.Credentials.Token))
}

// gs2Name writes a name as RFC 5801 4 has it.
func gs2Name(user string) string { return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) }

func xoauth2Response(c mail.Credentials) []byte {
	return []byte("user=" + c.User + "\x01auth=Bearer " + string(c.Token) + "\x01\x01")
}

func (b *bearerProof) first() ([]byte, bool) { return b.response, true }

// done: after the challenge there is no success.
func (b *bearerProof) done() bool { return b.status == "" }

// unsaid stands for a challenge that says nothing that can be shown.
const unsaid = "the token is refused"

func (b *bearerProof) next(challenge []byte) ([]byte, error) {
	if b.status != "" {
		return nil, errNoQuestion
	}
	var said struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(challenge, &said) != nil || !isWord(said.Status) {
		said.Status = unsaid
	}
	b.status = said.Status
	return b.dummy, nil
}

// maxStatus is how long a status can be that is shown, in octets: those there are have less.
const maxStatus = 40

// isWord reports whether a status is one, such as "invalid_token" or "401".
func isWord(s string) bool {
	return s != "" && len(s) <= maxStatus && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}

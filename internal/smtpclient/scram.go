package smtpclient

import (
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"

	"postern/internal/mail"
)

// scramProof is SCRAM (RFC 5802, RFC 7677): the server learns that the password is known,
// and not the password; and it proves that it knows it too.
type scramProof struct{ conversation *scram.ClientConversation }

// maxIterations bounds what a server may have this client calculate: about half a second.
const maxIterations = 1_000_000

// beginScram returns nil where the channel cannot be bound, or the name or the password
// cannot be written in SCRAM.
func (c *Conn) beginScram(name string) proof {
	hash := scram.SHA256
	if strings.HasPrefix(name, mail.ScramSHA1) {
		hash = scram.SHA1
	}
	client, err := hash.NewClient(c.options.Credentials.User, string(c.options.Credentials.Password), "")
	if err != nil {
		return nil
	}
	binding := c.binding()
	plain, plus := strings.CutSuffix(name, "-PLUS")
	switch {
	case plus && !binding.IsSupported():
		return nil
	case plus:
		return &scramProof{client.NewConversationWithChannelBinding(binding)}
	case binding.IsSupported() && !c.extensions.Auth.Has(plain+"-PLUS"):
		// So that the server notices when somebody has taken it out of its offer (RFC
		// 5802 6).
		return &scramProof{client.NewConversationAdvertisingChannelBinding()}
	}
	return &scramProof{client.NewConversation()}
}

// binding is what this connection can be bound to: RFC 9266 for TLS 1.3, RFC 5929 before.
func (c *Conn) binding() scram.ChannelBinding {
	secured, is := c.stream.(*tls.Conn)
	if !is {
		return scram.ChannelBinding{}
	}
	state := secured.ConnectionState()
	if state.Version < tls.VersionTLS13 {
		return scram.NewTLSUniqueBinding(state.TLSUnique)
	}
	binding, err := scram.NewTLSExporterBinding(&state)
	if err != nil {
		return scram.ChannelBinding{}
	}
	return binding
}

func (s *scramProof) first() ([]byte, bool) {
	message, err := s.conversation.Step("")
	return []byte(message), err == nil
}

func (s *scramProof) done() bool { return s.conversation.Valid() }

func (s *scramProof) next(challenge []byte) ([]byte, error) {
	if s.conversation.Done() {
		return nil, errNoQuestion
	}
	if n := iterations(string(challenge)); n > maxIterations {
		return nil, fmt.Errorf("the server wants %d iterations of a hash, and %d at most are made", n, maxIterations)
	}
	response, err := s.conversation.Step(string(challenge))
	return []byte(response), err
}

// iterations are those of the server's first message, 0 for another one.
func iterations(message string) int {
	for part := range strings.SplitSeq(message, ",") {
		if text, is := strings.CutPrefix(part, "i="); is {
			n, err := strconv.Atoi(text)
			if err != nil {
				return maxIterations + 1
			}
			return n
		}
	}
	return 0
}

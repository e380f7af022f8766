package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// Keys are what a server needs to know of a password for SCRAM-SHA-256 (RFC 5802 3, RFC
// 7677). Who has them cannot log in by them, but can try passwords, at a fraction of
// what a hash by argon2id costs.
type Keys struct {
	Salt              []byte
	Iterations        int
	StoredKey, Server []byte
}

const (
	keysName = "SCRAM-SHA-256"
	// iterations of new keys. The client computes them at each login: this is some 20 ms
	// of a computer, and most of a second of a small device. Cyrus SASL, by which Postfix
	// logs in, refuses to compute more, and so would not get in at all.
	iterations = 65_536
	// What other programs have made is taken between these: RFC 7677 4 asks for the
	// least, and no client computes more than the most before it gives up.
	minIterations, maxIterations = 4096, 10_000_000
)

// newKeys makes the keys of a password that was prepared.
func newKeys(password string) (Keys, error) {
	salt := make([]byte, saltLength)
	rand.Read(salt)
	client, err := scram.SHA256.NewClientUnprepped("", password, "")
	if err != nil {
		return Keys{}, err
	}
	c, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return Keys{}, err
	}
	return Keys{Salt: salt, Iterations: iterations, StoredKey: c.StoredKey, Server: c.ServerKey}, nil
}

// credentials are the keys as package scram has them.
func (k *Keys) credentials() scram.StoredCredentials {
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations},
		StoredKey:  k.StoredKey,
		ServerKey:  k.Server,
	}
}

// String returns a placeholder: keys are a secret. Text has them.
func (k Keys) String() string { return "[secret]" }

// GoString returns a placeholder, for the verb %#v.
func (k Keys) GoString() string { return "[secret]" }

// Text returns the keys as they are stored, in the format of PostgreSQL:
// SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER.
func (k *Keys) Text() string {
	encode := base64.StdEncoding.EncodeToString
	return keysName + "$" + strconv.Itoa(k.Iterations) + ":" + encode(k.Salt) + "$" + encode(k.StoredKey) + ":" + encode(k.Server)
}

// ParseKeys reads what Text has written. The errors do not repeat it.
func ParseKeys(text string) (Keys, error) {
	parts := strings.Split(text, "$")
	if len(text) > maxHashText || len(parts) != 3 || parts[0] != keysName {
		return Keys{}, fmt.Errorf("they must be keys of SCRAM-SHA-256, as %s$ITERATIONS:SALT$STORED:SERVER", keysName)
	}
	count, salt, ok := strings.Cut(parts[1], ":")
	stored, server, both := strings.Cut(parts[2], ":")
	n, err := strconv.Atoi(count)
	if !ok || !both || err != nil || strconv.Itoa(n) != count || n < minIterations || n > maxIterations {
		return Keys{}, fmt.Errorf("their iterations must be a number from %d to %d", minIterations, maxIterations)
	}
	k := Keys{Iterations: n}
	for _, field := range []struct {
		into        *[]byte
		text        string
		least, most int
	}{{&k.Salt, salt, 8, maxHashBytes}, {&k.StoredKey, stored, sha256.Size, sha256.Size}, {&k.Server, server, sha256.Size, sha256.Size}} {
		b, err := base64.StdEncoding.Strict().DecodeString(field.text)
		if err != nil || len(b) < field.least || len(b) > field.most {
			return Keys{}, fmt.Errorf("their salt and keys must be in base64, the keys of %d octets each", sha256.Size)
		}
		*field.into = b
	}
	return k, nil
}

// fakeKeys are keys of nobody. They are the same for the same name as long as the
// secret is, as those of a user are: whoever asks for them twice learns nothing.
func fakeKeys(secret []byte, user string) Keys {
	part := func(what string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(what + "\x00" + user))
		return mac.Sum(nil)
	}
	return Keys{Salt: part("salt")[:saltLength], Iterations: iterations, StoredKey: part("stored"), Server: part("server")}
}

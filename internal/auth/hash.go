package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// cost is what one hash by argon2id (RFC 9106) costs whoever computes it.
type cost struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

// standard is what new hashes cost: 19 MiB of memory and two passes by one thread, the
// least that OWASP's Password Storage Cheat Sheet takes for good. It is what a server that verifies
// many can afford: about 25 ms (BenchmarkHash).
var standard = cost{memory: 19 * 1024, passes: 2, threads: 1}

// Hashes of other programs are verified up to these, so that no record can take the
// memory of the server, or keep it busy.
const (
	maxHashMemory  = 64 * 1024 // KiB
	maxHashPasses  = 10
	maxHashThreads = 16
)

const (
	saltLength   = 16
	hashLength   = 32
	maxHashBytes = 64 // of hashes and salts that other programs have made
	maxHashText  = 512
)

// hash is a password, hashed.
type hash struct {
	cost
	salt, sum []byte
}

// newHash hashes a password that was prepared.
func newHash(password string) hash {
	h := hash{cost: standard, salt: make([]byte, saltLength)}
	rand.Read(h.salt)
	h.sum = h.of(password, hashLength)
	return h
}

// of computes the hash of a password with the salt and cost of h.
func (h *hash) of(password string, length int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(length))
}

// matches reports whether h is the hash of the password.
func (h *hash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.of(password, len(h.sum)), h.sum) == 1
}

// String returns the hash as text, in the format of PHC.
func (h *hash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.sum))
}

// parseHash reads what String has written, here or in another program. The errors do
// not repeat it.
func parseHash(text string) (hash, error) {
	parts := strings.Split(text, "$")
	if len(text) > maxHashText || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return hash{}, fmt.Errorf("it must be a hash by argon2id, as $argon2id$v=19$m=%d,t=%d,p=%d$SALT$HASH", standard.memory, standard.passes, standard.threads)
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return hash{}, fmt.Errorf("its version of argon2 must be %d", argon2.Version)
	}
	var h hash
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.threads); err != nil ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.passes, h.threads) {
		return hash{}, fmt.Errorf("its parameters must be m=MEMORY,t=PASSES,p=THREADS, in this order")
	}
	if h.threads < 1 || h.threads > maxHashThreads || h.passes < 1 || h.passes > maxHashPasses ||
		h.memory < 8*uint32(h.threads) || h.memory > maxHashMemory {
		return hash{}, fmt.Errorf("it may cost at most m=%d,t=%d,p=%d", maxHashMemory, maxHashPasses, maxHashThreads)
	}
	var err error
	if h.salt, err = hashBytes(parts[4], 8); err != nil {
		return hash{}, fmt.Errorf("its salt %w", err)
	}
	if h.sum, err = hashBytes(parts[5], 16); err != nil {
		return hash{}, fmt.Errorf("its hash %w", err)
	}
	return h, nil
}

func hashBytes(text string, least int) ([]byte, error) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < least || len(b) > maxHashBytes {
		return nil, fmt.Errorf("must be %d to %d octets in base64 without padding", least, maxHashBytes)
	}
	return b, nil
}

package mail

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func TestParsePin(t *testing.T) {
	pin := Pin(sha256.Sum256([]byte("a key")))
	digits := hex.EncodeToString(pin[:])
	var colons []string
	for i := 0; i < len(digits); i += 2 {
		colons = append(colons, strings.ToUpper(digits[i:i+2]))
	}
	for _, s := range []string{pin.String(), digits, strings.ToUpper(digits), strings.Join(colons, ":")} {
		if got, err := ParsePin(s); got != pin || err != nil {
			t.Errorf("%q: %v, error %v", s, got, err)
		}
	}
	text := strings.TrimPrefix(pin.String(), pinPrefix)
	for _, s := range []string{"", pinPrefix, text, "sha1/" + text, pinPrefix + text[:40], pinPrefix + text[:43] + "A", pinPrefix + text + text, digits[:62], digits + "00", "g" + digits[1:], " " + digits} {
		if got, err := ParsePin(s); err != ErrPin || got != (Pin{}) {
			t.Errorf("%q was read as %v, error %v", s, got, err)
		}
	}
}

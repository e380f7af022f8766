package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"postern/internal/directory"
	"postern/internal/mail"
)

// issued is what an issuer has given.
type issued struct {
	token   mail.Secret
	life    time.Duration
	refresh mail.Secret // the next refresh token; empty: the one of before is good
}

// Bounds of what is issued.
const (
	maxToken    = 8 << 10 // octets; what shows it must fit into 12,288 (RFC 4954 4)
	defaultLife = 10 * time.Minute
	maxLife     = 24 * time.Hour
)

// refusal is that an issuer has said no, in the words of RFC 6749 5.2.
type refusal struct {
	status     int
	code       string // "" where there was none
	text       string
	retryAfter time.Duration
}

// Error returns what can be shown of it.
func (e *refusal) Error() string {
	s := fmt.Sprintf("the issuer answers %d", e.status)
	if e.code != "" {
		s += " " + e.code
	}
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

// passing are the refusals that say nothing of the credential.
var passing = []string{"", "temporarily_unavailable", "server_error", "slow_down"}

// final reports whether a refusal stands until a person does something.
func (e *refusal) final() bool {
	return e.status >= 400 && e.status < 500 && e.status != http.StatusTooManyRequests && !slices.Contains(passing, e.code)
}

// asker asks the issuer of one record.
type asker struct {
	record  *directory.Credential
	secrets map[string]mail.Secret
	client  *http.Client
	// now is the time for assertions: that of the issuer, as far as it is known.
	now time.Time
	// signed is the assertion, which is a secret as long as it can be used.
	signed string
}

// ask has a token issued. skew is by how much the clock of the issuer is before that of this
// machine, as it says itself.
func (a *asker) ask(ctx context.Context, here func() time.Time) (got issued, skew time.Duration, err error) {
	form, basic, err := a.form()
	if err != nil {
		return issued{}, 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.record.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return issued{}, 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	if basic {
		// RFC 6749 2.3.1
		request.SetBasicAuth(url.QueryEscape(a.record.ClientID), url.QueryEscape(string(a.secrets[fieldClientSecret])))
	}
	response, err := a.client.Do(request)
	if err != nil {
		return issued{}, 0, err
	}
	defer response.Body.Close()
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		skew = date.Sub(here())
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return issued{}, skew, err
	}
	if response.StatusCode != http.StatusOK {
		return issued{}, skew, a.refusal(response, body)
	}
	got, err = readIssued(body)
	return got, skew, err
}

// The types of grants and assertions (RFC 6749 4.4, 6; RFC 7523 8).
const (
	grantJWT      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// form is what is asked; basic says that the client secret goes into the header.
func (a *asker) form() (form url.Values, basic bool, err error) {
	r := a.record
	form = url.Values{"client_id": {r.ClientID}}
	if len(r.Scopes) > 0 {
		form.Set("scope", strings.Join(r.Scopes, " "))
	}
	if key := a.secrets[fieldClientKey]; key != "" {
		if a.signed, err = assertion(r, string(key), a.now); err != nil {
			return nil, false, err
		}
	}
	switch refresh := a.secrets[fieldRefreshToken]; {
	case refresh != "":
		form.Set("grant_type", "refresh_token")
		form.Set("refresh_token", string(refresh))
	case r.Preset == directory.PresetGoogle: // a service account
		return url.Values{"grant_type": {grantJWT}, "assertion": {a.signed}}, false, nil
	default:
		form.Set("grant_type", "client_credentials")
	}
	secret := a.secrets[fieldClientSecret]
	switch {
	case a.signed != "":
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", a.signed)
	case secret != "" && r.Preset != "":
		form.Set("client_secret", string(secret))
	case secret != "":
		form.Del("client_id")
		return form, true, nil
	}
	return form, false, nil
}

// seconds is a number of seconds, which some issuers write as a text.
type seconds int64

// UnmarshalJSON reads it.
func (s *seconds) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	if err == nil {
		*s = seconds(min(max(n, 0), maxLife.Seconds()))
	}
	return nil
}

// errNoToken says that an answer has no token that can be used; nothing of it is shown.
var errNoToken = errors.New("the issuer answers 200 without a token that can be used (RFC 6749 5.1)")

func readIssued(body []byte) (issued, error) {
	var said struct {
		Token   string  `json:"access_token"`
		Type    string  `json:"token_type"`
		Expires seconds `json:"expires_in"`
		Refresh string  `json:"refresh_token"`
	}
	if json.Unmarshal(body, &said) != nil || !strings.EqualFold(said.Type, "bearer") || !isToken(said.Token) {
		return issued{}, errNoToken
	}
	life := time.Duration(said.Expires) * time.Second
	if life <= 0 {
		life = defaultLife
	}
	if len(said.Refresh) > maxSecret || !isToken(said.Refresh) {
		said.Refresh = ""
	}
	return issued{token: mail.Secret(said.Token), life: life, refresh: mail.Secret(said.Refresh)}, nil
}

// isToken reports whether a text can be a token: printable ASCII, without space.
func isToken(s string) bool {
	return s != "" && len(s) <= maxToken && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// maxRetryAfter bounds how long an issuer can ask to be left alone, and maxText what is shown
// of its words, in octets.
const (
	maxRetryAfter = time.Hour
	maxText       = 300
)

func (a *asker) refusal(response *http.Response, body []byte) *refusal {
	e := &refusal{status: response.StatusCode}
	if n, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && n > 0 {
		e.retryAfter = min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	var said struct {
		Code string `json:"error"`
		Text string `json:"error_description"`
	}
	if json.Unmarshal(body, &said) == nil {
		e.code, e.text = a.harmless(said.Code), a.harmless(said.Text)
	}
	return e
}

// shown is how much of a secret may be repeated, in octets.
const shown = 8

// harmless returns a text of the issuer as it can be shown: a line, and nothing of the secrets
// that it was told.
func (a *asker) harmless(s string) string {
	told := []string{a.signed}
	for _, secret := range a.secrets {
		told = append(told, string(secret))
	}
	for _, secret := range told {
		if secret != "" && strings.Contains(s, secret[:min(len(secret), shown)]) {
			return "(not shown: it repeats what it was told)"
		}
	}
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, s)), " ")
	return s[:min(len(s), maxText)]
}

package oidc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// claims are what a token says, as JSON has it: text, json.Number, bool, nil, []any and
// map[string]any.
type claims map[string]any

// parseClaims reads what a token says: one object. A name that is there twice is refused
// (RFC 7519 4), because another reader would see the other one.
func parseClaims(payload []byte) (claims, error) {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.SetNumberType(json.UnmarshalJSONNumber)
	var c claims
	if err := decoder.Decode(&c); err != nil || c == nil {
		return nil, errors.New("what the token says is no object of JSON, or has a name twice")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("the token has something behind what it says")
	}
	return c, nil
}

// get returns a claim. A name with dots that no claim has leads into objects.
func (c claims) get(name string) (value any, has bool) {
	if value, has = c[name]; has {
		return value, true
	}
	for at := 0; ; {
		dot := strings.IndexByte(name[at:], '.')
		if dot < 0 {
			return nil, false
		}
		at += dot
		if inner, is := c[name[:at]].(map[string]any); is {
			return claims(inner).get(name[at+1:])
		}
		at++
	}
}

// maxName bounds the name of an account, in octets.
const maxName = 255

// text returns a claim that must be text.
func (c claims) text(name string) (string, error) {
	value, has := c.get(name)
	if !has {
		return "", fmt.Errorf("the token has no claim %s", name)
	}
	text, is := value.(string)
	if !is || text == "" {
		return "", fmt.Errorf("the claim %s of the token is no text", name)
	}
	return text, nil
}

// maxTexts bounds the values of a claim, such as the groups of an account.
const maxTexts = 1000

// texts returns a claim that is a text, or a list of them; what else is in the list is
// left out.
func (c claims) texts(name string) []string {
	value, _ := c.get(name)
	switch value := value.(type) {
	case string:
		return []string{value}
	case []any:
		var list []string
		for _, item := range value {
			if text, is := item.(string); is && len(list) < maxTexts {
				list = append(list, text)
			}
		}
		return list
	}
	return nil
}

// words returns a claim that is a list of texts, or a text with spaces between them
// (RFC 8693 4.2).
func (c claims) words(name string) []string {
	var list []string
	for _, text := range c.texts(name) {
		list = append(list, strings.Fields(text)...)
	}
	return list
}

// maxTime is the last second of the year 9999, in seconds since 1970.
const maxTime = 253402300799

// time returns a claim that is a time, in seconds since 1970, with or without a
// fraction (RFC 7519 2, NumericDate). has is false if it is not there.
func (c claims) time(name string) (at time.Time, has bool, err error) {
	value, has := c[name]
	if !has {
		return time.Time{}, false, nil
	}
	number, is := value.(json.Number)
	if !is {
		return time.Time{}, true, fmt.Errorf("the claim %s of the token is no time", name)
	}
	seconds, err := number.Float64()
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > maxTime {
		return time.Time{}, true, fmt.Errorf("the claim %s of the token is no time", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), true, nil
}

// is reports whether a claim is a value, or a list with it in it.
func (c claims) is(name, value string) bool {
	has, _ := c.get(name)
	list, isList := has.([]any)
	if !isList {
		list = []any{has}
	}
	for _, item := range list {
		if shown, plain := scalar(item); plain && shown == value {
			return true
		}
	}
	return false
}

// scalar writes a text, number or boolean.
func scalar(value any) (shown string, ok bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case json.Number:
		return value.String(), true
	case bool:
		return fmt.Sprint(value), true
	}
	return "", false
}

// asJSON writes a value for a person; what is no JSON is from no token.
func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return "?"
	}
	return string(text)
}

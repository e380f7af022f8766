package dkim

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/mail"
)

// Resolver asks DNS for the texts of a name, each record as one.
type Resolver interface {
	LookupText(ctx context.Context, name string) ([]string, error)
}

// Keeper is what commands ask: it lists the keys of a Store, and changes them.
type Keeper struct {
	Store    *Store
	Resolver Resolver
	// Overlap returns for how long a key retires: as long as mail that it has signed may be
	// on its way.
	Overlap func() time.Duration
	// Changed is told what was changed, and by whom; "" for the server itself. It may be nil.
	Changed func(actor, text string)
	Clock   mail.Clock
}

// KeyInfo is what is shown of a key; never the key itself.
type KeyInfo struct {
	Domain    string    `json:"domain" doc:"The domain whose mail is signed by it (d=)"`
	Selector  string    `json:"selector" doc:"Its name within the domain (s=)"`
	Algorithm Algorithm `json:"algorithm" enum:"rsa,ed25519" doc:"Its kind"`
	Bits      int       `json:"bits,omitempty" doc:"Its size"`
	State     State     `json:"state" enum:"waiting,active,retiring" doc:"waiting: for its record; active: mail is signed by it; retiring: its record is needed until then"`
	Created   time.Time `json:"created"`
	Since     time.Time `json:"since" doc:"From when it is in its state"`
	Until     time.Time `json:"until,omitzero" doc:"When a retiring key is removed"`
	Name      string    `json:"name" doc:"The name of its record in DNS"`
	Record    string    `json:"record,omitempty" doc:"The value of its TXT record"`
	Zone      string    `json:"zone,omitempty" doc:"The record as a line of a zone file"`
	Problem   string    `json:"problem,omitempty" doc:"Why it cannot be used, or should not"`
}

// KeyOrder says what key is to be made, or taken.
type KeyOrder struct {
	Domain    string    `json:"domain" maxLength:"253" doc:"The domain whose mail is to be signed"`
	Selector  string    `json:"selector,omitempty" maxLength:"200" doc:"The selector; one with the date by default"`
	Algorithm Algorithm `json:"algorithm,omitempty" enum:",rsa,ed25519" doc:"The kind of the key; one of each by default, and with a selector rsa"`
	Bits      int       `json:"bits,omitempty" minimum:"0" maximum:"4096" doc:"The size of an RSA key; 2048 by default"`
	Key       string    `json:"key,omitempty" maxLength:"65536" doc:"A private key (PEM) that is taken; none: one is made"`
	Now       bool      `json:"now,omitempty" doc:"Sign by it at once, before DNS has its record"`
}

// keyOf names a key.
type keyOf struct {
	selector  string
	algorithm Algorithm
}

func (k *Keeper) changed(actor, format string, args ...any) {
	if k.Changed != nil {
		k.Changed(actor, fmt.Sprintf(format, args...))
	}
}

// List returns all keys.
func (k *Keeper) List() []KeyInfo { return infos(k.Store.Entries()) }

// Of returns those of a domain, with their records. Errors: ErrDomain, ErrNoDomain.
func (k *Keeper) Of(domain string) ([]KeyInfo, error) {
	domain, err := Domain(domain)
	if err != nil {
		return nil, err
	}
	list, err := k.Store.Of(domain)
	return infos(list), err
}

func infos(list []Entry) []KeyInfo {
	all := make([]KeyInfo, 0, len(list))
	for i := range list {
		all = append(all, info(&list[i]))
	}
	return all
}

func info(e *Entry) KeyInfo {
	i := KeyInfo{Domain: e.Domain, Selector: e.Selector, Algorithm: e.Kind, State: e.State, Created: e.Created, Since: e.Since, Until: e.Until, Name: e.Name()}
	if e.Err != nil {
		i.Problem = e.Err.Error()
		return i
	}
	i.Bits = e.Bits()
	if e.Kind == RSA && i.Bits < DefaultBits {
		i.Problem = fmt.Sprintf("%d bits are few; make one of %d (RFC 8301 3.2)", i.Bits, DefaultBits)
	}
	text, err := RecordText(&e.Key)
	if err != nil {
		i.Problem = err.Error()
		return i
	}
	i.Record, i.Zone = text, ZoneLine(i.Name, text)
	return i
}

// Add makes keys, or takes one, for a domain that has none of that kind. Errors: ErrDomain,
// ErrSelector, ErrBits, ErrKey, ErrExists, ErrHasKey, ErrFull.
func (k *Keeper) Add(actor string, o KeyOrder) ([]KeyInfo, error) {
	return k.add(actor, o, false)
}

// Rotate makes the next keys of a domain, of the kinds that it has. Those that are active now
// retire when the new ones become active: when DNS has their records, or now. Keys that wait
// already are the next ones. Errors: as Add, and ErrNoDomain.
func (k *Keeper) Rotate(actor string, o KeyOrder) ([]KeyInfo, error) {
	domain, err := Domain(o.Domain)
	if err != nil {
		return nil, err
	}
	list, err := k.Store.Of(domain)
	if err != nil {
		return nil, err
	}
	if o.Selector == "" && o.Key == "" {
		waiting := slices.DeleteFunc(slices.Clone(list), func(e Entry) bool {
			return e.State != Waiting || o.Algorithm != "" && o.Algorithm != e.Kind
		})
		if len(waiting) > 0 {
			return k.advance(actor, waiting, o.Now)
		}
	}
	return k.add(actor, o, true)
}

// advance lets keys that wait be active at once, if now says so.
func (k *Keeper) advance(actor string, waiting []Entry, now bool) ([]KeyInfo, error) {
	if !now {
		return infos(waiting), nil
	}
	var names []string
	for i := range waiting {
		names = append(names, waiting[i].Name())
	}
	changed, err := k.Store.advance(k.Overlap(), names...)
	for i := range changed {
		k.changed(actor, "%s is active: mail of %s is signed by it", changed[i].Name(), changed[i].Domain)
	}
	return infos(changed), err
}

func (k *Keeper) add(actor string, o KeyOrder, next bool) ([]KeyInfo, error) {
	domain, err := Domain(o.Domain)
	if err != nil {
		return nil, err
	}
	wanted, err := k.wanted(domain, &o, next)
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(wanted))
	for _, w := range wanted {
		private, err := o.private(w.algorithm)
		if err != nil {
			return nil, err
		}
		keys = append(keys, Key{Domain: domain, Selector: w.selector, Private: private})
	}
	state := Waiting
	if o.Now {
		state = Active
	}
	if err := k.Store.put(state, k.Overlap(), keys...); err != nil {
		return nil, err
	}
	var made []KeyInfo
	for i := range keys {
		made = append(made, k.find(keys[i].Name()))
		k.changed(actor, "%s is made: %s, %d bits, %s", keys[i].Name(), keys[i].Algorithm(), keys[i].Bits(), state)
	}
	return made, nil
}

func (k *Keeper) find(name string) KeyInfo {
	if e := k.Store.files.Content().entries[name]; e != nil {
		return info(e)
	}
	return KeyInfo{Name: name}
}

// private makes the key that is ordered, or reads it.
func (o *KeyOrder) private(a Algorithm) (crypto.Signer, error) {
	if o.Key != "" {
		return ParseKey([]byte(o.Key))
	}
	return NewKey(a, o.Bits)
}

// wanted are the names and kinds of the keys to be made.
func (k *Keeper) wanted(domain string, o *KeyOrder, next bool) ([]keyOf, error) {
	list, err := k.Store.Of(domain)
	if err != nil && !errors.Is(err, ErrNoDomain) {
		return nil, err
	}
	kinds, err := o.kinds(list, next)
	if err != nil {
		return nil, err
	}
	if o.Selector != "" {
		if err := CheckSelector(o.Selector); err != nil {
			return nil, err
		}
	}
	var wanted []keyOf
	for _, a := range kinds {
		has := slices.ContainsFunc(list, func(e Entry) bool { return e.Kind == a && e.State != Retiring })
		if has && !next {
			return nil, fmt.Errorf("%s, %s: %w", domain, a, ErrHasKey)
		}
		wanted = append(wanted, keyOf{cmp.Or(o.Selector, k.selector(list, a)), a})
	}
	return wanted, nil
}

// kinds are the kinds of the keys to be made.
func (o *KeyOrder) kinds(has []Entry, next bool) ([]Algorithm, error) {
	switch {
	case o.Key != "":
		private, err := ParseKey([]byte(o.Key))
		if err != nil {
			return nil, err
		}
		taken := Key{Private: private}
		return []Algorithm{taken.Algorithm()}, nil
	case o.Algorithm != "" && !slices.Contains(Algorithms, o.Algorithm):
		return nil, fmt.Errorf("%.20q is no kind of key; write %s or %s", o.Algorithm, RSA, Ed25519)
	case o.Algorithm != "":
		return []Algorithm{o.Algorithm}, nil
	case o.Selector != "":
		return []Algorithm{RSA}, nil
	case next:
		return slices.DeleteFunc(slices.Clone(Algorithms), func(a Algorithm) bool {
			return !slices.ContainsFunc(has, func(e Entry) bool { return e.Kind == a })
		}), nil
	}
	return Algorithms, nil
}

// selector returns a selector that no key of the domain has.
func (k *Keeper) selector(list []Entry, a Algorithm) string {
	name := k.Clock.Now().UTC().Format("20060102") + "-" + string(a)
	for n := 2; ; n++ {
		if !slices.ContainsFunc(list, func(e Entry) bool { return e.Selector == name }) {
			return name
		}
		name = fmt.Sprintf("%s-%s-%d", k.Clock.Now().UTC().Format("20060102"), a, n)
	}
}

// Remove removes a key. Errors: ErrNotFound, ErrActive unless force says so.
func (k *Keeper) Remove(actor, domain, selector string, force bool) error {
	domain, err := Domain(domain)
	if err != nil {
		return err
	}
	name := RecordName(domain, selector)
	if err := k.Store.remove(name, force); err != nil {
		return err
	}
	k.changed(actor, "%s is removed", name)
	return nil
}

// Tend lets keys that wait be active as soon as DNS has their records, and removes those
// that have retired for long enough. It fails with what the Store says; that DNS does not answer
// is no failure: it is asked again the next time.
func (k *Keeper) Tend(ctx context.Context) error {
	var shown []Entry
	var over bool
	for _, e := range k.Store.Entries() {
		over = over || e.over(k.Clock.Now())
		if e.State == Waiting && e.Err == nil && k.published(ctx, &e.Key) {
			shown = append(shown, e)
		}
	}
	var errs []error
	if len(shown) > 0 {
		_, err := k.advance("", shown, true)
		errs = append(errs, err)
	}
	if over {
		gone, err := k.Store.retire()
		for i := range gone {
			k.changed("", "%s is removed: it has retired since %s; its record in DNS is needed no more", gone[i].Name(), gone[i].Since.UTC().Format(time.RFC3339))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// published reports whether DNS has the record of a key, and no other beside it.
func (k *Keeper) published(ctx context.Context, key *Key) bool {
	texts, err := k.Resolver.LookupText(ctx, key.Name())
	if err != nil || len(texts) != 1 {
		return false
	}
	r, err := ParseRecord(strings.TrimSpace(texts[0]))
	return err == nil && r.Matches(key)
}

package config

import (
	"cmp"
	"net/netip"

	"postern/internal/mail"
)

// Target is one table [[target]]: a target server of a pool, or as many as its name has
// addresses.
type Target struct {
	Placed

	Pool string // the name of a transport
	// One of these says where it is.
	Address  netip.Addr
	Name, MX string

	Port           int
	Preference     int
	Weight         int // 0: it shares with none
	MaxConnections int
	MaxMessages    int // 0: any number
	AssumedSize    int64
	Secure         bool
	Charset        string // "": any
}

// Title is what the target is known by: where it is, behind its pool.
func (t *Target) Title() string { return t.Pool + "/" + t.Where().String() }

// Where is the place of the target.
func (t *Target) Where() mail.HostPort {
	host := cmp.Or(t.Name, t.MX)
	if t.Address.IsValid() {
		host = t.Address.String()
	}
	return mail.HostPort{Host: host, Port: uint16(t.Port)}
}

// TransportPool is the kind of a transport to target servers.
const TransportPool TransportKind = "pool"

// checkPools wants targets that each are at one place and in a pool, and pools that have
// one.
func (d *decoder) checkPools() {
	pools := make(map[string]bool) // whether it has a target
	for _, t := range d.tables["transport"] {
		if x := t.fields.transport; x.Kind == TransportPool {
			pools[x.Name] = false
		}
	}
	places := make(map[string]mail.Place)
	for _, t := range d.tables["target"] {
		x := t.fields.target
		if _, known := pools[x.Pool]; !known && x.Pool != "" {
			d.fault(t.given["pool"].value, "target.pool", faultf(`write a [[transport]] with name = "`+x.Pool+`" and kind = "pool"`, "%q is no transport of the kind pool", x.Pool))
		} else if x.Pool != "" {
			pools[x.Pool] = true
		}
		d.checkPlace(t, places)
	}
	for _, t := range d.tables["transport"] {
		if x := t.fields.transport; x.Kind == TransportPool && x.Name != "" && !pools[x.Name] {
			d.fault(t.at, "transport.kind", faultf(`write a [[target]] with pool = "`+x.Name+`"`, "is a pool without a target"))
		}
		d.checkOfPool(t)
	}
}

// whereTarget are the settings one of which says where a target is.
var whereTarget = []string{"address", "name", "mx"}

// checkPlace wants one place of a target, which is that of no other of its pool. seen has
// those of the others.
func (d *decoder) checkPlace(t *table, seen map[string]mail.Place) {
	var given []string
	for _, key := range whereTarget {
		if _, is := t.given[key]; is {
			given = append(given, key)
		}
	}
	switch x := t.fields.target; {
	case len(given) == 0 && !d.meant["target.address"] && !d.meant["target.name"] && !d.meant["target.mx"]:
		d.fault(t.at, "target.address", faultf("write address = "+findSetting("target.address").example+", or name or mx", "is missing"))
	case len(given) > 1:
		d.fault(t.given[given[1]].key, "target."+given[1], faultf("leave all but one out", "is set, and so is %s", given[0]))
	case len(given) == 1 && x.Where().Host != "":
		where := given[0] + " " + x.Title()
		at := t.given[given[0]].value
		if first, twice := seen[where]; twice {
			d.fault(at, "target."+given[0], faultf("leave one of them out", "%q is also that of the target %s", x.Where().Host, whence(first, at)))
		} else {
			seen[where] = at
		}
	}
}

// checkOfPool refuses settings of pools where a transport is none.
func (d *decoder) checkOfPool(t *table) {
	if t.fields.transport.Kind == TransportPool {
		return
	}
	usual := fields{transport: new(Transport)}
	for _, key := range []string{"refresh", "connect_retry", "drain_timeout"} {
		row := findSetting("transport." + key)
		row.value.reset(usual)
		if at, given := t.given[key]; given && row.value.show(t.fields) != row.value.show(usual) {
			d.fault(at.key, "transport."+key, faultf(`leave it out, or write kind = "pool"`, "is set, but a transport of the kind %q has no target servers", t.fields.transport.Kind))
		}
	}
}

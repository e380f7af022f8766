package ldap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ldap3 "github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"postern/internal/auth"
	"postern/internal/config"
	"postern/internal/mail"
	"postern/internal/mailtest"
)

const people = ",ou=people," + mailtest.SlapdSuffix

// running is a real directory, and what it tells.
type running struct {
	*mailtest.Slapd
	roots *x509.CertPool
	mu    sync.Mutex
	told  []Event
}

func startDirectory(t *testing.T, ldif string) *running {
	t.Helper()
	entries, err := os.ReadFile("testdata/" + ldif)
	if err != nil {
		t.Fatal(err)
	}
	c, roots := mailtest.ServerTLS(t, "localhost")
	return &running{Slapd: mailtest.StartSlapd(t, c, string(entries)), roots: roots}
}

func (r *running) tell(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, e)
}

// events are what was told so far, as words.
func (r *running) events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, e := range r.told {
		list = append(list, map[bool]string{true: "down", false: "up"}[e.Down])
	}
	return list
}

// posix are settings for testdata/posix.ldif, at some servers.
func posix(t *testing.T, servers ...string) config.LDAP {
	t.Helper()
	c := config.LDAP{
		Name: "corp", TLS: config.LDAPStartTLS, BindDN: "cn=postern,ou=services," + mailtest.SlapdSuffix, Base: mailtest.SlapdSuffix,
		Schema: config.LDAPRFC2307, GroupDepth: 1, Timeout: 20 * time.Second, MaxConnections: 2, CacheTime: time.Hour,
	}
	for _, s := range servers {
		h, err := mail.ParseHostPort(s, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.Servers = append(c.Servers, h)
	}
	return c
}

// open returns a Directory on it that is closed with the test.
func (r *running) open(t *testing.T, c config.LDAP, change ...func(*Options)) *Directory {
	t.Helper()
	o := Options{Settings: c, Password: "service-pass", TLS: &tls.Config{RootCAs: r.roots}, Tell: r.tell}
	for _, f := range change {
		f(&o)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// admin changes the directory.
func (r *running) admin(t *testing.T, change func(*ldap3.Conn) error) {
	t.Helper()
	l, err := ldap3.DialURL("ldap://" + r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := errors.Join(l.Bind(mailtest.SlapdAdmin, mailtest.SlapdPassword), change(l)); err != nil {
		t.Fatal(err)
	}
}

// isTemporary reports whether an error says nothing of the user.
func isTemporary(err error) bool {
	return err != nil && !errors.Is(err, auth.ErrInvalid) // which ErrUnknown is, too
}

// TestLogin: who is let in, by StartTLS (RFC 4511 4.14) and by LDAPS, and as whom: with
// the attributes of inetOrgPerson (RFC 2798 2.7, 9.1.3).
func TestLogin(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	starttls, ldaps := posix(t, r.Addr), posix(t, r.SecureAddr)
	ldaps.TLS = config.LDAPS
	for name, c := range map[string]config.LDAP{"starttls": starttls, "ldaps": ldaps} {
		t.Run(name, func(t *testing.T) {
			d := r.open(t, c)
			got, err := d.Password(t.Context(), "JOE", "joes-pass")
			if err != nil {
				t.Fatal(err)
			}
			want := mail.Principal{
				Account:   mail.Account{Name: "joe", Source: "corp"},
				Services:  mail.Services{Submit: true, Relay: true},
				Addresses: []string{"joe@example.com", "Joe.Doe@example.com"}, // no pattern, and nothing that is no address
				Groups:    []string{"senders", "users"},
				Language:  "de",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for user, password := range map[string]string{"jörg": "pässword", `a*b(c)\d`: "odd-pass", "bob": "bobs-pass", "today": "todays-pass"} {
				if p, err := d.Password(t.Context(), user, password); err != nil || p.Name != user {
					t.Errorf("%s: %q, %v", user, p.Name, err)
				}
			}
		})
	}
}

// TestNoLogin: who is not let in, and that it is said as it is: wrong, unknown, or for
// the moment.
func TestNoLogin(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	d := r.open(t, posix(t, r.Addr))
	for _, c := range []struct{ user, password, want string }{
		{"joe", "wrong", "invalid"},
		{"joe", "", "invalid"}, // which a directory takes for nobody (RFC 4513 5.1.2)
		{"nopass", "", "invalid"},
		{"nopass", "any", "invalid"},
		{"past", "pasts-pass", "invalid"}, // shadowExpire
		{"twin", "twins-pass", "temporary"},
		{"nobody", "any", "unknown"},
		{"", "any", "unknown"},
		{"*", "joes-pass", "unknown"},
		{"j*", "joes-pass", "unknown"},
		{"*)(uid=*", "joes-pass", "unknown"},
		{"joe)(|(uid=*", "joes-pass", "unknown"},
		{"joe)(objectClass=*)", "joes-pass", "unknown"},
		{"*)(|(userPassword=*", "joes-pass", "unknown"},
		{`\2a`, "joes-pass", "unknown"},
		{`joe\`, "joes-pass", "unknown"},
		{"joe\x00", "joes-pass", "unknown"},
		{"\x00", "joes-pass", "unknown"},
		{"{login}", "joes-pass", "unknown"},
		{"{dn}", "joes-pass", "unknown"},
		{"joe\xff", "joes-pass", "unknown"},
		{"uid=joe" + people, "joes-pass", "unknown"},
		{strings.Repeat("x", 70_000), "joes-pass", "unknown"},
		{strings.Repeat("ä", 127), "joes-pass", "unknown"},
		{"joe", strings.Repeat("x", 70_000), "invalid"},
		{"joe", "joes-pass\x00", "invalid"},
	} {
		p, err := d.Password(t.Context(), c.user, c.password)
		got := "let in as " + p.Name
		switch {
		case errors.Is(err, auth.ErrUnknown):
			got = "unknown"
		case errors.Is(err, auth.ErrInvalid):
			got = "invalid"
		case err != nil:
			got = "temporary"
		}
		if got != c.want {
			t.Errorf("%.40q: %s (%v), want %s", c.user, got, err, c.want)
		}
		if err != nil && c.password != "" && c.password != "any" && strings.Contains(err.Error(), c.password) {
			t.Errorf("%.40q: the error shows the password", c.user)
		}
		if err != nil && len(c.user) > 3 && c.user != "past" && c.user != "twin" && strings.Contains(err.Error(), c.user) {
			t.Errorf("%q: the error shows what may be a password: %v", c.user, err)
		}
	}
	if down, _ := d.Down(); len(down) > 0 || len(r.events()) > 0 {
		t.Errorf("it is taken to be down: %v", down)
	}
}

// TestDirectoryNotTrusted: to whom no password is shown.
func TestDirectoryNotTrusted(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	_, strangers := mailtest.ServerTLS(t, "localhost")
	address := "127.0.0.1:" + r.Addr[strings.LastIndexByte(r.Addr, ':')+1:]
	wrongName := "ip6-localhost" + r.Addr[strings.LastIndexByte(r.Addr, ':'):]
	ldaps := posix(t, r.SecureAddr)
	ldaps.TLS = config.LDAPS
	clear := posix(t, r.SecureAddr) // where nobody knows StartTLS before TLS
	for name, c := range map[string]struct {
		settings config.LDAP
		roots    *x509.CertPool
		want     string
	}{
		"starttls, another authority": {posix(t, address), strangers, "certificate"},
		"ldaps, another authority":    {ldaps, strangers, "certificate"},
		"no StartTLS":                 {clear, r.roots, "no server"},
		"another name":                {posix(t, wrongName), r.roots, "no server"},
	} {
		d := r.open(t, c.settings, func(o *Options) { o.TLS = &tls.Config{RootCAs: c.roots} })
		_, err := d.Password(t.Context(), "joe", "joes-pass")
		if !isTemporary(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestServiceAccount: a directory that does not take the account of the configuration is
// down, and says why; without one, it shows nothing here, which is no news of a user.
func TestServiceAccount(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	d := r.open(t, posix(t, r.Addr), func(o *Options) { o.Password = "wrong" })
	_, err := d.Password(t.Context(), "joe", "joes-pass")
	if down, all := d.Down(); !isTemporary(err) || !all || !strings.Contains(down[0].Err.Error(), "bind_dn cn=postern") {
		t.Errorf("%v, down %v", err, down)
	}
	noBase := posix(t, r.Addr)
	noBase.Base = "dc=example,dc=net"
	if _, err := r.open(t, noBase).Password(t.Context(), "joe", "joes-pass"); !isTemporary(err) || !strings.Contains(err.Error(), "No Such Object") {
		t.Errorf("a base that is not there: %v", err)
	}
}

// TestNameOfWhoIsWrong: the server compares names as it likes (spaces around
// them do not matter), and whose password it was not is told by one name.
func TestNameOfWhoIsWrong(t *testing.T) {
	d := startDirectory(t, "posix.ldif")
	c := posix(t, d.Addr)
	for _, said := range []string{"joe", "JOE", "joe ", "  joe"} {
		who, err := d.open(t, c).Password(t.Context(), said, "wrong")
		if !errors.Is(err, auth.ErrInvalid) || who.Name != "joe" || who.Services != (mail.Services{}) {
			t.Errorf("%q: %+v, %v", said, who, err)
		}
	}
	if who, err := d.open(t, c).Password(t.Context(), "nobody", "wrong"); !errors.Is(err, auth.ErrUnknown) || who.Name != "" {
		t.Errorf("nobody: %+v, %v", who, err)
	}
}

// TestDownAndBack: a directory that is down tells nobody that there is no such user, and
// it is told once when it goes and when it comes back.
func TestDownAndBack(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	clock := mail.NewManualClock(time.Now())
	c := posix(t, r.Addr)
	c.CacheTime = 0
	d := r.open(t, c, func(o *Options) { o.Clock = clock })
	login := func(user string) error {
		_, err := d.Password(t.Context(), user, "joes-pass")
		return err
	}
	if err := login("joe"); err != nil {
		t.Fatal(err)
	}
	r.Stop()
	for _, user := range []string{"joe", "nobody", "joe"} {
		if err := login(user); !isTemporary(err) {
			t.Errorf("down: %s: %v", user, err)
		}
	}
	if got := r.events(); !slices.Equal(got, []string{"down"}) {
		t.Errorf("told %v", got)
	}
	r.Start()
	if err := login("joe"); !isTemporary(err) {
		t.Errorf("asked within the pause: %v", err)
	}
	clock.Advance(firstPause)
	if err := login("joe"); err != nil {
		t.Errorf("back: %v", err)
	}
	if got := r.events(); !slices.Equal(got, []string{"down", "up"}) {
		t.Errorf("told %v", got)
	}
	if down, all := d.Down(); all || len(down) > 0 {
		t.Errorf("down %v", down)
	}
}

// TestConnectionsThatBroke: a directory that was restarted costs no login.
func TestConnectionsThatBroke(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	c := posix(t, r.Addr)
	c.CacheTime = 0
	d := r.open(t, c)
	for range 3 {
		if _, err := d.Password(t.Context(), "joe", "joes-pass"); err != nil {
			t.Fatal(err)
		}
		r.Stop()
		r.Start()
	}
	if got := r.events(); len(got) > 0 {
		t.Errorf("told %v", got)
	}
}

// stalling is a way to a server that can be stopped: connections stay, and nothing comes.
type stalling struct {
	socket  net.Listener
	to      string
	mu      sync.Mutex
	stalled chan struct{} // closed when it goes on; nil: it goes
	taken   int
	running sync.WaitGroup
}

func newStalling(t *testing.T, to string) *stalling {
	t.Helper()
	socket, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stalling{socket: socket, to: to}
	ctx, cancel := context.WithCancel(context.Background())
	s.running.Go(func() { s.accept(ctx) })
	t.Cleanup(func() { cancel(); socket.Close(); s.running.Wait() })
	return s
}

func (s *stalling) accept(ctx context.Context) {
	for {
		near, err := s.socket.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.taken++
		s.mu.Unlock()
		far, err := net.Dial("tcp4", s.to)
		if err != nil {
			near.Close()
			continue
		}
		context.AfterFunc(ctx, func() { near.Close(); far.Close() })
		s.running.Go(func() { s.copy(ctx, near, far) })
		s.running.Go(func() { s.copy(ctx, far, near) })
	}
}

func (s *stalling) copy(ctx context.Context, to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		s.mu.Lock()
		wait := s.stalled
		s.mu.Unlock()
		if wait != nil {
			select {
			case <-wait:
			case <-ctx.Done():
			}
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (s *stalling) stall() { s.mu.Lock(); defer s.mu.Unlock(); s.stalled = make(chan struct{}) }
func (s *stalling) goOn()  { s.mu.Lock(); defer s.mu.Unlock(); close(s.stalled); s.stalled = nil }
func (s *stalling) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// TestSlowServer: a server that stalls, with kept connections or with new ones, is left
// for the next one, and used again when it is well.
func TestSlowServer(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	slow := newStalling(t, r.Addr)
	clock := mail.NewManualClock(time.Now())
	c := posix(t, slow.socket.Addr().String(), r.Addr)
	c.Timeout, c.CacheTime = 2*time.Second, 0
	d := r.open(t, c, func(o *Options) { o.Clock = clock })
	login := func() {
		t.Helper()
		if _, err := d.Password(t.Context(), "joe", "joes-pass"); err != nil {
			t.Error(err)
		}
	}
	login()
	used := slow.count()
	slow.stall()
	login() // by the second server
	login()
	if n := slow.count(); used == 0 || n != used {
		t.Errorf("%d connections to the slow server, of them %d before it was", n, used)
	}
	down, all := d.Down()
	if len(down) != 1 || all || down[0].Server != slow.socket.Addr().String() || !errors.Is(down[0].Err, errSlow) {
		t.Errorf("down: %v", down)
	}
	if got := r.events(); len(got) > 0 {
		t.Errorf("told %v, although a server works", got)
	}
	slow.goOn()
	clock.Advance(firstPause)
	login()
	if down, _ := d.Down(); len(down) > 0 {
		t.Errorf("down: %v", down)
	}
}

// TestAllSlow: when all stall, who asks is told in bounded time, and so is who comes
// after; nobody is told that there is no such user.
func TestAllSlow(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	slow := newStalling(t, r.Addr)
	c := posix(t, slow.socket.Addr().String())
	c.Timeout = time.Second
	d := r.open(t, c)
	slow.stall()
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() {
			if _, err := d.Password(t.Context(), "joe", "joes-pass"); !isTemporary(err) {
				t.Error(err)
			}
		})
	}
	clients.Wait()
	if n := slow.count(); n > 2*c.MaxConnections {
		t.Errorf("%d connections", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Password(ctx, "ann", "x"); !isTemporary(err) {
		t.Errorf("a client that has gone: %v", err)
	}
}

// TestFailover: servers that cannot be reached, or are not what they should be, are
// passed over.
func TestFailover(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	nobody, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	d := r.open(t, posix(t, nobody.Addr().String(), r.SecureAddr, r.Addr))
	if _, err := d.Password(t.Context(), "joe", "joes-pass"); err != nil {
		t.Error(err)
	}
	if down, all := d.Down(); len(down) != 2 || all {
		t.Errorf("down %v", down)
	}
	if got := r.events(); len(got) > 0 {
		t.Errorf("told %v", got)
	}
}

// TestGroups: of a user, of groups in groups, and what they allow: posixGroup of RFC 2307,
// groupOfNames of RFC 4519 3.5. Names of entries are compared however they are written
// (RFC 4514 2.4).
func TestGroups(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	for name, c := range map[string]struct {
		change func(*config.LDAP)
		user   string
		groups string
		want   mail.Services
	}{
		"direct":        {func(*config.LDAP) {}, "bob", "senders", mail.Services{Submit: true, Relay: true}},
		"nested":        {func(c *config.LDAP) { c.GroupDepth = 2 }, "bob", "senders staff", mail.Services{Submit: true, Relay: true}},
		"round":         {func(c *config.LDAP) { c.GroupDepth = 10 }, "ann", "round one round two staff users", mail.Services{Submit: true, Relay: true}},
		"none":          {func(*config.LDAP) {}, "today", "", mail.Services{Submit: true, Relay: true}},
		"relay group":   {func(c *config.LDAP) { c.RelayGroups = []string{"others", "SENDERS"} }, "bob", "senders", mail.Services{Submit: true, Relay: true}},
		"not in it":     {func(c *config.LDAP) { c.RelayGroups = []string{"senders"} }, "ann", "round two staff users", mail.Services{Submit: true}},
		"of nothing":    {func(c *config.LDAP) { c.RelayGroups, c.SubmitGroups = []string{"x"}, []string{"x"} }, "joe", "senders users", mail.Services{}},
		"own filter":    {func(c *config.LDAP) { c.GroupFilter = "(&(objectClass=posixGroup)(memberUid={login}))" }, "joe", "users", mail.Services{Submit: true, Relay: true}},
		"memberOf":      {func(c *config.LDAP) { c.GroupAttribute = "memberOf" }, "joe", "senders", mail.Services{Submit: true, Relay: true}},
		"memberOf deep": {func(c *config.LDAP) { c.GroupAttribute, c.GroupDepth = "memberOf", 2 }, "joe", "senders staff", mail.Services{Submit: true, Relay: true}},
		"below nowhere": {func(c *config.LDAP) { c.GroupAttribute, c.GroupBase = "memberOf", "ou=people,dc=example,dc=com" }, "joe", "", mail.Services{Submit: true, Relay: true}},
		"below groups":  {func(c *config.LDAP) { c.GroupAttribute, c.GroupBase = "memberOf", "OU=Groups, dc=example,dc=com" }, "joe", "senders", mail.Services{Submit: true, Relay: true}},
	} {
		settings := posix(t, r.Addr)
		c.change(&settings)
		p, err := r.open(t, settings).Password(t.Context(), c.user, c.user+"s-pass")
		if got := strings.Join(p.Groups, " "); err != nil || got != c.groups || p.Services != c.want {
			t.Errorf("%s: groups %q, %+v, %v; want %q, %+v", name, got, p.Services, err, c.groups, c.want)
		}
	}
}

// TestActiveDirectory: by either name, with addresses, groups, and the ways in which an
// account must not be used.
func TestActiveDirectory(t *testing.T) {
	r := startDirectory(t, "active.ldif")
	c := posix(t, r.Addr)
	c.Schema, c.BindDN, c.CacheTime = config.LDAPActiveDirectory, "cn=postern,cn=Users,"+mailtest.SlapdSuffix, time.Hour
	clock := mail.NewManualClock(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
	d := r.open(t, c, func(o *Options) { o.Clock = clock })
	want := mail.Principal{
		Account: mail.Account{Name: "joe", Source: "corp"}, Services: mail.Services{Submit: true, Relay: true},
		Addresses: []string{"Joe.Doe@example.com", "joe@old.example.com"}, Groups: []string{"Mail Users"},
	}
	for _, user := range []string{"joe", "joe@corp.example.com", "JOE"} {
		if got, err := d.Password(t.Context(), user, "joes-pass"); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %v %s", user, err, cmp.Diff(want, got))
		}
	}
	refused := func(user, password, why string) {
		t.Helper()
		if _, err := d.Password(t.Context(), user, password); !errors.Is(err, auth.ErrInvalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %s", user, err, why)
		}
	}
	refused("off", "offs-pass", "userAccountControl")
	refused("past", "pasts-pass", "expired at 2020-01-01")
	refused("machine$", "machines-pass", "no such user")
	if _, err := d.Password(t.Context(), "later", "laters-pass"); err != nil {
		t.Errorf("before it expires: %v", err)
	}
	clock.Advance(80 * 365 * 24 * time.Hour)
	refused("later", "laters-pass", "expired at 2100")
	// What is remembered of an account that is not let in is looked at anew.
	r.admin(t, func(l *ldap3.Conn) error {
		m := ldap3.NewModifyRequest("cn=Off,cn=Users,"+mailtest.SlapdSuffix, nil)
		m.Replace("userAccountControl", []string{"512"})
		return l.Modify(m)
	})
	if _, err := d.Password(t.Context(), "off", "offs-pass"); err != nil {
		t.Errorf("enabled again: %v", err)
	}
}

// TestRemembered: what is known is not asked again, but for passwords; what has become
// of a user is seen in time.
func TestRemembered(t *testing.T) {
	r := startDirectory(t, "posix.ldif")
	clock := mail.NewManualClock(time.Now())
	d := r.open(t, posix(t, r.Addr), func(o *Options) { o.Clock = clock })
	login := func(user, password string) error {
		_, err := d.Password(t.Context(), user, password)
		return err
	}
	if err := errors.Join(login("ann", "anns-pass"), login("ann", "anns-pass")); err != nil {
		t.Fatal(err)
	}
	if err := login("new", "news-pass"); !errors.Is(err, auth.ErrUnknown) {
		t.Fatal(err)
	}
	r.admin(t, func(l *ldap3.Conn) error {
		m := ldap3.NewModifyRequest("uid=ann"+people, nil)
		m.Replace("userPassword", []string{"other"})
		a := ldap3.NewAddRequest("uid=new"+people, nil)
		for name, value := range map[string]string{"objectClass": "inetOrgPerson", "cn": "new", "sn": "new", "uid": "new", "userPassword": "news-pass"} {
			a.Attribute(name, []string{value})
		}
		return errors.Join(l.Modify(m), l.Add(a), l.ModifyDN(ldap3.NewModifyDNRequest("uid=ann"+people, "uid=ann", true, "ou=groups,"+mailtest.SlapdSuffix)))
	})
	if err := login("ann", "anns-pass"); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("the old password: %v", err)
	}
	if err := login("ann", "other"); err != nil {
		t.Errorf("the entry has moved: %v", err)
	}
	if err := login("new", "news-pass"); !errors.Is(err, auth.ErrUnknown) {
		t.Errorf("that there is nobody is not remembered: %v", err)
	}
	clock.Advance(time.Hour / forUnknown)
	if err := login("new", "news-pass"); err != nil {
		t.Errorf("in time: %v", err)
	}
}

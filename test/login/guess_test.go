package login

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"postern/internal/directory"
	"postern/internal/mail"
	"postern/internal/mailtest"
	"postern/test/harness"
)

// How the guessing goes: so many guesses from so many addresses, of which each is banned
// after so many that were wrong.
const (
	guesses   = 10_000
	addresses = 50
	banAfter  = 10
	// atJoe are the guesses of each address for the account of the good client: together
	// as many as close it to strangers.
	atJoe = 2
)

// TestGuessing: 10,000 wrong logins from 50 addresses, while a client that is known logs
// in over and over. Each of its logins succeeds, and none costs a hash; the guesses cost
// no more hashes than the bans allow; and the bans outlive kill -9.
func TestGuessing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s := start(ctx, t)
	good := "127.0.9.9"
	if code, err := s.loginFrom(ctx, good, user, password); code != "235" {
		t.Fatalf("the good client: %s, %v", code, err)
	}
	before := s.metric(t, "postern_auth_hashes_total")

	attacked := make(chan struct{})
	var attack sync.WaitGroup
	for i := range addresses {
		attack.Go(func() { s.guessFrom(ctx, t, i) })
	}
	go func() { attack.Wait(); close(attacked) }()
	logins := s.loginUntil(ctx, t, good, attacked)

	hashes := s.metric(t, "postern_auth_hashes_total") - before
	if most := addresses * banAfter; hashes > most {
		t.Errorf("%d guesses cost %d hashes, more than the %d that the bans allow", guesses, hashes, most)
	}
	if again := s.metric(t, "postern_auth_verified_again_total"); again < logins {
		t.Errorf("of %d logins of the good client %d cost no hash", logins, again)
	}
	t.Logf("%d guesses cost %d hashes; %d logins of the good client meanwhile cost none", guesses, hashes, logins)
	s.checkClosed(ctx, t)
	s.untilStored(ctx, t)

	s.Kill()
	mailtest.Must(t, s.Start(ctx))
	for i := range addresses {
		if code, err := s.loginFrom(ctx, attacker(i), user, password); code != "421" {
			t.Errorf("%s, after kill -9: %s, %v", attacker(i), code, err)
		}
	}
	if out, err := s.Command(ctx, "ban", "list").CombinedOutput(); err != nil || strings.Count(string(out), "address:127.0.") != addresses {
		t.Errorf("ban list: %v\n%s", err, out)
	}
	if code, err := s.loginFrom(ctx, good, "nobody", password); code != "535" {
		t.Errorf("from the address of the good client, after kill -9: %s, %v", code, err)
	}
	s.checkFacts(t)
}

func attacker(i int) string { return fmt.Sprintf("127.0.1.%d", i+1) }

// guessFrom says the share of one address of all guesses. A connection that is refused
// is a guess that was not heard.
func (s *server) guessFrom(ctx context.Context, t *testing.T, i int) {
	var c *client
	for n := range guesses / addresses {
		if c == nil {
			var greeting string
			var err error
			if c, greeting, err = s.connect(ctx, attacker(i)); err != nil {
				t.Errorf("%s cannot connect: %v", attacker(i), err)
				return
			}
			if c == nil {
				if !strings.HasPrefix(greeting, "421") {
					t.Errorf("%s is greeted with %s", attacker(i), greeting)
				}
				continue
			}
		}
		name := fmt.Sprint("user", i)
		if n < atJoe {
			name = user
		}
		code, err := c.plain(name, fmt.Sprint("guess ", n))
		if code == "235" {
			t.Errorf("%s is let in as %s", attacker(i), name)
		}
		if err != nil || code == "421" {
			c.Close()
			c = nil
		}
	}
	if c != nil {
		c.Close()
	}
}

// loginUntil logs in as the good client until the attack is over, and returns how often.
func (s *server) loginUntil(ctx context.Context, t *testing.T, from string, over chan struct{}) (logins int) {
	for {
		code, err := s.loginFrom(ctx, from, user, password)
		if code != "235" {
			t.Fatalf("login %d of the good client: %s, %v", logins, code, err)
		}
		logins++
		select {
		case <-over:
			return logins
		default:
		}
	}
}

// checkClosed wants the account closed to strangers, who do not even learn whether the
// password is right.
func (s *server) checkClosed(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, p := range []string{password, "wrong"} {
		if code, err := s.loginFrom(ctx, "127.0.2.1", user, p); code != "454" {
			t.Errorf("a stranger at an account under attack: %s, %v", code, err)
		}
	}
}

// untilStored waits until all bans are in the database.
func (s *server) untilStored(ctx context.Context, t *testing.T) {
	t.Helper()
	mailtest.Must(t, harness.Until(ctx, "bans in the database", func() (bool, error) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(s.Data(), "directory", directory.File)+"?mode=ro&_pragma=busy_timeout(60000)")
		if err != nil {
			return false, err
		}
		defer db.Close()
		var bans int
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM bans").Scan(&bans)
		return bans == addresses+1, err
	}))
}

// checkFacts wants each ban told once, and the guesses together.
func (s *server) checkFacts(t *testing.T) {
	t.Helper()
	mailtest.Must(t, s.Stop())
	facts, err := harness.ReadJournal(s.Journal())
	mailtest.Must(t, err)
	bans, told := 0, 0
	for _, f := range facts {
		switch {
		case f.Reason == mail.ReasonBanned:
			bans++
		case f.Reason == mail.ReasonLoginFailed:
			told++
		case f.Command == "AUTH" || f.Command == "connect":
			t.Errorf("one guess has a fact: %+v", f)
			return
		}
	}
	if bans != addresses+1 || told == 0 {
		t.Errorf("the journal tells of %d bans, and %d times of wrong passwords", bans, told)
	}
	if len(facts) > 1000 {
		t.Errorf("there are %d facts of %d guesses", len(facts), guesses)
	}
}

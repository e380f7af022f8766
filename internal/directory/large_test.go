package directory

import (
	"fmt"
	"testing"

	"postern/internal/mail"
	"postern/internal/mailtest"
)

// A look-up takes the same work among many records as among few: the records that it looks
// at, and what it allocates. POSTERN_ALIASES says among how many aliases; there are a tenth
// as many users.
func TestLookupWork(t *testing.T) {
	most := mailtest.Number(t, "POSTERN_ALIASES", 20_000)
	for _, aliases := range []int{10, most} {
		o := newDirectory(t)
		o.change(func(tx *Tx) error { return putMany(tx, aliases/10, aliases) })
		o.reopen()
		for _, test := range []struct {
			what      string
			lookup    func(i int)
			allocates float64
		}{
			{"a domain that is local", func(int) { o.IsLocal("EXAMPLE.com") }, 0},
			{"a domain that is not", func(int) { o.IsLocal("other.example") }, 0},
			{"a user that is not there", func(int) { o.User("nobody") }, 0},
			{"an address that nobody has", func(int) { o.Resolve(mail.Address{Local: "nobody", Domain: "example.com"}) }, 0},
			{"an address elsewhere", func(int) { o.Resolve(mail.Address{Local: "a1", Domain: "other.example"}) }, 0},
			// The address, the text of the targets and the targets.
			{"an alias", func(i int) { o.Resolve(mail.Address{Local: fmt.Sprintf("a%d", i%aliases), Domain: "example.com"}) }, 3 + 2},
			{"the address of a user", func(i int) { o.Resolve(mail.Address{Local: fmt.Sprintf("u%d", i%(aliases/10)), Domain: "example.com"}) }, 2 + 2},
		} {
			i := 0
			if got := testing.AllocsPerRun(1000, func() { test.lookup(i); i++ }); got > test.allocates {
				t.Errorf("of %d aliases, %s: %v allocations, want at most %v", aliases, test.what, got, test.allocates)
			}
		}
		probes := 0
		for i := range aliases {
			before := probes
			if _, found := o.image.resolve("", mail.Address{Local: fmt.Sprintf("a%d", i), Domain: "example.com"}, &probes); !found {
				t.Fatalf("alias %d is not found", i)
			}
			if probes-before > 4 { // each beyond the first has the same 24 bits of its hash
				t.Errorf("alias %d of %d: %d records were looked at", i, aliases, probes-before)
			}
		}
		if limit := aliases + aliases/1000 + 1; probes > limit {
			t.Errorf("of %d aliases all were found with %d records, want at most %d", aliases, probes, limit)
		}
	}
}

// putMany makes users and aliases of one domain.
func putMany(tx *Tx, users, aliases int) error {
	if err := tx.PutDomain(Domain{Name: "example.com"}); err != nil {
		return err
	}
	for i := range users {
		u := User{Login: fmt.Sprintf("u%d", i), Password: testHash, SCRAM: testSCRAM, Enabled: true, Addresses: []string{fmt.Sprintf("u%d@example.com", i)}}
		if err := tx.PutUser(u); err != nil {
			return err
		}
	}
	for i := range aliases {
		a := Alias{Address: fmt.Sprintf("a%d@example.com", i), Targets: []string{fmt.Sprintf("u%d@example.com", i%max(users, 1))}}
		if err := tx.PutAlias(a); err != nil {
			return err
		}
	}
	return nil
}

// The table behaves as a map does, whatever is put and removed.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 128, 129, 1, 1, 200})
	f.Fuzz(func(t *testing.T, steps []byte) {
		table, want := newTable(0), map[string]string{}
		for i, step := range steps {
			key, value := fmt.Sprintf("k%d", step%64), fmt.Sprintf("v%d", i)
			switch {
			case step < 160:
				table.put([]byte(key), []byte(value))
				want[key] = value
			case step < 250:
				table.remove([]byte(key))
				delete(want, key)
			case step < 253:
				table = table.clone()
			default:
				table.rebuild(table.live)
			}
		}
		found := 0
		for key, value := range table.all {
			if found++; want[string(key)] != string(value) {
				t.Errorf("key %q has %q, want %q", key, value, want[string(key)])
			}
		}
		if found != len(want) || table.len() != len(want) {
			t.Errorf("%d keys of %d, want %d", found, table.len(), len(want))
		}
		for key, value := range want {
			var probes int
			if got := table.get([]byte(key), &probes); string(got) != value {
				t.Errorf("key %q has %q, want %q", key, got, value)
			}
		}
	})
}

// What is removed or replaced does not stay in memory, and does not make look-ups slow.
func TestTableReusesSpace(t *testing.T) {
	table, value := newTable(0), make([]byte, 1000)
	for i := range 100_000 {
		key := fmt.Appendf(nil, "k%d", i)
		table.put(key, value)
		if i >= 100 {
			table.remove(fmt.Appendf(nil, "k%d", i-100))
		}
		table.put([]byte("same"), value)
	}
	if table.len() != 101 {
		t.Errorf("%d keys", table.len())
	}
	if size := table.size(); size > 6*chunkSize {
		t.Errorf("101 records of 1,000 octets take %d", size)
	}
	if len(table.slots) > 1024 {
		t.Errorf("101 records have %d slots", len(table.slots))
	}
}

// size returns how many octets the table takes.
func (t *table) size() int { return 8*len(t.slots) + len(t.chunks)*chunkSize }

package submit

import (
	"os/user"
	"strconv"
	"strings"

	"postern/internal/mail"
)

// lookup returns a user and his full name, as far as the host knows them.
func lookup(uid uint32) (*mail.User, string) {
	u := &mail.User{UID: uid}
	known, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return u, ""
	}
	u.Name = known.Username
	full, _, _ := strings.Cut(known.Name, ",")
	if plain("", full) != nil {
		return u, ""
	}
	// passwd(5): "&" stands for the login name, its first letter large.
	return u, strings.ReplaceAll(full, "&", strings.ToUpper(u.Name[:min(1, len(u.Name))])+u.Name[min(1, len(u.Name)):])
}

// IsUser reports whether a name is that of a user of this host.
func IsUser(name string) bool {
	_, err := user.Lookup(name)
	return err == nil
}

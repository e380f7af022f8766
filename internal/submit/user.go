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
	return u, fullName(known.Name, u.Name)
}

// fullName is what the list of users has for a name (passwd(5)): what stands
// before the first comma, with the login name, its first letter large, for each
// "&". It is empty if that cannot stand in a header.
func fullName(listed, login string) string {
	full, _, _ := strings.Cut(listed, ",")
	if login != "" {
		full = strings.ReplaceAll(full, "&", strings.ToUpper(login[:1])+login[1:])
	}
	if plain("", full) != nil {
		return ""
	}
	return full
}

// IsUser reports whether a name is that of a user of this host.
func IsUser(name string) bool {
	_, err := user.Lookup(name)
	return err == nil
}

package config

import (
	"path/filepath"
	"strings"
)

// Secret says where a secret is kept. The secret itself is in no
// configuration; whoever builds from it reads the secret.
type Secret struct {
	Source SecretSource
	// Name is a path, or the name of a variable or credential.
	Name string
}

// SecretSource is a place where secrets are kept.
type SecretSource string

// The places where secrets are kept.
const (
	SecretFile       SecretSource = "file"       // a file of one line
	SecretEnv        SecretSource = "env"        // a variable of the environment
	SecretCredential SecretSource = "credential" // a file in $CREDENTIALS_DIRECTORY (systemd.exec(5))
)

// String returns the place as it is written in the file: source:name.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return string(s.Source) + ":" + s.Name
}

// IsZero reports whether no secret is named.
func (s Secret) IsZero() bool { return s == Secret{} }

const secretKind = "secret"

const secretHint = `write where it is kept: "file:/etc/postern/NAME.secret", "env:VARIABLE" or "credential:NAME"`

// secretPlace is the type of settings that hold a secret. No fault shows what
// was written: it may be the secret.
var secretPlace = scalar[Secret]{
	kind: secretKind,
	read: func(n node) (Secret, *fault) {
		if n.kind != nodeText {
			return Secret{}, faultf(secretHint, "is not text that says where the secret is kept")
		}
		source, name, _ := strings.Cut(n.text, ":")
		s := Secret{Source: SecretSource(source), Name: name}
		switch s.Source {
		case SecretFile:
			return s, checkSecretName(name != "" && !strings.ContainsRune(name, 0), `"file:" needs a path behind it`)
		case SecretEnv:
			return s, checkSecretName(isVariable(name), `"env:" needs the name of a variable behind it, of letters, digits and underscores`)
		case SecretCredential:
			return s, checkSecretName(isFileName(name), `"credential:" needs the name of a credential behind it, without slashes`)
		}
		return Secret{}, faultf(secretHint, "does not say where the secret is kept; the secret itself does not belong into this file, which is shown and copied")
	},
	show: func(s Secret) string { return filePath.show(s.String()) },
}

func checkSecretName(good bool, message string) *fault {
	if good {
		return nil
	}
	return &fault{message: message, hint: secretHint}
}

// isVariable reports whether a name can be that of a variable of the
// environment (POSIX.1-2017, Base Definitions 8.1).
func isVariable(name string) bool {
	other := func(r rune) bool {
		return !(r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	}
	return name != "" && !(name[0] >= '0' && name[0] <= '9') && !strings.ContainsFunc(name, other)
}

func isFileName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// secret is a setting that names a secret. A relative path is taken from the
// directory of the file it stands in.
func secret(field func(fields) *Secret) value {
	v := one(secretPlace, field, Secret{})
	read := v.read
	v.read = func(n node, f fields, report reportFunc) {
		read(n, f, report)
		if s := field(f); s.Source == SecretFile {
			s.Name = inDir(f.dir, s.Name)
		}
	}
	return v
}

// inDir returns a path, from dir if it is relative.
func inDir(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

package credentials

import (
	"net/url"

	"postern/internal/directory"
	"postern/internal/mail"
)

// What is known of Microsoft 365 and of Google. The scopes are those of SMTP.
const (
	microsoftLogin  = "https://login.microsoftonline.com/"
	microsoftToken  = "/oauth2/v2.0/token"
	microsoftHost   = "smtp.office365.com"
	microsoftOwn    = "https://outlook.office365.com/.default" // of an application
	microsoftOfUser = "https://outlook.office.com/SMTP.Send"   // of a user who has consented
	offlineAccess   = "offline_access"                         // so that there is a refresh token again
	googleToken     = "https://oauth2.googleapis.com/token"
	googleHost      = "smtp.gmail.com"
	googleScope     = "https://mail.google.com/"
)

// fill sets what a preset knows and the draft does not say. The hosts and mechanisms are
// filled in once: whoever takes them away later means it.
func fill(d *Draft, fresh bool) {
	r := &d.Record
	var hosts, mechanisms []string
	switch r.Preset {
	case directory.PresetMicrosoft:
		if d.Tenant != "" {
			r.TokenURL = microsoftLogin + url.PathEscape(d.Tenant) + microsoftToken
		}
		if len(r.Scopes) == 0 {
			r.Scopes = []string{microsoftOwn}
			if r.RefreshToken != "" || d.Secrets[fieldRefreshToken] != "" {
				r.Scopes = []string{microsoftOfUser, offlineAccess}
			}
		}
		hosts, mechanisms = []string{microsoftHost}, []string{mail.XOAuth2}
	case directory.PresetGoogle:
		if r.TokenURL == "" {
			r.TokenURL = googleToken
		}
		if len(r.Scopes) == 0 {
			r.Scopes = []string{googleScope}
		}
		hosts = []string{googleHost}
	}
	if fresh && r.Hosts == nil {
		r.Hosts = hosts
	}
	if fresh && r.Mechanisms == nil {
		r.Mechanisms = mechanisms
	}
}

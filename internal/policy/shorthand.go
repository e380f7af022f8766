package policy

import (
	"fmt"

	"postern/internal/config"
	"postern/internal/mail"
)

// Settings that stand for handlers: one function for each, which returns the handlers
// as a person could write them. They are for one listener, in a layer of their own,
// and have the place of the setting.

// shorthand returns the handlers that the settings of a listener stand for.
func shorthand(l *config.Listener) []draft {
	var list []draft
	for _, expand := range []func(*config.Listener) []draft{rejectClients, relayOption, accounts} {
		list = append(list, expand(l)...)
	}
	return list
}

// rejectClients refuses the clients of reject_clients. One that is in trust as well is
// refused, too, unless override_reject says otherwise.
func rejectClients(l *config.Listener) []draft {
	if len(l.RejectClients)+len(l.RejectLists) == 0 {
		return nil
	}
	when := "client.rejected"
	if l.OverrideReject {
		when += " && !client.trusted"
	}
	return []draft{settingDraft(l, "reject_clients", connections, when,
		"554 5.7.1 No mail is taken from ${client.address}")}
}

// relayOption refuses recipients at other hosts, as relay and auth have it. An open
// relay refuses nobody, and needs no handler.
func relayOption(l *config.Listener) []draft {
	may := relayed(l)
	if may == "" {
		return nil
	}
	who := clientDenied
	if l.Auth != config.AuthOff {
		who = whoDenied
	}
	return []draft{settingDraft(l, "relay", relay, "!"+may, "550 5.7.1 Relaying denied: ${"+who+"}")}
}

// clientDenied says of a client that it may not relay, and why that is if it should;
// whoDenied likewise, and of an account that it may not.
const (
	clientDenied = `client.masked == "" ? client.address + " may not send to this domain from here" : client.masked + "; it is not trusted for its address"`
	whoDenied    = anAccount + ` ? authentication.subject.id + " may not send to this domain" : (` + clientDenied + ")"
)

// settingDraft is a handler for a setting of a listener, which refuses when a
// condition is true.
func settingDraft(l *config.Listener, setting string, in layer, when, reply string) draft {
	at := config.AtConnect
	if in != connections {
		at = config.AtRcpt
	}
	place := l.PlaceOf("listener." + setting)
	name := fmt.Sprintf("%s of %s", setting, l.Name)
	return draft{layer: in, ours: true, Handler: &config.Handler{
		Placed: config.Placed{Place: place}, Name: name, At: at, Listeners: []config.Text{madeText(l.Name, place)}, When: madeText(when, place),
		Steps: []config.Step{{Name: madeText("reject", place), Argument: &config.Argument{Text: madeText(reply, place)}}},
	}}
}

// madeText is text that no file has, at the place that it stands for.
func madeText(text string, place mail.Place) config.Text {
	return config.Text{Text: text, Place: place}
}

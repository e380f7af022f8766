package policy

import (
	"fmt"

	"postern/internal/config"
)

// Conditions about accounts, and replies to those who have none or the wrong one.
const (
	noAccount  = `authentication.subject.id == ""`
	anAccount  = `authentication.subject.id != ""`
	postmaster = `smtp.rcpt.to.matches("(?i)^postmaster(@.*)?$")`

	authRequired = "530 5.7.0 Authentication required"
)

// accounts are the handlers that auth of a listener stands for, beside the relay
// option and the verified senders, of which it is a part.
func accounts(l *config.Listener) []draft {
	if l.Auth == config.AuthOff {
		return nil
	}
	list := []draft{
		accountDraft(l, "services", config.AtMail, anAccount+" && !authentication.submit", "550 5.7.1 ${authentication.subject.id} may not send mail"),
		limitDraft(l, config.AtMail), limitDraft(l, config.AtRcpt),
	}
	switch l.Auth {
	case config.AuthRequired:
		d := accountDraft(l, "account", config.AtMail, noAccount, authRequired)
		d.Priority = 1
		list = append(list, d)
	case config.AuthRelayAndLocal:
		d := accountDraft(l, "account", config.AtRcpt, noAccount+" && !(relay.allowed || smtp.rcpt.local && "+postmaster+")", authRequired)
		d.Priority = 1
		list = append(list, d)
	}
	return list
}

// accountDraft is a handler of auth, which refuses when a condition is true.
func accountDraft(l *config.Listener, about string, at config.Command, when, reply string) draft {
	d := settingDraft(l, "auth", relay, when, reply)
	d.At, d.Name = at, fmt.Sprintf("auth of %s (%s)", l.Name, about)
	return d
}

// limitDraft counts what accounts send.
func limitDraft(l *config.Listener, at config.Command) draft {
	d := accountDraft(l, "limits", at, "authentication.limited", "")
	d.layer = rates
	d.Steps = []config.Step{madeStep("limit_account", d.Place)}
	return d
}

// relayed is the condition under which a listener takes a recipient at another host;
// empty when it takes all. Mail for this host, and what a step allow_relay has allowed,
// is never relaying. Who has an account is judged by that, and not by his address.
func relayed(l *config.Listener) string {
	// What a client may do for its address, and what everybody may do.
	byAddress, of := "", "smtp.rcpt.local || "
	switch l.Relay {
	case config.RelayNear:
		of += "smtp.rcpt.near || "
	case config.RelayClients:
		byAddress = "client.trusted"
	case config.RelayBoth:
		of += "smtp.rcpt.near || "
		byAddress = "client.trusted"
	case config.RelayEverybody:
		if l.Auth == config.AuthOff {
			return ""
		}
		byAddress = "true"
	}
	switch {
	case l.Auth == config.AuthOff && byAddress != "":
		of += byAddress + " || "
	case l.Auth == config.AuthOff:
	case l.Auth.Accounts() || byAddress == "":
		of += "authentication.relay || "
	default:
		of += "(" + noAccount + " ? " + byAddress + " : authentication.relay) || "
	}
	return "(" + of + "relay.allowed)"
}

// ownSenders are the handlers that keep an account from sending as somebody else. With
// addresses that are recorded for it, it can use no other sender; verify_sender, verify_from
// and the words of auth ask more of it.
func (c *compiler) ownSenders(l *config.Listener) []draft {
	const stranger = anAccount + ` && smtp.mail.from != "" && !smtp.mail.own`
	const refusal = "553 5.7.1 ${authentication.subject.id} may not send as ${smtp.mail.from}"
	all := l.Auth == config.AuthRelayAndLocal
	var drafts []draft
	switch {
	case all || l.VerifySender == config.VerifyAccount:
		drafts = append(drafts, c.verifying(l, "verify_sender", stranger, rejecting(l, "verify_sender", refusal)))
	case l.Auth != config.AuthOff:
		d := accountDraft(l, "sender", config.AtMail, "authentication.addresses.size() > 0 && "+stranger, refusal)
		d.layer = senders
		drafts = append(drafts, d)
	}
	if all || l.VerifyFrom == config.VerifyAccount {
		const stranger = anAccount + " && !message.own"
		refusal := rejecting(l, "verify_from", "554 5.7.1 ${authentication.subject.id} may not send a message with this author: From, or Sender, must be the account's own and certain")
		drafts = append(drafts, c.verifying(l, "verify_from", stranger, refusal))
		if l.VerifyAction == config.VerifyRewrite {
			drafts = append(drafts, unreadable(l, stranger, refusal))
		}
	}
	for i := range drafts { // before what other words of the settings ask
		drafts[i].Priority += 2
	}
	return drafts
}

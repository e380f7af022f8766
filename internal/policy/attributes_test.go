package policy

import (
	"fmt"
	"strings"
	"testing"

	"postern/internal/config"
	"postern/internal/mail"
)

// attributeValues are what each attribute is in the conversation of talk.at, as text,
// at the last command that knows it.
var attributeValues = map[string]string{
	"smtp.helo.domain":          "client.example",
	"smtp.helo.greeting":        "Hello client.example",
	"authentication.subject.id": "joe",
	"authentication.mechanism":  "PLAIN",
	"authentication.source":     "directory",
	"authentication.groups":     "",
	"authentication.addresses":  "",
	"authentication.submit":     "true",
	"authentication.relay":      "true",
	"authentication.limited":    "false",
	"smtp.mail.own":             "false",
	"message.own":               "false",
	"smtp.mail.from":            "joe@example.com",
	"smtp.rcpt.to":              "ann@example.org",
	"smtp.rcpt.recipients":      "ann@example.org",
	"content.body":              "--b",
	"message.source":            "25",
	"message.protocol.type":     "smtp-tcp",
	"monitoring.enabled":        "false",
	"client.address":            "192.0.2.66",
	"client.port":               "4711",
	"client.trusted":            "false",
	"client.masked":             "",
	"client.rejected":           "false",
	"client.network":            "192.0.2.0/24",
	"listener.name":             "smtp",
	"tls.version":               "",
	"tls.cipher":                "",
	"relay.allowed":             "false",
	"smtp.rcpt.local":           "false",
	"smtp.rcpt.near":            "false",
	"message.size":              fmt.Sprint(content(sample).Size()),
	"message.subject":           "Grüße",
	"message.subjects":          "Grüße",
	"message.from":              "joe@example.com",
	"message.author":            "joe@example.com",
	"message.originators":       "joe@example.com",
	"message.header":            "", // has no text
	"message.attachments":       "bill.pdf",
	"message.types":             "multipart/mixed, text/plain, application/pdf",
	"message.readable":          "true",
	"message.readable_header":   "true",
	"message.readable_parts":    "true",
	"message.defects":           "",
	"dnsbl.score":               "7",
	"dnsbl.lists":               "zen",
	"dnsbl.text":                "192.0.2.66 is listed by zen",
	"tags":                      "",
	"now":                       "2024-02-05T09:00:00Z",
}

// TestEveryAttributeAtEveryCommand: each has its value from the command on that the
// table says, and is refused before, saying when it is known.
func TestEveryAttributeAtEveryCommand(t *testing.T) {
	for i := range attributes {
		a := &attributes[i]
		want, has := attributeValues[a.name]
		if !has {
			t.Errorf("%s has no value to compare with", a.name)
		}
		for _, at := range config.Commands {
			text := handler("rule", string(at), fmt.Sprintf(`{ log = "%s=${%s}" }`, a.name, a.name))
			if a.name == "message.header" {
				text = handler("rule", string(at), `{ log = "message.header=" }`, `when = 'size(message.header) >= 0'`)
			}
			e, problems := Compile(options(load(t, head+text)))
			if !a.known(at) {
				if len(problems) != 1 || !strings.Contains(problems[0].String(), "not known at "+string(at)) {
					t.Errorf("%s at %s: %v, want that it is not known", a.name, at, problems)
				}
				continue
			}
			if len(problems) > 0 {
				t.Errorf("%s at %s: %v", a.name, at, problems)
				continue
			}
			if later := config.Commands[len(config.Commands)-1]; at == later || a.only {
				checkAttribute(t, e, a, at, want)
			}
		}
	}
}

func checkAttribute(t *testing.T, e *Engine, a *attribute, at config.Command, want string) {
	t.Helper()
	s := begin(t, e, "192.0.2.66")
	trail := s.at(at).Trail
	if at == config.AtData {
		trail = s.data(content(sample)).Recipients[0].Trail
	}
	effect := trail[0].Effect
	if !strings.HasPrefix(effect, fmt.Sprintf("logs \"%s=%s", a.name, want)) || (a.name != "content.body" && effect != fmt.Sprintf("logs %q", a.name+"="+want)) {
		t.Errorf("%s: the log has %s, want %q", a.name, effect, want)
	}
}

// TestOtherOrigins are attributes of other clients than the usual one.
func TestOtherOrigins(t *testing.T) {
	e := compile(t, handler("rule", "mail", `{ log = "${client.address}|${client.trusted}|${tls.version}|${message.protocol.type}|${authentication.subject.id}|${listener.name}|${smtp.mail.from}" }`))
	for want, o := range map[string]mail.Origin{
		"127.0.0.1|true|TLS 1.3|smtp-ssl||smtp|": {Listener: "smtp", Client: origin("::ffff:127.0.0.1").Client, TLS: &mail.TLS{Version: "TLS 1.3"}},
		"fe80::1|false||smtp-tcp||inside|":       {Listener: "inside", Client: origin("fe80::1%eth0").Client},
		"|true||smtp-tcp|joe|sendmail|":          {Listener: "sendmail", User: &mail.User{UID: 1000, Name: "joe"}},
	} {
		s := &talk{t: t, Session: e.Begin(o)}
		if d := s.mail("<>"); d.Trail[0].Effect != fmt.Sprintf("logs %q", want) {
			t.Errorf("%+v: %s, want %q", o, d.Trail[0].Effect, want)
		}
	}
}

// TestFunctions works out a condition for each thing that conditions can do.
func TestFunctions(t *testing.T) {
	for condition, want := range map[string]bool{
		`listed("partners", client.address)`:                      true,
		`listed("friends", smtp.mail.from)`:                       true,
		`listed("friends", "ann@example.org")`:                    false,
		`in_network(client.address, "192.0.2.0/24")`:              true,
		`in_network(client.address, "192.0.2.66")`:                true,
		`in_network(client.address, "2001:db8::/32")`:             false,
		`in_network("", "0.0.0.0/0")`:                             false,
		`domain(smtp.mail.from) == "example.com"`:                 true,
		`domain("joe@BÜCHER.example") == "xn--bcher-kva.example"`: true,
		`domain("") == ""`:                                        true,
		`header("x-MANY") == "one"`:                               true,
		`header("X-None") == ""`:                                  true,
		`header("Subject") == message.subject`:                    true,
		`lower("ÄB") == "äb"`:                                     true,
		`message.header["x-many"] == ["one", "two"]`:              true,
		`"application/pdf" in message.types`:                      true,
		`message.attachments.exists(n, n.endsWith(".pdf"))`:       true,
		`smtp.rcpt.recipients.size() == 1`:                        true,
		`message.subject.matches("^Gr.*e$")`:                      true,
		`now < timestamp("2024-02-05T09:00:01Z")`:                 true,
		`now.getHours() == 9`:                                     true,
		`my.value == "" && message.size > 0`:                      true,
	} {
		text := handler("setter", "connect", `{ set = "my.value", to = "" }`) + handler("rule", "data", `{ tag = "yes" }`, "when = '''"+condition+"'''")
		d := deliver(t, compile(t, text), content(sample), "ann@example.org")
		if got := len(d.Recipients) == 1 && len(d.Recipients[0].Treatment.Tags) == 1; got != want {
			t.Errorf("%s is %v: %+v", condition, got, d)
		}
	}
}

// TestSet: what a step sets is seen by those that come after it in its scope.
func TestSet(t *testing.T) {
	e := compile(t, handler("connect", "connect", `{ set = "my.a", to = "session" }`)+
		handler("mail", "mail", `{ set = "my.a", to = "${my.a} transaction" }`, `sender = ["joe@*"]`)+
		handler("rcpt", "rcpt", `{ set = "my.a", to = "${my.a} recipient" }, { tag = "x" }, { log = "${my.a} ${tags}" }`)+
		handler("data", "data", `{ log = "${my.a} ${tags}" }`))
	s := begin(t, e, "192.0.2.66")
	s.connect()
	for from, want := range map[string][2]string{
		"joe@example.com": {`logs "session transaction recipient x"`, `logs "session transaction "`},
		"ann@example.com": {`logs "session recipient x"`, `logs "session "`},
	} {
		s.mail(from)
		d, _ := s.rcpt("bob@example.org")
		end := s.data(content(sample))
		if got := [2]string{d.Trail[2].Effect, end.Recipients[0].Trail[len(d.Trail)].Effect}; got != want {
			t.Errorf("from %s: %q, want %q", from, got, want)
		}
	}
}

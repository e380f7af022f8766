# Sends a message with Python's standard library:
# HOST PORT CA MESSAGE RECIPIENTS MODE MECHANISM USER SECRET CERTIFICATE;
# CA is empty without TLS, MECHANISM for a client that says nothing of who it is.
import smtplib, ssl, sys

host, port, ca, message, recipients, mode, mechanism, user, secret, certificate = sys.argv[1:]
context = ssl.create_default_context(cafile=ca) if ca else None
implicit = ca and mode == "implicit"
with (smtplib.SMTP_SSL(host, int(port), context=context) if implicit else smtplib.SMTP(host, int(port))) as s:
    if mechanism: # else it would tell all that it sends
        s.set_debuglevel(1)
    if ca and not implicit:
        s.starttls(context=context)
    if mechanism:
        s.ehlo_or_helo_if_needed()
        s.user, s.password = user, secret
        s.auth(mechanism, {
            "PLAIN": s.auth_plain,
            "LOGIN": s.auth_login,
            "XOAUTH2": lambda challenge=None: "" if challenge else f"user={user}\1auth=Bearer {secret}\1\1",
        }[mechanism])
    refused = s.sendmail("sender@example.org", open(recipients).read().split(), open(message, "rb").read(), ["BODY=8BITMIME"])
    assert refused == {}, refused

# Sends a message with Python's standard library:
# HOST PORT CA MESSAGE RECIPIENTS; CA is empty without TLS.
import smtplib, ssl, sys

host, port, ca, message, recipients = sys.argv[1:]
with smtplib.SMTP(host, int(port)) as s:
    if ca:
        s.starttls(context=ssl.create_default_context(cafile=ca))
    refused = s.sendmail("sender@example.org", open(recipients).read().split(), open(message, "rb").read(), ["BODY=8BITMIME"])
    assert refused == {}, refused

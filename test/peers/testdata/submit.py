"""Sends the messages described on standard input, as JSON, to the server that
is named as the argument, with the parameters of RFC 3461 given for each."""

import json
import smtplib
import sys


def submit(server, message):
    code, reply = server.mail(message["from"], message["options"])
    assert code == 250, reply
    for recipient in message["to"]:
        code, reply = server.rcpt(recipient["address"], recipient["options"])
        assert code == 250, reply
    code, reply = server.data(message["content"].encode())
    assert code == 250, reply


host, port = sys.argv[1].split(":")
with smtplib.SMTP(host, int(port)) as server:
    server.ehlo("client.example")
    for message in json.load(sys.stdin):
        submit(server, message)

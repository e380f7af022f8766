"""Compares what was sent with what came, decoded: a list of pairs in JSON on
standard input, octets in base64. A pair with a "part" is about the message that
came back as the third part of a report; with part "headers" only its header
did. Prints what differs, as a list."""

import base64
import email
import email.policy
import json
import sys

# What a relay adds or changes when it passes on or converts a message.
CHANGED = {"received", "return-path", "mime-version", "content-transfer-encoding"}


def parse(octets):
    return email.message_from_bytes(octets, policy=email.policy.compat32)


def header(message):
    return [(name.lower(), value) for name, value in message.raw_items() if name.lower() not in CHANGED]


def leaves(message):
    """The contents of all parts, with their types, decoded."""
    return [(part.get_content_type(), part.get_payload(decode=True)) for part in message.walk() if not part.is_multipart()]


def returned(report):
    part = report.get_payload(2)
    return part.get_payload(0) if part.is_multipart() else parse(part.get_payload(decode=True))


def differences(pair):
    want, got = parse(base64.b64decode(pair["want"])), parse(base64.b64decode(pair["got"]))
    if pair["part"]:
        got = returned(got)
    if header(want) != header(got):
        yield "header %.500r, want %.500r" % (header(got), header(want))
    if pair["part"] == "headers":
        if got.get_payload(decode=True):
            yield "a text came with the header"
    elif leaves(want) != leaves(got):
        yield "parts %.500r, want %.500r" % (leaves(got), leaves(want))


json.dump(["%s: %s" % (pair["id"], d) for pair in json.load(sys.stdin) for d in differences(pair)], sys.stdout)

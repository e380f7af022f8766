"""Reads reports, base64 in a JSON list on standard input, as a mail program
that is written in Python would, and prints what it found in each."""

import base64
import email
import email.policy
import json
import re
import sys


def fields(message):
    return {name: str(value) for name, value in message.items()}


def groups(part):
    """The groups of fields of the part for programs (RFC 3464 2.1)."""
    payload = part.get_payload()
    if part.get_content_type() == "message/delivery-status":
        return [fields(group) for group in payload]
    # Python knows no message/global-delivery-status, and takes it for a
    # message: the first group for its header, the others for its text.
    first, = payload
    rest = re.split(r"\r?\n\r?\n", first.get_payload().strip())
    return [fields(first)] + [fields(email.message_from_string(group, policy=first.policy)) for group in rest]


def defects(message):
    found = [repr(defect) for part in message.walk() for defect in part.defects]
    return found + [repr(d) for part in message.walk() for value in part.values() for d in value.defects]


def parse(raw):
    """UTF-8 where all is, which Python does not expect from octets; octets else."""
    try:
        return email.message_from_string(raw.decode("utf-8"), policy=email.policy.SMTPUTF8)
    except UnicodeDecodeError:
        return email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)


def read(raw):
    octets = email.message_from_bytes(raw, policy=email.policy.default)
    message = parse(raw)
    text, status, original = message.get_payload()
    if original.get_content_maintype() == "message":
        original = original.get_payload(0) if original.is_multipart() else original
    else:
        original = email.message_from_string(original.get_payload(), policy=email.policy.SMTPUTF8)
    body = None if original.is_multipart() else original.get_payload()
    per_message, *per_recipient = groups(status)
    return {
        "type": message.get_content_type(),
        "report_type": message.get_param("report-type"),
        "parts": [part.get_content_type() for part in message.get_payload()],
        "defects": defects(message),
        "header": fields(message),
        "text": octets.get_payload(0).get_content(),
        "message": per_message,
        "recipients": per_recipient,
        "returned": {"Subject": original["Subject"], "id": original["Message-ID"], "body": body},
    }


json.dump([read(base64.b64decode(raw)) for raw in json.load(sys.stdin)], sys.stdout)

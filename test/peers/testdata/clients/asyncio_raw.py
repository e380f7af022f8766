# Sends a message over bare asyncio streams, all commands of the envelope at
# once: HOST PORT CA MESSAGE RECIPIENTS MODE MECHANISM USER SECRET CERTIFICATE;
# CA is empty without TLS, MECHANISM for a client that says nothing of who it is.
import asyncio, base64, ssl, sys

host, port, ca, message, recipients, mode, mechanism, user, secret, certificate = sys.argv[1:]


def encode(text):
    return base64.b64encode(text.encode()) or b"="


async def reply(reader, want):
    while True:
        line = await reader.readline()
        print(line.decode(), end="")
        assert line.startswith(want), line
        if line[3:4] != b"-":
            return


def context():
    c = ssl.create_default_context(cafile=ca)
    if certificate:
        c.load_cert_chain(certificate)
    return c


async def login(reader, writer):
    lines = {
        "PLAIN": [b"AUTH PLAIN " + encode("\0" + user + "\0" + secret)],
        "LOGIN": [b"AUTH LOGIN", encode(user), encode(secret)],
        "EXTERNAL": [b"AUTH EXTERNAL " + encode(user)],
    }[mechanism]
    for line in lines[:-1]:
        writer.write(line + b"\r\n")
        await reply(reader, b"334")
    writer.write(lines[-1] + b"\r\n")
    await reply(reader, b"235")


async def main():
    implicit = context() if ca and mode == "implicit" else None
    reader, writer = await asyncio.open_connection(host, int(port), ssl=implicit)
    await reply(reader, b"220")
    writer.write(b"EHLO client.example\r\n")
    await reply(reader, b"250")
    if ca and not implicit:
        writer.write(b"STARTTLS\r\n")
        await reply(reader, b"220")
        transport = await asyncio.get_running_loop().start_tls(
            writer.transport, writer.transport.get_protocol(), context(), server_hostname=host)
        writer._transport = transport
        writer.write(b"EHLO client.example\r\n")
        await reply(reader, b"250")
    if mechanism:
        await login(reader, writer)
    to = open(recipients).read().split()
    writer.write(b"MAIL FROM:<sender@example.org> BODY=8BITMIME\r\n")
    for r in to:
        writer.write(b"RCPT TO:<%s>\r\n" % r.encode())
    writer.write(b"DATA\r\n")
    for _ in range(len(to) + 1):
        await reply(reader, b"250")
    await reply(reader, b"354")
    content = open(message, "rb").read()
    writer.write(content.replace(b"\r\n.", b"\r\n..") + b".\r\nQUIT\r\n")
    await writer.drain()
    await reply(reader, b"250")
    await reply(reader, b"221")
    writer.transport.abort()


asyncio.run(main())

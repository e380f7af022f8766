# Sends a message over bare asyncio streams, all commands of the envelope at
# once: HOST PORT CA MESSAGE RECIPIENTS; CA is empty without TLS.
import asyncio, ssl, sys

host, port, ca, message, recipients = sys.argv[1:]


async def reply(reader, want):
    while True:
        line = await reader.readline()
        assert line.startswith(want), line
        if line[3:4] != b"-":
            return


async def main():
    reader, writer = await asyncio.open_connection(host, int(port))
    await reply(reader, b"220")
    writer.write(b"EHLO client.example\r\n")
    await reply(reader, b"250")
    if ca:
        writer.write(b"STARTTLS\r\n")
        await reply(reader, b"220")
        transport = await asyncio.get_running_loop().start_tls(
            writer.transport, writer.transport.get_protocol(), ssl.create_default_context(cafile=ca), server_hostname=host)
        writer._transport = transport
        writer.write(b"EHLO client.example\r\n")
        await reply(reader, b"250")
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

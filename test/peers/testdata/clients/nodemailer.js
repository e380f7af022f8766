// Sends a message with nodemailer:
// HOST PORT CA MESSAGE RECIPIENTS; CA is empty without TLS.
const fs = require('fs');
const nodemailer = require('/usr/share/nodejs/nodemailer');

const [host, port, ca, message, recipients] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  host, port: Number(port), secure: false, requireTLS: ca !== '', tls: ca ? { ca: fs.readFileSync(ca) } : {},
});
transport.sendMail({
  envelope: { from: 'sender@example.org', to: fs.readFileSync(recipients, 'utf8').trim().split('\n') },
  raw: fs.readFileSync(message),
}).then((done) => {
  if (done.rejected.length) throw new Error(done.rejected);
}).catch((failure) => { console.error(failure); process.exit(1); });

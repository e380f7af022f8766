// Sends a message with nodemailer:
// HOST PORT CA MESSAGE RECIPIENTS MODE MECHANISM USER SECRET CERTIFICATE;
// CA is empty without TLS, MECHANISM for a client that says nothing of who it is.
const fs = require('fs');
const nodemailer = require('/usr/share/nodejs/nodemailer');

const [host, port, ca, message, recipients, mode, mechanism, user, secret] = process.argv.slice(2);
const secure = ca !== '' && mode === 'implicit';
const options = { host, port: Number(port), secure, requireTLS: ca !== '' && !secure, tls: ca ? { ca: fs.readFileSync(ca) } : {} };
if (mechanism === 'XOAUTH2') {
  options.auth = { type: 'OAuth2', user, accessToken: secret };
} else if (mechanism) {
  options.auth = { user, pass: secret };
  options.authMethod = mechanism;
}
if (mechanism) options.logger = options.debug = true;
nodemailer.createTransport(options).sendMail({
  envelope: { from: 'sender@example.org', to: fs.readFileSync(recipients, 'utf8').trim().split('\n') },
  raw: fs.readFileSync(message),
}).then((done) => {
  if (done.rejected.length) throw new Error(done.rejected);
}).catch((failure) => { console.error(failure); process.exit(1); });

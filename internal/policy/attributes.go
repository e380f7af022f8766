package policy

// Command is a command of SMTP at which handlers run, or the connection itself.
type Command string

// The commands, in the order in which they come.
const (
	AtConnect Command = "connect"
	AtHelo    Command = "helo"
	AtAuth    Command = "auth"
	AtMail    Command = "mail"
	AtRcpt    Command = "rcpt"
	AtData    Command = "data"
)

// Attribute is the name of a value that conditions and texts can use.
type Attribute string

// The attributes that users of gateways know, under their own names.
const (
	HeloDomain        Attribute = "smtp.helo.domain"
	HeloGreeting      Attribute = "smtp.helo.greeting"
	SubjectID         Attribute = "authentication.subject.id"
	MailFrom          Attribute = "smtp.mail.from"
	RcptTo            Attribute = "smtp.rcpt.to"
	RcptRecipients    Attribute = "smtp.rcpt.recipients"
	ContentBody       Attribute = "content.body"
	MessageSource     Attribute = "message.source"
	ProtocolType      Attribute = "message.protocol.type"
	MonitoringEnabled Attribute = "monitoring.enabled"
)

// The attributes of our own.
const (
	ClientAddress      Attribute = "client.address"
	ClientPort         Attribute = "client.port"
	ClientTrusted      Attribute = "client.trusted"
	ListenerName       Attribute = "listener.name"
	TLSVersion         Attribute = "tls.version"
	TLSCipher          Attribute = "tls.cipher"
	RcptLocal          Attribute = "smtp.rcpt.local"
	RcptNear           Attribute = "smtp.rcpt.near"
	RelayAllowed       Attribute = "relay.allowed"
	MessageSize        Attribute = "message.size"
	MessageSubject     Attribute = "message.subject"
	MessageFrom        Attribute = "message.from"
	MessageHeader      Attribute = "message.header"
	MessageAttachments Attribute = "message.attachments"
	MessageTypes       Attribute = "message.types"
	MessageReadable    Attribute = "message.readable"
	BlockListScore     Attribute = "dnsbl.score"
	BlockLists         Attribute = "dnsbl.lists"
	Tags               Attribute = "tags"
	Now                Attribute = "now"
)

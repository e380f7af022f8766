package mail

// Account is who a client has proved to be, as the origin of a message has it.
type Account struct {
	// Name is the name of the account, as its source writes it.
	Name string `json:"name"`
	// Source is what has verified it: "directory", or the name of another source.
	Source string `json:"source"`
	// Mechanism is that of SASL; "certificate" or "address" for a client that is
	// known by its certificate or address, and has said nothing.
	Mechanism string `json:"mechanism"`
}

// Principal is an account with all that its source says of it.
type Principal struct {
	Account
	Services Services
	// Addresses are those it may send as: an address, or "*@domain". None: it is
	// not said, and a listener decides.
	Addresses []string
	// Groups are the names of the groups that it is in.
	Groups []string
	Limits AccountLimits
	// Language is a language tag, such as "de"; empty when it is not known.
	Language string
	// Route is the name of the transport by which what it sends leaves, and Class its
	// priority class; empty where it has none of its own.
	Route, Class string
}

// Services are what an account may do.
type Services struct {
	Submit bool `json:"submit"` // send mail to addresses of this host
	Relay  bool `json:"relay"`  // send mail to anywhere
	POP    bool `json:"pop"`    // fetch mail
}

// AccountLimits bound what an account may send. 0 means no limit.
type AccountLimits struct {
	MessagesPerHour  int64 `json:"messages_per_hour,omitempty"`
	RecipientsPerDay int64 `json:"recipients_per_day,omitempty"`
	MaxSize          int64 `json:"max_size,omitempty"` // of a message, in octets
}

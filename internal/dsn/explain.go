package dsn

import (
	"strconv"
	"strings"

	"postern/internal/mail"
)

// meanings says in plain words what a reply means for a sender, and what to
// do. The keys are enhanced status codes without their class (RFC 3463 3 and
// the registry of RFC 5248); "1.0" and the like stand for all of a subject
// that have no words of their own; a basic code (RFC 5321 4.2.3) is for
// replies without an enhanced one.
var meanings = map[string]string{
	"0.0":  "The receiving side gave no reason that could be explained here. Its own words above may tell more.",
	"1.0":  "Something is wrong with the address. Check its spelling, or ask the recipient for the right one.",
	"1.1":  "There is no mailbox with this address. Check its spelling, or ask the recipient for the right one.",
	"1.2":  "The part of the address after the @ cannot receive mail. Check its spelling.",
	"1.3":  "The address is not written as an address must be. Check its spelling.",
	"1.6":  "The recipient has moved and left no new address. Ask the recipient for it.",
	"1.7":  "Your own address is not written as an address must be. Check the settings of your mail program.",
	"1.8":  "Your own address was not accepted as a sender. Check the settings of your mail program.",
	"1.10": "The part of the address after the @ says that it receives no mail. Ask the recipient for another address.",
	"2.0":  "The mailbox exists, but cannot take the message. Try again later, or reach the recipient in another way.",
	"2.1":  "The mailbox is disabled. Reach the recipient in another way.",
	"2.2":  "The mailbox is full. Try again later, or reach the recipient in another way.",
	"2.3":  "The message is larger than this mailbox accepts. Send less at a time, or share large files in another way.",
	"2.4":  "The address is a mailing list that could not be used. Ask the owner of the list.",
	"3.0":  "The receiving mail system has trouble of its own. Try again later.",
	"3.1":  "The receiving mail system has no space left. Try again later.",
	"3.2":  "The receiving mail system takes no messages at present. Try again later.",
	"3.4":  "The message is larger than the receiving mail system accepts. Send less at a time, or share large files in another way.",
	"4.0":  "The message could not be passed on over the network. Try again later; if it fails again, ask for help as said below.",
	"4.1":  "The receiving server did not answer. It may be down: try again later, or reach the recipient in another way.",
	"4.2":  "The connection to the receiving server broke. Try again later.",
	"4.3":  "The name of the receiving server could not be looked up. Try again later.",
	"4.4":  "There is no known way to the part of the address after the @. Check its spelling.",
	"4.5":  "The receiving server was too busy. Try again later.",
	"4.6":  "The message went round in circles between servers. Ask for help as said below.",
	"4.7":  "The message could not be delivered in the time it had. Try again later, or reach the recipient in another way.",
	"5.0":  "The two mail servers did not understand each other. Ask for help as said below.",
	"5.3":  "The receiving server does not take a message with this many recipients. Send it to fewer at a time.",
	"6.0":  "The receiving server cannot handle the form of the message. Send it in another form, such as plain text.",
	"6.7":  "The address has characters that the receiving server cannot handle. Ask the recipient for another address.",
	"7.0":  "The receiving side refused the message by its rules. Its own words above may tell which; its postmaster can tell more.",
	"7.1":  "You may not send to this address, or the message was refused by the receiving side's rules. Its postmaster can tell more.",
	"7.2":  "You may not send to this mailing list. Ask its owner.",
	"7.10": "The receiving side demands encryption that could not be set up. Ask for help as said below.",
	"7.26": "The receiving side could not verify that the message is from you. Ask for help as said below.",
	"550":  "The receiving server does not take the message for this address. The mailbox may not exist, or a rule forbids it.",
	"551":  "The recipient is not at that server. Ask the recipient for the right address.",
	"552":  "The mailbox is full, or the message is larger than it accepts. Send less at a time, or try again later.",
	"553":  "The address is not one that the receiving server accepts. Check its spelling.",
}

// meaningOf finds the words for the most that is known of a reply.
func meaningOf(r mail.Reply) string {
	_, code, _ := strings.Cut(r.Enhanced, ".")
	subject, _, _ := strings.Cut(code, ".")
	keys := []string{code, subject + ".0"}
	if code == "" {
		keys = []string{strconv.Itoa(r.Code)}
	}
	for _, key := range keys {
		if meaning, ok := meanings[key]; ok {
			return meaning
		}
	}
	return meanings["0.0"]
}

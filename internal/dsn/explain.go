package dsn

import (
	"strconv"
	"strings"

	"postern/internal/mail"
)

// meaning is a reply in plain words.
type meaning struct {
	why  string // what it means for the sender
	todo string // what the sender can do when it is final
}

// What there is to do, where several meanings have it in common.
const (
	checkSpelling = "Check its spelling."
	checkOrAsk    = "Check its spelling, or ask the recipient for the right one."
	checkProgram  = "Check the settings of your mail program."
	tryLater      = "Try again later."
	laterOrElse   = "Try again later, or reach the recipient in another way."
	askForHelp    = "Ask for help as said below."
	sendLess      = "Send less at a time, or share large files in another way."
)

// meanings are keyed by enhanced status codes (RFC 3463 3 and the registry of
// RFC 5248), without their class unless it makes a difference; "1.0" and the
// like stand for all of a subject that have no words of their own; a basic code
// (RFC 5321 4.2.3) is for replies without an enhanced one; "local" is trouble
// of our own.
var meanings = map[string]meaning{
	"0.0":   {"The receiving side gave no reason that could be explained here.", "Its own words may tell more."},
	"1.0":   {"Something is wrong with the address.", checkOrAsk},
	"1.1":   {"There is no mailbox with this address.", checkOrAsk},
	"1.2":   {"The part of the address after the @ cannot receive mail.", checkSpelling},
	"1.3":   {"The address is not written as an address must be.", checkSpelling},
	"1.6":   {"The recipient has moved and left no new address.", "Ask the recipient for it."},
	"1.7":   {"Your own address is not written as an address must be.", checkProgram},
	"1.8":   {"Your own address was not accepted as a sender.", checkProgram},
	"1.10":  {"The part of the address after the @ says that it receives no mail.", "Ask the recipient for another address."},
	"2.0":   {"The mailbox exists, but cannot take the message.", laterOrElse},
	"2.1":   {"The mailbox is disabled.", "Reach the recipient in another way."},
	"2.2":   {"The mailbox is full.", laterOrElse},
	"2.3":   {"The message is larger than this mailbox accepts.", sendLess},
	"2.4":   {"The address is a mailing list that could not be used.", "Ask the owner of the list."},
	"3.0":   {"The receiving mail system has trouble of its own.", tryLater},
	"3.1":   {"The receiving mail system has no space left.", tryLater},
	"3.2":   {"The receiving mail system takes no messages at present.", tryLater},
	"3.4":   {"The message is larger than the receiving mail system accepts.", sendLess},
	"4.0":   {"The message could not be passed on over the network.", "Try again later; if it fails again, ask for help as said below."},
	"4.1":   {"The receiving server did not answer; it may be down.", laterOrElse},
	"4.2":   {"The connection to the receiving server broke.", tryLater},
	"4.3":   {"The name of the receiving server could not be looked up.", tryLater},
	"4.4":   {"There is no known way to the part of the address after the @.", checkSpelling},
	"4.5":   {"The receiving server was too busy.", tryLater},
	"4.6":   {"The message went round in circles between servers.", askForHelp},
	"4.7":   {"The message could not be delivered in the time it had.", laterOrElse},
	"5.0":   {"The two mail servers did not understand each other.", askForHelp},
	"5.3":   {"The receiving server does not take a message with this many recipients.", "Send it to fewer at a time."},
	"6.0":   {"The receiving server cannot handle the form of the message.", "Send it in another form, such as plain text."},
	"6.7":   {"The address has characters that the receiving server cannot handle.", "Ask the recipient for another address."},
	"7.0":   {"The receiving side refused the message by its rules.", "Its own words may tell which; its postmaster can tell more."},
	"7.1":   {"You may not send to this address, or the message was refused by the receiving side's rules.", "Its postmaster can tell more."},
	"7.2":   {"You may not send to this mailing list.", "Ask its owner."},
	"7.10":  {"The receiving side demands encryption that could not be set up.", askForHelp},
	"7.26":  {"The receiving side could not verify that the message is from you.", askForHelp},
	"4.7.0": {"The receiving server does not take the message yet. Some servers let senders wait whom they do not know.", tryLater},
	"4.7.1": {"The receiving server does not take the message yet. Some servers let senders wait whom they do not know.", tryLater},
	"450":   {"The receiving server does not take the message for this address at present.", laterOrElse},
	"451":   {"The receiving mail system has trouble of its own, or wants the message to be sent again later.", tryLater},
	"452":   {"The receiving mail system has no room for the message at present.", tryLater},
	"550":   {"The receiving server does not take the message for this address. The mailbox may not exist, or a rule forbids it.", checkOrAsk},
	"551":   {"The recipient is not at that server.", "Ask the recipient for the right address."},
	"552":   {"The mailbox is full, or the message is larger than it accepts.", "Send less at a time, or try again later."},
	"553":   {"The address is not one that the receiving server accepts.", checkSpelling},
	"local": {"This mail system has trouble of its own.", "Try again later; if it fails again, ask for help as said below."},
}

// meaningOf finds the words for the most that is known of a reply.
func meaningOf(o mail.Outcome) meaning {
	_, code, _ := strings.Cut(o.Reply.Enhanced, ".")
	subject, _, _ := strings.Cut(code, ".")
	keys := []string{o.Reply.Enhanced, code, subject + ".0"}
	switch {
	case code == "":
		keys = []string{strconv.Itoa(o.Reply.Code)}
	case code == "3.0" && !o.Remote:
		keys = []string{"local"}
	}
	for _, key := range keys {
		if m, ok := meanings[key]; ok {
			return m
		}
	}
	return meanings["0.0"]
}

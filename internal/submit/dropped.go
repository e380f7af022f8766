package submit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"postern/internal/intake"
	"postern/internal/mail"
	"postern/internal/smtp"
)

// What a file in the drop directory can be that no message is.
var (
	errNotAFile = errors.New("it is not a regular file")
	errLinked   = errors.New("it has other names: it may be somebody else's file")
	errShutFile = errors.New("the server may not read it, as it could if the command had left it")
)

// strangeFile is a file that is no message, and whose it is.
type strangeFile struct {
	user *mail.User
	error
}

func (s strangeFile) Unwrap() error { return s.error }

// dropped is a file that was left, open for reading.
type dropped struct {
	*os.File
	user *mail.User // its owner
	size int64
	at   time.Time
}

// openDropped opens a file without waiting for anybody (FIFO), without
// following links, and without reading what its owner could not have written.
// It fails with a strangeFile for what is no message, and else with the error
// of the system.
func openDropped(path string) (*dropped, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	owner, _ := lookup(info.Sys().(*syscall.Stat_t).Uid) // on every Unix
	if !info.Mode().IsRegular() {
		return nil, strangeFile{owner, errNotAFile} // a device may act when it is opened
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, strangeFile{owner, errShutFile}
	}
	if err != nil {
		return nil, err
	}
	info, err = f.Stat()
	if err == nil && info.Sys().(*syscall.Stat_t).Nlink > 1 {
		err = strangeFile{owner, errLinked}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &dropped{File: f, user: owner, size: info.Size(), at: info.ModTime()}, nil
}

func (d *dropped) origin() mail.Origin { return mail.Origin{Listener: Listener, User: d.user} }

// picked is a message that was left.
type picked struct {
	*letter
	name   string
	file   *dropped
	origin mail.Origin
	raw    *content // as it was left
}

// read reads what a file says. It fails when that is no message.
func (p *Pickup) read(f *dropped) (*picked, error) {
	br := bufio.NewReaderSize(f, 64<<10)
	s, err := readSlip(br, f.size)
	if err != nil {
		return nil, err
	}
	left, err := s.posting(f.user)
	if err != nil {
		return nil, err
	}
	left.content = &content{ReaderAt: io.NewSectionReader(f, f.size-s.Size, s.Size), size: s.Size}
	if err := s.verify(left.content.raw()); err != nil {
		return nil, err
	}
	m := &picked{file: f, origin: f.origin(), raw: left.content}
	m.origin.Session = p.IDs.New(p.Clock.Now())
	m.letter, err = left.letter(p.Hostname, f.user)
	return m, err
}

// What is added to the name of a submission for the reports about it: of
// recipients that were refused, and of a message that was.
const (
	reportSuffix  = ".recipients"
	refusedSuffix = ".message"
)

// store hands a message to the door, and has its sender told of the recipients
// that were refused. It fails when that must be tried again.
func (p *Pickup) store(ctx context.Context, m *picked) error {
	if err := p.Door.Room(m.raw.size); err != nil {
		return err
	}
	visit := p.Door.Session(m.origin)
	accepted, refused, err := p.judge(ctx, visit, m)
	if err != nil {
		return err
	}
	// First, because of a message that was accepted nothing is done again.
	if err := p.report(ctx, m, refused, reportSuffix); err != nil {
		return err
	}
	if len(accepted) == 0 {
		return nil
	}
	_, err = visit.Submit(ctx, intake.Message{Content: m.content, Gone: func() bool { return false }, Once: m.name})
	if err == nil || intake.Fatal(err) {
		return err
	}
	reply, err := p.patience(m, mail.ReplyOf(err))
	if err != nil {
		return err
	}
	all, trail := make([]refusedRecipient, len(accepted)), visit.Trail()
	for i, r := range accepted {
		all[i] = refusedRecipient{r, reply, trail}
	}
	return p.report(ctx, m, all, refusedSuffix)
}

// refusedRecipient is a recipient and why it was refused.
type refusedRecipient struct {
	mail.Recipient
	reply mail.Reply
	trail []mail.Decided
}

// judge asks the door for each recipient, as a client would. It fails when the
// door has no answer for now.
func (p *Pickup) judge(ctx context.Context, visit *intake.Session, m *picked) (accepted []mail.Recipient, refused []refusedRecipient, err error) {
	whole, err := p.patience(m, p.judgeWhole(ctx, visit, m))
	if err != nil {
		return nil, nil, err
	}
	trail := visit.Trail()
	for _, r := range m.recipients {
		if !whole.IsZero() {
			refused = append(refused, refusedRecipient{r, whole, trail})
			continue
		}
		reply, err := p.patience(m, visit.Rcpt(ctx, smtp.Rcpt{Recipient: r}))
		switch {
		case err != nil:
			return nil, nil, err
		case !reply.IsZero():
			refused = append(refused, refusedRecipient{r, reply, visit.Trail()})
		default:
			accepted = append(accepted, r)
		}
	}
	return accepted, refused, nil
}

// patience makes an error of a reply that says to try again: that of the one file if it
// is about the message, such as one of policy; of all, if the server cannot take any (RFC
// 3463 3.4). A message that has been tried for long enough is refused for good.
func (p *Pickup) patience(m *picked, reply mail.Reply) (mail.Reply, error) {
	err := &mail.Error{Reply: reply}
	switch {
	case !reply.Temporary():
		return reply, nil
	case strings.HasPrefix(reply.Enhanced, "4.3."):
		return reply, err
	case p.Clock.Now().Sub(m.file.at) < p.GiveUp:
		return reply, fileError{fmt.Errorf("a message that was left: %w", err)}
	}
	return mail.NewReply(554, "5.4.7", "Deferred until its time was over: %s", reply.Text), nil
}

// judgeWhole returns why the message is refused for all, whoever they are.
func (p *Pickup) judgeWhole(ctx context.Context, visit *intake.Session, m *picked) mail.Reply {
	switch {
	case len(m.recipients) > p.MaxRecipients:
		return mail.NewReply(550, "5.5.3", "Too many recipients: %d, the limit is %d", len(m.recipients), p.MaxRecipients)
	case m.raw.size > p.MaxSize:
		return mail.NewReply(552, "5.3.4", "The message is larger than %d octets", p.MaxSize)
	}
	if reply := visit.Begin(ctx); !reply.IsZero() {
		return reply
	}
	return visit.Mail(ctx, smtp.Mail{Envelope: m.envelope, Size: m.raw.size})
}

// report tells the sender, and the journal, of recipients that were refused.
func (p *Pickup) report(ctx context.Context, m *picked, refused []refusedRecipient, suffix string) error {
	if len(refused) == 0 {
		return nil
	}
	r := &Refusal{
		Name: m.name + suffix, Origin: m.origin, Envelope: m.envelope, At: m.file.at, Content: m.raw, Size: m.raw.size,
	}
	for _, to := range refused {
		r.Recipients, r.Replies, r.Trails = append(r.Recipients, to.Recipient), append(r.Replies, to.reply), append(r.Trails, to.trail)
	}
	reported, err := p.Door.Taken(ctx, r.Name)
	if err != nil || reported {
		return err
	}
	if err := p.Report(ctx, r); err != nil {
		return err
	}
	p.record(r)
	return nil
}

// record records a fact for each recipient that was refused.
func (p *Pickup) record(r *Refusal) {
	for i, to := range r.Recipients {
		p.Record(mail.Fact{
			Time: p.Clock.Now(), Reason: mail.ReasonRefused, Session: r.Origin.Session, Origin: &r.Origin, Command: "RCPT",
			From: r.Envelope.From.Path(), To: []string{to.Address.Path()}, Reply: &r.Replies[i],
			Trail: mail.Trail(r.Trails[i]),
		})
		p.Logger.Warn("a recipient of a message that was left was refused", "user", r.Origin.User, "from", r.Envelope.From.Path(),
			"to", to.Address.Path(), "reply", r.Replies[i].String())
	}
}

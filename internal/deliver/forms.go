package deliver

import (
	"context"
	"fmt"
	"io"
	"sync"

	"postern/internal/mail"
	"postern/internal/message"
	"postern/internal/queue"
	"postern/internal/smtpclient"
)

// forms are the content of a message for one attempt: as it is stored, and in the forms in which it can go to
// servers that do not take it so. It is opened when it is asked for, and each form is found out
// once. It is safe for use by several goroutines.
type forms struct {
	store Store
	id    mail.ID

	mu    sync.Mutex
	body  queue.Body // nil until it is opened
	known []form
}

// form is the content in one form, or why there is none.
type form struct {
	sevenBit  bool
	charset   string
	converted *message.Converted
	err       error
}

// open returns the content as it is stored. It is the same each time.
func (c *forms) open(ctx context.Context) (queue.Body, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body != nil {
		return c.body, nil
	}
	body, err := c.store.Body(ctx, c.id)
	if err == nil {
		c.body = body
	}
	return body, err
}

// close closes what was opened.
func (c *forms) close() {
	if c.body != nil {
		c.body.Close()
	}
}

// reader reads the content as it is stored, which is open.
func (c *forms) reader() io.Reader { return io.NewSectionReader(c.body, 0, c.body.Size()) }

// in returns the content, which is open, in 7 bits, or its texts in a charset, or both.
func (c *forms) in(sevenBit bool, name string) (*message.Converted, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.known {
		if f.sevenBit == sevenBit && f.charset == name {
			return f.converted, f.err
		}
	}
	to, err := message.FormIn(name, sevenBit)
	if err != nil {
		return nil, err
	}
	f := form{sevenBit: sevenBit, charset: name}
	f.converted, f.err = message.Convert(c.body, c.body.Size(), to)
	c.known = append(c.known, f)
	return f.converted, f.err
}

// InCharset implements route.Content.
func (c *forms) InCharset(ctx context.Context, charset string) (size int64, err error) {
	if _, err := c.open(ctx); err != nil {
		return 0, fmt.Errorf("cannot open the content: %w", err)
	}
	converted, err := c.in(false, charset)
	if err != nil {
		return 0, err
	}
	return converted.Size(), nil
}

// sendable returns the content in a form, for a server.
func (c *forms) sendable(sevenBit bool, charset string) (smtpclient.Content, error) {
	converted, err := c.in(sevenBit, charset)
	if err != nil {
		return smtpclient.Content{}, err
	}
	return smtpclient.Content{Size: converted.Size(), Body: converted.Reader()}, nil
}

// recoded says what of the content is in another charset for the servers that know only that; "" for nothing.
func (c *forms) recoded(charset string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.known {
		if f.charset != charset || charset == "" || f.err != nil {
			continue
		}
		if said := f.converted.Recoded(); said != "" {
			return said + " converted to " + charset
		}
	}
	return ""
}

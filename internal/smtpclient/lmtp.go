package smtpclient

import "context"

// takeEach takes the replies to the end of data in LMTP: one for each recipient that was
// accepted, in their order (RFC 2033 4.2). What is said to some stays when the
// connection breaks before the others.
func (s *sending) takeEach(ctx context.Context) *Error {
	for _, i := range s.recipients {
		if s.outcomes[i].State != "" {
			continue
		}
		reply, err := s.endOfData(ctx)
		if err != nil {
			return err
		}
		s.settleOne(i, reply)
		s.taken = s.taken || reply.Success()
	}
	return nil
}

package chat

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"sessionhub/client"
	"sessionhub/protocol"
)

// Options are what a chat is made of.
type Options struct {
	Client    *client.Client // with the API key, if there is one
	Session   string         // id of one to attach to; empty: a new one
	Token     string         // of that session; empty: the API key is used
	Create    protocol.CreateRequest
	Transport client.Transport
	// Approve answers the agent's questions where nobody can be asked:
	// ApproveAllow, ApproveReject, or empty, which rejects and says so.
	Approve string
	JSON    bool // print events as they come, each on a line
	Remove  bool // delete a new session in the end

	In, Out, Err *os.File
	Getenv       func(string) string // for the history's place and NO_COLOR
}

// The values of Approve.
const (
	ApproveAllow  = "allow"
	ApproveReject = "reject"
)

// ErrUnfinished is the end of a chat in which an answer did not come to its end;
// what happened was said.
var ErrUnfinished = errors.New("the turn did not come to its end")

// Run chats until it is over. On a terminal it returns nil when the person
// leaves; elsewhere it returns nil when the answer came to its end.
func Run(ctx context.Context, o Options) error {
	interactive := !o.JSON && o.Getenv("TERM") != "dumb" && term.IsTerminal(int(o.In.Fd())) && term.IsTerminal(int(o.Out.Fd()))
	if interactive {
		return converse(ctx, o)
	}
	return pipe(ctx, o)
}

// opened is a session that is ready to be used.
type opened struct {
	session *client.Session
	info    protocol.Session
	made    bool
}

// open makes or finds the session.
func open(ctx context.Context, o Options) (opened, error) {
	if o.Session != "" {
		s := o.Client.Session(o.Session, o.Token)
		var info protocol.Session
		err := again(ctx, o, func() (err error) { info, err = s.Get(ctx); return err })
		if err == nil && (info.Status == protocol.StatusEnded || info.Status == protocol.StatusFailed) {
			err = fmt.Errorf("session %s has %s: it can only be read, in the dashboard; without --session another one begins", o.Session, info.Status)
		}
		return opened{session: s, info: info}, explain(err)
	}
	var made protocol.CreateResponse
	key := rand.Text() // a repeat makes no second one
	err := again(ctx, o, func() (err error) { made, err = o.Client.Create(ctx, o.Create, key); return err })
	if err != nil {
		return opened{}, explain(err)
	}
	return opened{session: o.Client.Session(made.SessionID, made.Token), info: made.Session, made: true}, nil
}

// renew gives a way to another token, or nil where there is none to renew. The
// one who made the session has a key, or needs none, and can always ask for
// another; who came with a token can while it holds.
func (s opened) renew(o Options) func(context.Context) (string, error) {
	switch {
	case s.made:
		byKey := o.Client.Session(s.session.ID(), "")
		return func(ctx context.Context) (string, error) {
			fresh, err := byKey.Token(ctx, protocol.TokenRequest{})
			return fresh.Token, err
		}
	case o.Token != "":
		return func(ctx context.Context) (string, error) {
			fresh, err := s.session.Token(ctx, protocol.TokenRequest{})
			return fresh.Token, err
		}
	}
	return nil
}

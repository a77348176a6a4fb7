package hub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/feed"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/stream"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Channels are the connections of users that carry many sessions. A request that changes one
// can come to any node: it goes to the node of the channel as a letter, and so does the
// answer back. A letter that is lost costs its caller the time of Change. All methods may be
// called concurrently.
type Channels struct {
	rooms
	feeds *feed.Feeds

	mu    sync.Mutex
	here  map[string]*stream.Channel // of this node, by id
	asked map[string]askedChange     // of this node, by the letter's id
	serve atomic.Pointer[ChannelServer]
}

// ChannelServer changes a channel of this node as a request says. Its answer is at most
// store.MaxLetter bytes with some room.
type ChannelServer func(ctx context.Context, ch *stream.Channel, r protocol.ChannelRequest) protocol.SubscribeResponse

const (
	// changeTime bounds a change of a channel.
	changeTime = 15 * time.Second
	// maxChanges bounds the changes that this node waits for, and those that it makes for
	// other nodes.
	maxChanges = 256
	// maxChangesPerUser bounds those that this node waits for, for one user: an id with the
	// name of a node that is not there costs the whole changeTime.
	maxChangesPerUser = 64
)

// askedChange waits for the answer to a letter.
type askedChange struct {
	user string
	came chan<- channelAnswer // room for one
}

// ErrBusyNode says that this node has the most changes of channels under way.
var ErrBusyNode = errors.New("this node changes too many connections now: try again")

// channelLetter goes between two nodes.
type channelLetter struct {
	ID      string                   `json:"id"`
	From    string                   `json:"from,omitempty"`
	Channel string                   `json:"channel,omitempty"`
	User    string                   `json:"user,omitempty"`
	Request *protocol.ChannelRequest `json:"request,omitempty"`
	Answer  *channelAnswer           `json:"answer,omitempty"`
}

// channelAnswer has a response, unless there is no such channel.
type channelAnswer struct {
	Found    bool                       `json:"found"`
	Response protocol.SubscribeResponse `json:"response"`
}

func channelBox(node string) string { return "channels:" + node }

// Serve sets what changes the channels of this node. It comes before the first channel.
func (cs *Channels) Serve(serve ChannelServer) { cs.serve.Store(&serve) }

// Open decides whether a user may have a channel. Exactly one of Start, and Release of the
// channel, must be called.
func (cs *Channels) Open(ctx context.Context, user string, enc protocol.Encoding) (*stream.Channel, error) {
	return cs.streams.OpenChannel(ctx, user, enc)
}

// Start begins to write to the channel's connection. From its first frame on, the channel is
// known by its id, until forget is called. Call Stop of the channel when the connection has
// ended.
func (cs *Channels) Start(ch *stream.Channel, sink stream.Sink, grant session.Grant) (forget func()) {
	begun := false
	forget = func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		delete(cs.here, ch.ID())
	}
	defer func() {
		if !begun { // a panic, which ends this connection only
			forget()
			ch.Stop(protocol.CloseInternal, "internal", metrics.CloseInternal)
		}
	}()
	ch.Attach(sink, grant)
	ctx, cancel := context.WithTimeout(context.Background(), changeTime)
	defer cancel()
	cs.streams.Hold(ctx, ch.Own())
	cs.mu.Lock()
	if cs.here == nil {
		cs.here = make(map[string]*stream.Channel)
	}
	cs.here[ch.ID()] = ch
	cs.mu.Unlock()
	ch.Begin()
	begun = true
	return forget
}

// List makes a channel carry the feed of its user's list, from a snapshot on; off ends that.
func (cs *Channels) List(ch *stream.Channel, on bool) error {
	if !on {
		ch.SetSource(nil)
		return nil
	}
	reader, err := cs.feeds.Open(ch.User(), ch.Wake)
	if err != nil {
		return err
	}
	ch.SetSource(reader)
	return nil
}

// find gives a user's channel of this node; nil: there is none.
func (cs *Channels) find(id, user string) *stream.Channel {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if ch := cs.here[id]; ch != nil && ch.User() == user {
		return ch
	}
	return nil
}

// Change changes a user's channel, on whichever node it is. ErrNotFound: there is none, or
// it is another user's. ErrUnavailable: its node does not answer.
func (cs *Channels) Change(ctx context.Context, id, user string, r protocol.ChannelRequest) (protocol.SubscribeResponse, error) {
	node, ok := stream.NodeOf(id)
	if !ok {
		return protocol.SubscribeResponse{}, errNoChannel
	}
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	if node == cs.env.Node {
		ch := cs.find(id, user)
		if ch == nil {
			return protocol.SubscribeResponse{}, errNoChannel
		}
		return (*cs.serve.Load())(ctx, ch, r), nil
	}
	if !cs.store.Shared() {
		return protocol.SubscribeResponse{}, errNoChannel
	}
	return cs.ask(ctx, node, channelLetter{ID: rand.Text(), From: cs.env.Node, Channel: id, User: user, Request: &r})
}

var errNoChannel = fmt.Errorf("%w: there is no such connection: open a new one", session.ErrNotFound)

// ask sends a letter to another node and waits for the answer.
func (cs *Channels) ask(ctx context.Context, node string, l channelLetter) (protocol.SubscribeResponse, error) {
	var none protocol.SubscribeResponse
	raw := protocol.Marshal(l)
	if len(raw) > store.MaxLetter {
		return none, fmt.Errorf("%w: more than %d bytes", session.ErrTooLarge, store.MaxLetter)
	}
	came := make(chan channelAnswer, 1)
	cs.mu.Lock()
	own := 0
	for _, a := range cs.asked {
		if a.user == l.User {
			own++
		}
	}
	if own >= maxChangesPerUser || len(cs.asked) >= maxChanges {
		cs.mu.Unlock()
		return none, fmt.Errorf("%w: %w", store.ErrUnavailable, ErrBusyNode)
	}
	if cs.asked == nil {
		cs.asked = make(map[string]askedChange)
	}
	cs.asked[l.ID] = askedChange{l.User, came}
	cs.mu.Unlock()
	defer func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		delete(cs.asked, l.ID)
	}()
	if err := cs.store.SendMail(ctx, channelBox(node), raw); err != nil {
		return none, err
	}
	select {
	case answer := <-came:
		if !answer.Found {
			return none, errNoChannel
		}
		return answer.Response, nil
	case <-ctx.Done():
		return none, fmt.Errorf("%w: the node of the connection does not answer: open a new one", store.ErrUnavailable)
	}
}

// run takes the letters to this node until ctx ends, and waits for the changes that they
// want.
func (cs *Channels) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := make(chan struct{}, maxChanges)
	stop := cs.store.OpenBox(channelBox(cs.env.Node), func(raw []byte) {
		var l channelLetter
		if err := protocol.Decode(raw, &l); err != nil {
			cs.env.Log.Error("a letter of another node cannot be read", "error", err)
			return
		}
		if l.Answer != nil {
			cs.answered(l.ID, *l.Answer)
			return
		}
		if l.Request == nil {
			return
		}
		select {
		case busy <- struct{}{}:
		default:
			return // it stays without an answer
		}
		wg.Go(func() {
			defer func() { <-busy }()
			_ = cs.env.Guard("a change of a connection", func() error { cs.changeFor(ctx, l); return nil })
		})
	})
	defer stop()
	<-ctx.Done()
}

// answered gives an answer to whoever waits for it. It never blocks: a second answer is
// dropped.
func (cs *Channels) answered(id string, a channelAnswer) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	select {
	case cs.asked[id].came <- a: // a nil channel takes nothing
	default:
	}
}

// changeFor changes a channel for another node, and sends the answer.
func (cs *Channels) changeFor(ctx context.Context, l channelLetter) {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	var a channelAnswer
	if ch := cs.find(l.Channel, l.User); ch != nil {
		a = channelAnswer{Found: true, Response: (*cs.serve.Load())(ctx, ch, *l.Request)}
	}
	raw := protocol.Marshal(channelLetter{ID: l.ID, Answer: &a})
	if err := cs.store.SendMail(ctx, channelBox(l.From), raw); err != nil && ctx.Err() == nil {
		cs.env.Log.Warn("send the answer about a connection to another node", "node", l.From, "error", err)
	}
}

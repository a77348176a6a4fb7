package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"sessionhub/client"
	"sessionhub/protocol"
)

// holder is a user who wants more streams than one may have, of the user and of
// each session, on all nodes at once. It reaches the processes without a network
// between, so that it knows which streams there really are, and finds when they
// are too many; afterwards it finds whether the places of those that died with
// their node are free again.
type holder struct {
	limits Limits
	client *client.Client // for what is no stream: through any node
	seed   uint64

	sessions []protocol.CreateResponse // immutable after start
	wg       sync.WaitGroup

	mu       sync.Mutex
	spans    map[string][]span // by session; of the user under ""
	opened   int
	findings []string
}

const (
	holderSessions = 5
	// holderExcess is how many more streams than the limit are wanted.
	holderExcess = 6
	// noticed is within what time a client knows that its stream has ended. The
	// hub may have given the place to the next one meanwhile.
	noticed = time.Second
)

func newHolder(o Options) *holder {
	return &holder{
		limits: o.Limits, client: &client.Client{BaseURL: o.URLs[0], APIKey: o.APIKey}, seed: o.Seed, spans: make(map[string][]span),
	}
}

// start makes the sessions, before the faults begin.
func (h *holder) start(ctx context.Context) error {
	for range holderSessions {
		s, err := h.client.Create(ctx, protocol.CreateRequest{UserID: "holder"}, "")
		if err != nil {
			return err
		}
		h.sessions = append(h.sessions, s)
	}
	return nil
}

// run wants too many streams until ctx ends: each seat opens one, keeps it for a
// while, and opens another one.
func (h *holder) run(ctx context.Context) {
	for i := range h.limits.UserStreams + holderExcess {
		rng := rand.New(rand.NewPCG(h.seed, 1<<41+uint64(i)))
		h.wg.Go(func() {
			for ctx.Err() == nil {
				s := h.sessions[rng.IntN(len(h.sessions))]
				life, cancel := context.WithTimeout(ctx, time.Second+time.Duration(min(rng.ExpFloat64(), 3)*float64(3*time.Second)))
				if !h.hold(life, s, rng.IntN(2) == 0, nil) {
					sleep(life, 300*time.Millisecond+time.Duration(rng.IntN(700))*time.Millisecond)
				}
				cancel()
			}
		})
	}
	h.wg.Wait()
}

// hold opens a stream at any node and keeps it until ctx ends, or it does. opened
// is called when it is there. false: it was refused.
func (h *holder) hold(ctx context.Context, s protocol.CreateResponse, sse bool, opened func()) bool {
	nodes := h.limits.Nodes()
	if len(nodes) == 0 {
		return false
	}
	url := nodes[rand.IntN(len(nodes))] + "/api/sessions/" + s.SessionID
	var read func() error
	var resp *http.Response
	var err error
	if sse {
		var end func()
		read, end, resp, err = openEvents(ctx, url+"/events?after=latest", s.Token)
		defer end()
	} else {
		var conn *websocket.Conn
		conn, resp, err = websocket.Dial(ctx, url+"/ws?after=latest", &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + s.Token}}, Subprotocols: []string{protocol.Subprotocol},
		})
		if err == nil {
			defer conn.CloseNow()
			read = func() error {
				_, _, err := conn.Read(ctx)
				return err
			}
		}
	}
	if err != nil {
		h.judge(resp)
		return false
	}
	had := span{from: time.Now()}
	if opened != nil {
		opened()
	}
	for err == nil {
		err = read()
	}
	// What the hub ends is known a little later, and what the client ends was
	// there until now.
	if had.to = time.Now(); ctx.Err() == nil {
		had.to = had.to.Add(-noticed)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened++
	h.spans[""] = append(h.spans[""], had)
	h.spans[s.SessionID] = append(h.spans[s.SessionID], had)
	return true
}

// openEvents opens an event stream. end is to be called in any case.
func openEvents(ctx context.Context, url, token string) (read func() error, end func(), resp *http.Response, err error) {
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, transport.CloseIdleConnections, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err = transport.RoundTrip(req)
	if err != nil {
		return nil, transport.CloseIdleConnections, nil, err
	}
	end = func() { _ = resp.Body.Close() }
	if resp.StatusCode != http.StatusOK {
		return nil, end, resp, errors.New(resp.Status)
	}
	in := bufio.NewReader(resp.Body)
	read = func() error {
		_, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil
		}
		return err
	}
	return read, end, resp, nil
}

// judge finds a refusal that is neither that of a limit nor of a moment.
func (h *holder) judge(resp *http.Response) {
	// 408: its request was on a link that froze in the middle of it.
	if resp == nil || resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusRequestTimeout {
		return
	}
	var p protocol.Problem
	if resp.StatusCode == http.StatusTooManyRequests && json.NewDecoder(resp.Body).Decode(&p) == nil && p.Code == protocol.CodeConnectionLimit {
		return
	}
	h.find("a stream of the holder was refused with %s (%s)", resp.Status, p.Code)
}

func (h *holder) find(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.findings) < mostFindings {
		h.findings = append(h.findings, fmt.Sprintf(format, args...))
	}
}

// exceeded finds when there were more streams at once than the limits allow.
func (h *holder) exceeded() {
	h.mu.Lock()
	spans := h.spans
	h.mu.Unlock()
	for session, had := range spans {
		who, limit := "the session "+session, h.limits.SessionStreams
		if session == "" {
			who, limit = "the user", h.limits.UserStreams
		}
		if most := mostAtOnce(had); most > limit {
			h.find("%s had %d streams at once; the limit is %d", who, most, limit)
		}
	}
}

// settle wants all places to be free again: as many streams as the limits allow
// are given, and no more.
func (h *holder) settle(ctx context.Context) []string {
	if h.limits.Resets == nil { // else what was counted may have been lost, and is counted again within 30 s
		h.exceeded()
	}
	one := h.sessions[:1]
	if n := h.fill(ctx, one, h.limits.SessionStreams); n != h.limits.SessionStreams {
		h.find("after the faults a session can have %d streams; the limit is %d", n, h.limits.SessionStreams)
	}
	if n := h.fill(ctx, h.sessions, h.limits.UserStreams); n != h.limits.UserStreams {
		h.find("after the faults a user can have %d streams; the limit is %d", n, h.limits.UserStreams)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*hoarderCall)
	defer cancel()
	for _, s := range h.sessions {
		if err := h.client.Session(s.SessionID, s.Token).Delete(end); err != nil {
			h.find("%v", err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.findings
}

// fill opens as many streams as it gets, at most a few more than so many, keeps
// them, and gives their number. It is content when it has so many and the others
// were refused, and gives up when ctx ends.
func (h *holder) fill(ctx context.Context, sessions []protocol.CreateResponse, want int) int {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer h.wg.Wait()
	defer cancel()
	var mu sync.Mutex
	open := 0
	try := func(n int) {
		var tried sync.WaitGroup
		for i := range n {
			tried.Add(1)
			once := sync.OnceFunc(tried.Done)
			h.wg.Go(func() {
				defer once()
				h.hold(life, sessions[i%len(sessions)], i%2 == 0, func() {
					mu.Lock()
					open++
					mu.Unlock()
					once()
				})
			})
		}
		tried.Wait()
	}
	now := func() int {
		mu.Lock()
		defer mu.Unlock()
		return open
	}
	for now() < want && ctx.Err() == nil {
		try(want - now())
		sleep(ctx, 200*time.Millisecond)
	}
	try(holderExcess)
	return now()
}

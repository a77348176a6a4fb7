package client

import (
	"errors"
	"net"
	"time"

	"sessionhub/protocol"
)

// Transport is how a stream reaches the hub.
type Transport int

const (
	// Auto is a WebSocket, or SSE where a WebSocket does not get through.
	Auto Transport = iota
	WebSocket
	SSE
)

// String is the transport's name, as flags and people write it.
func (t Transport) String() string {
	switch t {
	case WebSocket:
		return "websocket"
	case SSE:
		return "sse"
	}
	return "auto"
}

const (
	// socketPatience is how long an Auto stream waits for the first frame over a WebSocket.
	// A proxy may open the WebSocket and then pass nothing on.
	socketPatience = 4 * time.Second
	// A WebSocket that lasts less than shortLived breaks. After maxBreaks breaks in a row
	// without a reason from the hub, the route tries SSE.
	shortLived = 30 * time.Second
	maxBreaks  = 3
	// socketAgain is how long a client waits before it tries a WebSocket again that did not
	// get through: people change their networks.
	socketAgain = 10 * time.Minute
)

// route chooses the transport of a stream's next connection. The Client keeps what the
// route learns about the way to the hub, for its other streams.
type route struct {
	client *Client
	fixed  Transport
	trial  bool // SSE is tried because the WebSocket is in doubt
	breaks int  // of WebSockets, in a row
}

func (r *route) next() Transport {
	switch {
	case r.fixed != Auto:
		return r.fixed
	case r.trial || time.Now().UnixNano() < r.client.socketAfter.Load():
		return SSE
	}
	return WebSocket
}

// opened learns from the first frame over a transport.
func (r *route) opened(t Transport) {
	if r.trial && t == SSE {
		r.trial, r.breaks = false, 0
		r.client.socketAfter.Store(time.Now().Add(socketAgain).UnixNano())
	}
}

// lost learns from the end of a connection. lasted is 0 if the hub sent nothing over it. It
// returns true if another transport is worth trying at once.
func (r *route) lost(t Transport, reason error, lasted time.Duration) bool {
	if r.fixed != Auto {
		return false
	}
	if theHubs(reason) {
		r.breaks = 0
		return false
	}
	if t == SSE {
		if lasted == 0 {
			// SSE is no better, so the fault is on the way or in the hub, not in the
			// WebSocket.
			r.trial = false
			r.client.socketAfter.Store(0)
		}
		return false
	}
	switch {
	case unreachable(reason):
		return false // says nothing about the transport
	case lasted == 0:
	case lasted >= shortLived:
		r.breaks = 0
		return false
	default:
		if r.breaks++; r.breaks < maxBreaks {
			return false
		}
	}
	r.trial = true
	return true
}

// theHubs reports whether the hub or this client ended the connection on purpose. Any other
// transport would have ended too.
func theHubs(reason error) bool {
	if errors.Is(reason, errRenewed) || errors.Is(reason, ErrHole) {
		return true
	}
	var e *Error
	if !errors.As(reason, &e) {
		return false
	}
	if e.Code == protocol.CodeUpgradeRequired {
		return false // a proxy has dropped the Upgrade header
	}
	switch e.CloseCode {
	case 0:
		return e.Code != "" || e.Temporary() // a proxy's 502 or 503 says that the hub is away
	case protocol.CloseGoingAway, protocol.CloseTooBig, protocol.CloseBadFrame, protocol.CloseToken, protocol.CloseNotFound,
		protocol.CloseSlow, protocol.CloseEnded, protocol.CloseRate, protocol.CloseUnavailable:
		return true
	}
	return false
}

// unreachable reports whether not even a TCP connection was made.
func unreachable(reason error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(reason, &dns) || errors.As(reason, &op) && op.Op == "dial"
}

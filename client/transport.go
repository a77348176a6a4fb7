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
	// Auto is a WebSocket, and SSE where that does not get through.
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
	// socketPatience is how long an Auto stream waits for the first word over a
	// WebSocket: a proxy may let it open and pass nothing on.
	socketPatience = 4 * time.Second
	// A WebSocket that breaks so soon, so often in a row, and for no reason that
	// the hub gave is broken by something between.
	shortLived = 30 * time.Second
	maxBreaks  = 3
	// socketAgain is when the WebSocket is tried again where it did not get
	// through: people change their networks.
	socketAgain = 10 * time.Minute
)

// route chooses the transport of a stream's next connection. What was learned
// about the way to the hub is kept in the Client, for its other streams.
type route struct {
	client *Client
	fixed  Transport
	trial  bool // SSE is tried, since the WebSocket is in doubt
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

// opened learns from the hub's first word over a transport.
func (r *route) opened(t Transport) {
	if r.trial && t == SSE {
		r.trial, r.breaks = false, 0
		r.client.socketAfter.Store(time.Now().Add(socketAgain).UnixNano())
	}
}

// lost learns from the end of a connection; lasted is 0 when the hub has said
// nothing over it. true: another transport is worth trying at once.
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
			// It is no better: the doubt falls, on the way or on the hub.
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

// theHubs reports that a connection ended by the hub's own decision, which would
// be the same over any transport, or by ours.
func theHubs(reason error) bool {
	if errors.Is(reason, errRenewed) || errors.Is(reason, ErrHole) {
		return true
	}
	var e *Error
	if !errors.As(reason, &e) {
		return false
	}
	if e.Code == protocol.CodeUpgradeRequired {
		return false // something between has dropped the Upgrade header
	}
	switch e.CloseCode {
	case 0:
		return e.Code != "" || e.Temporary() // a proxy's 502 or 503 is about the hub
	case protocol.CloseGoingAway, protocol.CloseTooBig, protocol.CloseBadFrame, protocol.CloseToken, protocol.CloseNotFound,
		protocol.CloseSlow, protocol.CloseEnded, protocol.CloseRate, protocol.CloseUnavailable:
		return true
	}
	return false
}

// unreachable reports that there was not even a TCP connection.
func unreachable(reason error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(reason, &dns) || errors.As(reason, &op) && op.Op == "dial"
}

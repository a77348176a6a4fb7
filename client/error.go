package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sessionhub/protocol"
)

// Error is a refusal of the hub: an HTTP problem (RFC 9457), a refused command on
// a WebSocket (only Code and what follows it are set), or a WebSocket's close
// code. What never reached the hub is another error.
type Error struct {
	Op         string        // what was attempted
	Status     int           // HTTP status; 0 when a WebSocket was closed
	CloseCode  int           // WebSocket close code; 0 when a request was refused
	Code       protocol.Code // empty when the answer was not the hub's (a proxy's, say)
	Detail     string
	RetryAfter time.Duration // 0: the answer did not say
	Outcome    string        // who won, when Code is protocol.CodeApprovalResolved
	OptionID   string
}

func (e *Error) Error() string {
	var what string
	switch {
	case e.Status != 0:
		what = strconv.Itoa(e.Status)
	case e.CloseCode != 0:
		what = "close code " + strconv.Itoa(e.CloseCode)
	}
	if e.Code != "" {
		what = strings.TrimLeft(what+" "+string(e.Code), " ")
	}
	if e.Detail != "" {
		what += ": " + e.Detail
	}
	return e.Op + ": " + what
}

// Temporary reports that the same request may succeed later, after RetryAfter.
func (e *Error) Temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, // the request was too long on its way: RFC 9110, 15.5.9
		http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case 0:
		if e.CloseCode != 0 {
			return !finalClose(e.CloseCode)
		}
		switch e.Code {
		case protocol.CodeRateLimited, protocol.CodeQueueFull, protocol.CodeUnavailable:
			return true
		}
	}
	return false
}

// unauthorized reports that another token may help.
func (e *Error) unauthorized() bool {
	switch e.Code {
	case protocol.CodeUnauthorized, protocol.CodeTokenExpired, protocol.CodeTokenRevoked:
		return true
	}
	return e.Status == http.StatusUnauthorized || e.CloseCode == protocol.CloseToken
}

// finalClose reports that nothing changes by coming back.
func finalClose(code int) bool {
	switch code {
	case protocol.CloseBadFrame, protocol.CloseTooBig, protocol.CloseNotFound, protocol.CloseEnded, protocol.CloseToken:
		return true
	}
	return false
}

// maxProblemBytes bounds what is read of a refusal.
const maxProblemBytes = 64 << 10

// refusal reads an answer that is no success.
func refusal(op string, resp *http.Response) error {
	e := &Error{Op: op, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxProblemBytes))
	var p protocol.Problem
	if err == nil && json.Unmarshal(raw, &p) == nil {
		e.Code, e.Detail, e.Outcome, e.OptionID = p.Code, p.Detail, p.Outcome, p.OptionID
	}
	return e
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3): seconds or a date.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// closed makes the error of a WebSocket that the hub closed.
func closed(op string, code int, reason string) *Error {
	e := &Error{Op: op, CloseCode: code, Detail: reason}
	switch code {
	case protocol.CloseNotFound:
		e.Code = protocol.CodeNotFound
	case protocol.CloseToken:
		e.Code = protocol.CodeTokenExpired
	case protocol.CloseUnavailable:
		e.Code = protocol.CodeUnavailable
	case protocol.CloseEnded:
		e.Code = protocol.CodeSessionEnded
	case protocol.CloseRate:
		e.Code = protocol.CodeRateLimited
		e.RetryAfter = rateWait
	}
	return e
}

// rateWait is the least wait after a close for too many commands, which names
// none itself.
const rateWait = 5 * time.Second

// ErrHole is wrapped by the reason that OnRetry and a stream with MaxAttempts
// give when events were missing without a word: the stream resumes before them.
var ErrHole = errors.New("an event is missing")

// errSilent ends a connection on which the hub has not been heard.
var errSilent = errors.New("nothing was heard from the hub")

func failed(op string, err error) error { return fmt.Errorf("%s: %w", op, err) }

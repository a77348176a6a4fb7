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

// Error is a refusal of the hub. It is an HTTP problem (RFC 9457), a refused command on a
// WebSocket, or the close code of a WebSocket. For a refused command, only Code and the
// fields after it are set. A request that never reached the hub fails with another error.
type Error struct {
	Op         string        // what was attempted
	Status     int           // HTTP status; 0 when a WebSocket was closed
	CloseCode  int           // WebSocket close code; 0 when a request was refused
	Code       protocol.Code // empty if another server gave the answer, such as a proxy
	Detail     string
	RetryAfter time.Duration // 0: the answer did not say
	Outcome    string        // how the question was answered, when Code is protocol.CodeApprovalResolved
	OptionID   string
	Field      string // of a form, when Code is protocol.CodeInvalidAnswer
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

// Temporary reports whether the same request may succeed later, after RetryAfter.
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

// unauthorized reports whether another token may help.
func (e *Error) unauthorized() bool {
	switch e.Code {
	case protocol.CodeUnauthorized, protocol.CodeTokenExpired, protocol.CodeTokenRevoked:
		return true
	}
	return e.Status == http.StatusUnauthorized || e.CloseCode == protocol.CloseToken
}

// finalClose reports whether coming back is of no use after this close code.
func finalClose(code int) bool {
	switch code {
	case protocol.CloseBadFrame, protocol.CloseTooBig, protocol.CloseNotFound, protocol.CloseEnded, protocol.CloseToken:
		return true
	}
	return false
}

// maxProblemBytes bounds how much of a refusal is read.
const maxProblemBytes = 64 << 10

// refusal makes an error of an answer that is no success.
func refusal(op string, resp *http.Response) error {
	e := &Error{Op: op, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxProblemBytes))
	var p protocol.Problem
	if err == nil && json.Unmarshal(raw, &p) == nil {
		e.Code, e.Detail, e.Outcome, e.OptionID, e.Field = p.Code, p.Detail, p.Outcome, p.OptionID, p.Field
	}
	return e
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3). It holds a date or seconds;
// some proxies send fractions of seconds.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseFloat(v, 64); err == nil && n >= 0 && n < 1<<31 {
		return time.Duration(n * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// closed makes the error for a WebSocket that the hub closed.
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

// rateWait is the least wait after a close for too many commands. That close names no wait
// itself.
const rateWait = 5 * time.Second

// ErrHole says that events were missing and the hub sent no gap frame. The stream resumes
// before them. The errors that OnRetry gets, and that Next returns with MaxAttempts, wrap
// it.
var ErrHole = errors.New("an event is missing")

// errSilent ends a connection on which the hub has not been heard.
var errSilent = errors.New("nothing was heard from the hub")

func failed(op string, err error) error { return fmt.Errorf("%s: %w", op, err) }

package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"sessionhub/handlers/wsconn"
	"sessionhub/hub"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// apiError is an error that handlers itself decides.
type apiError struct {
	code   protocol.Code
	detail string
	auth   metrics.AuthFailure // for a credential or an origin: what is wrong with it
}

func (e *apiError) Error() string { return e.detail }

func refuse(code protocol.Code, format string, args ...any) error {
	return &apiError{code: code, detail: fmt.Sprintf(format, args...)}
}

// deny refuses a request because of its credential, host or origin.
func deny(code protocol.Code, why metrics.AuthFailure, format string, args ...any) error {
	return &apiError{code: code, detail: fmt.Sprintf(format, args...), auth: why}
}

// statusOf gives each code its HTTP status: the error table of the contract.
var statusOf = map[protocol.Code]int{
	protocol.CodeInvalidRequest:   http.StatusBadRequest,
	protocol.CodeInvalidJSON:      http.StatusBadRequest,
	protocol.CodeUnknownProvider:  http.StatusBadRequest,
	protocol.CodeUnknownOption:    http.StatusBadRequest,
	protocol.CodeUnauthorized:     http.StatusUnauthorized,
	protocol.CodeTokenExpired:     http.StatusUnauthorized,
	protocol.CodeTokenRevoked:     http.StatusUnauthorized,
	protocol.CodeForbidden:        http.StatusForbidden,
	protocol.CodeHostRefused:      http.StatusForbidden,
	protocol.CodeScope:            http.StatusForbidden,
	protocol.CodeOriginRefused:    http.StatusForbidden,
	protocol.CodeWorkingDirectory: http.StatusForbidden,
	protocol.CodeModeNotAllowed:   http.StatusForbidden,
	protocol.CodeMCPNotAllowed:    http.StatusForbidden,
	protocol.CodeNotFound:         http.StatusNotFound,
	protocol.CodeMethodNotAllowed: http.StatusMethodNotAllowed,
	protocol.CodeRequestTimeout:   http.StatusRequestTimeout,
	protocol.CodeApprovalResolved: http.StatusConflict,
	protocol.CodeInvalidAnswer:    http.StatusBadRequest,
	protocol.CodeQuestionResolved: http.StatusConflict,
	protocol.CodeQuestionExpired:  http.StatusGone,
	protocol.CodeContentUnread:    http.StatusConflict,
	protocol.CodeMessageRunning:   http.StatusConflict,
	protocol.CodeBusy:             http.StatusConflict,
	protocol.CodeTakenUp:          http.StatusConflict,
	protocol.CodeIdempotency:      http.StatusConflict,
	protocol.CodeSessionEnded:     http.StatusConflict,
	protocol.CodeApprovalExpired:  http.StatusGone,
	protocol.CodePayloadTooLarge:  http.StatusRequestEntityTooLarge,
	protocol.CodeUnsupportedMedia: http.StatusUnsupportedMediaType,
	protocol.CodeUpgradeRequired:  http.StatusUpgradeRequired,
	protocol.CodeHeaderTooLarge:   http.StatusRequestHeaderFieldsTooLarge,
	protocol.CodeNotImplemented:   http.StatusNotImplemented,
	protocol.CodeHTTPVersion:      http.StatusHTTPVersionNotSupported,
	protocol.CodeQueueFull:        http.StatusTooManyRequests,
	protocol.CodeSessionLimit:     http.StatusTooManyRequests,
	protocol.CodeConnectionLimit:  http.StatusTooManyRequests,
	protocol.CodeRateLimited:      http.StatusTooManyRequests,
	protocol.CodeInternal:         http.StatusInternalServerError,
	protocol.CodeUnavailable:      http.StatusServiceUnavailable,
	protocol.CodePathNotAllowed:   http.StatusForbidden,
	protocol.CodeChanged:          http.StatusConflict,
	protocol.CodeRange:            http.StatusRequestedRangeNotSatisfiable,
	protocol.CodeNoWorker:         http.StatusServiceUnavailable,
	protocol.CodeWorkerFailed:     http.StatusBadGateway,
	protocol.CodeWorkerTimeout:    http.StatusGatewayTimeout,

	protocol.CodeWorktreeRefused: http.StatusConflict,
	protocol.CodeUncommitted:     http.StatusConflict,
	protocol.CodeMergeConflict:   http.StatusConflict,
	protocol.CodeUnmergedWork:    http.StatusConflict,
}

// codeOf maps the errors of the inner packages to codes. The first match wins.
var codeOf = []struct {
	err  error
	code protocol.Code
}{
	{hub.ErrNotFound, protocol.CodeNotFound},
	{hub.ErrUnknownProvider, protocol.CodeUnknownProvider},
	{hub.ErrUnknownOption, protocol.CodeUnknownOption},
	{hub.ErrWorkingDirectory, protocol.CodeWorkingDirectory},
	{hub.ErrSessionEnded, protocol.CodeSessionEnded},
	{hub.ErrTooManyTickets, protocol.CodeRateLimited},
	{hub.ErrTooLarge, protocol.CodePayloadTooLarge},
	{hub.ErrMediaType, protocol.CodeUnsupportedMedia},
	{hub.ErrQueueFull, protocol.CodeQueueFull},
	{hub.ErrMessageRunning, protocol.CodeMessageRunning},
	{hub.ErrContentUnread, protocol.CodeContentUnread},
	{hub.ErrModeNotAllowed, protocol.CodeModeNotAllowed},
	{hub.ErrMCPNotAllowed, protocol.CodeMCPNotAllowed},
	{hub.ErrNeedsApprove, protocol.CodeScope},
	{hub.ErrBusy, protocol.CodeBusy},
	{hub.ErrCannotFork, protocol.CodeNotImplemented},
	{hub.ErrIdempotency, protocol.CodeIdempotency},
	{hub.ErrSessionLimit, protocol.CodeSessionLimit},
	{hub.ErrConnectionLimit, protocol.CodeConnectionLimit},
	{hub.ErrTooManySubscriptions, protocol.CodeConnectionLimit},
	{hub.ErrApprovalExpired, protocol.CodeApprovalExpired},
	{hub.ErrQuestionExpired, protocol.CodeQuestionExpired},
	{hub.ErrFileChanged, protocol.CodeChanged},
	{hub.ErrNoWorker, protocol.CodeNoWorker},
	{hub.ErrWorkerBusy, protocol.CodeUnavailable},
	{hub.ErrWorkerSilent, protocol.CodeWorkerTimeout},
	{hub.ErrUnreachable, protocol.CodeUnavailable},
	{hub.ErrUnavailable, protocol.CodeUnavailable},
	{hub.ErrUnsupportedCursor, protocol.CodeInvalidRequest},
	{hub.ErrInvalid, protocol.CodeInvalidRequest},
	{protocol.ErrCursor, protocol.CodeInvalidRequest},
}

// retryAfter is the Retry-After, in seconds, of answers that say "later" and name no time.
const retryAfter = 1

// answer is an error in the form that HTTP and the WebSocket write.
type answer struct {
	code     protocol.Code
	detail   string
	outcome  string
	optionID string
	field    string // of a form: see hub.InvalidAnswerError
	session  string // of hub.TakenUpError
	retry    int    // seconds; for answers that say "later"
	internal bool   // the error's text is for the log only
	auth     metrics.AuthFailure
}

// toAnswer turns any error into the part that a client may see. An error that is not in the
// tables is internal: its text goes to the log.
func toAnswer(err error) answer {
	var own *apiError
	if errors.As(err, &own) {
		return answer{code: own.code, detail: own.detail, auth: own.auth}
	}
	var resolved *hub.ResolvedError
	if errors.As(err, &resolved) {
		return answer{
			code: protocol.CodeApprovalResolved, detail: resolved.Error(),
			outcome: resolved.Outcome, optionID: resolved.OptionID,
		}
	}
	var answered *hub.AnsweredError
	if errors.As(err, &answered) {
		return answer{code: protocol.CodeQuestionResolved, detail: answered.Error(), outcome: answered.Outcome}
	}
	var wrong *hub.InvalidAnswerError
	if errors.As(err, &wrong) {
		return answer{code: protocol.CodeInvalidAnswer, detail: wrong.Error(), field: wrong.Field}
	}
	var taken *hub.TakenUpError
	if errors.As(err, &taken) {
		return answer{code: protocol.CodeTakenUp, detail: taken.Error(), session: taken.SessionID}
	}
	var refused *hub.RequestError
	if errors.As(err, &refused) {
		return answer{code: workerCode(refused.Code), detail: refused.Detail}
	}
	var rate *hub.RateError
	if errors.As(err, &rate) {
		// Rounded up: a client that comes back then is not refused again.
		return answer{code: protocol.CodeRateLimited, detail: rate.Error(), retry: int((rate.Wait + time.Second - 1) / time.Second)}
	}
	for _, row := range codeOf {
		if errors.Is(err, row.err) {
			a := answer{code: row.code, detail: err.Error()}
			if row.err == hub.ErrUnreachable {
				a.detail = row.err.Error() // the operator finds the server and its error on the admin listener
			}
			switch statusOf[a.code] {
			case http.StatusTooManyRequests, http.StatusServiceUnavailable:
				a.retry = retryAfter
			}
			return a
		}
	}
	var framework *fiber.Error
	if errors.As(err, &framework) {
		return frameworkAnswer(framework)
	}
	return answer{code: protocol.CodeInternal, detail: "something went wrong in the hub", internal: true}
}

// workerCode is the code of a worker's refusal. A worker names faults of the request, and
// its own; nothing else is its business.
func workerCode(code protocol.Code) protocol.Code {
	switch status := statusOf[code]; {
	case code == protocol.CodeWorkerTimeout, code == protocol.CodeUnavailable, code == protocol.CodeNotImplemented:
		return code
	case status >= 400 && status < 500 && status != http.StatusUnauthorized:
		return code
	}
	return protocol.CodeWorkerFailed
}

// frameworkAnswer maps refusals that fiber and fasthttp make themselves.
func frameworkAnswer(e *fiber.Error) answer {
	switch e.Code {
	case fiber.StatusNotFound:
		return answer{code: protocol.CodeNotFound, detail: "there is no such route"}
	case fiber.StatusMethodNotAllowed:
		return answer{code: protocol.CodeMethodNotAllowed, detail: "the route has other methods: see Allow"}
	case fiber.StatusRequestTimeout:
		return answer{code: protocol.CodeRequestTimeout, detail: fmt.Sprintf("the header did not come within %v, or the body within %v", headerTimeout, bodyTimeout)}
	case fiber.StatusRequestEntityTooLarge:
		return answer{code: protocol.CodePayloadTooLarge, detail: "the body is over --max-message-bytes; scale pictures down before they are sent, or raise that and --max-event-bytes"}
	case fiber.StatusRequestHeaderFieldsTooLarge:
		return answer{code: protocol.CodeHeaderTooLarge, detail: fmt.Sprintf("the header is over %d bytes", maxHeaderBytes)}
	case fiber.StatusInternalServerError, fiber.StatusBadGateway:
		return answer{code: protocol.CodeInternal, detail: "something went wrong in the hub", internal: true}
	default:
		return answer{code: protocol.CodeInvalidRequest, detail: "the request could not be read"}
	}
}

// onError writes every error answer (RFC 9457).
func (s *Server) onError(c *fiber.Ctx, err error) error {
	var refused *wsconn.RefusedError
	if errors.As(err, &refused) {
		for k, vv := range refused.Header {
			for _, v := range vv {
				c.Response().Header.Add(k, v)
			}
		}
		err = handshakeError(refused)
	}
	var framework *fiber.Error
	if conn := c.Context().Conn(); errors.As(err, &framework) && framework.Code == fiber.StatusRequestHeaderFieldsTooLarge && conn != nil {
		discardBriefly(conn)
	}
	if framework != nil && framework.Code == fiber.StatusRequestTimeout && s.stopping.Load() {
		err = s.brokenOff(c)
	}
	a := toAnswer(err)
	if a.internal {
		s.cfg.Log.Error("request failed", "method", c.Method(), "route", c.Route().Path, "error", err)
	}
	if a.auth != "" {
		s.cfg.Metrics.AuthFailed(a.auth)
	}
	status := statusOf[a.code]
	if c.Method() == fiber.MethodOptions && (status == http.StatusMethodNotAllowed || status == http.StatusNotFound && c.Path() == "*") {
		return c.SendStatus(http.StatusNoContent) // Allow says it all (RFC 9110, section 9.3.7)
	}
	switch status {
	case http.StatusUnauthorized:
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	case http.StatusRequestEntityTooLarge:
		s.cfg.Metrics.LimitRejected(metrics.LimitMessageBytes)
	}
	if a.retry > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(a.retry))
	}
	commonHeaders(c) // a request that could not be read never went through settle
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Status(status)
	body := protocol.Marshal(problemOf(a))
	c.Set(fiber.HeaderContentType, "application/problem+json")
	return c.Send(body)
}

// problemOf is the document of an answer.
func problemOf(a answer) protocol.Problem {
	status := statusOf[a.code]
	return protocol.Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: a.detail, Code: a.code, Outcome: a.outcome, OptionID: a.optionID, Field: a.field,
		SessionID: a.session,
	}
}

// brokenOff is the answer to a request whose header a stopping node has received in part.
// The node ended the wait, so the client was not late. If no byte had come, no answer is
// sent.
func (s *Server) brokenOff(c *fiber.Ctx) error {
	if conn, ok := c.Context().Conn().(*endNoting); ok && !conn.heard {
		conn.mute = true
	}
	return errStopping
}

var errStopping = fmt.Errorf("%w: the node stops: send the request again", hub.ErrUnavailable)

// handshakeError gives a refused WebSocket handshake its code.
func handshakeError(refused *wsconn.RefusedError) error {
	code := protocol.CodeInvalidRequest
	if refused.Status == http.StatusUpgradeRequired {
		code = protocol.CodeUpgradeRequired
	}
	return refuse(code, "%s", refused.Reason)
}

// recoverPanic keeps a bug in one request from ending the process.
func (s *Server) recoverPanic(c *fiber.Ctx) (err error) {
	defer func() { s.panicked(recover(), c.Route().Path, &err) }()
	return c.Next()
}

// panicked makes an error of what recover gave, if it gave anything.
func (s *Server) panicked(r any, route string, err *error) {
	if r != nil {
		*err = fmt.Errorf("panic: %v", r)
		s.cfg.Log.Error("panic in a handler", "route", route, "panic", r, "stack", stack())
	}
}

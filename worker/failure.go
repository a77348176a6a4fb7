package worker

import (
	"regexp"
	"strconv"
	"strings"
)

// modelStatus is how agents write the HTTP status with which their model refused
// a request: codex "unexpected status 401 Unauthorized", claude "API Error: 400",
// qwen "400 ..." behind JSON-RPC's "Internal error", gemini the model's own
// "code":400.
var modelStatus = regexp.MustCompile(`(?i)\b(?:status|error|code|http)\b[\s:="]{0,4}([45][0-9]{2})\b`)

// hopeless are the names that models and agents give to failures that another
// try does not mend; some agents (codex, for a 400) pass only the model's own
// text on.
var hopeless = []string{
	"invalid_request", "authentication_error", "authentication_failed", "oauth_org_not_allowed",
	"account_on_hold", "verification_required", "permission_error", "not_found_error", "model_not_found", "request_too_large", "billing_error", "invalid_api_key", "insufficient_quota",
	"INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND",
}

// retryable reports whether the same prompt may work another time: not when the
// agent calls the request itself wrong, or says that its model does. What is not
// known may work.
func (e *rpcError) retryable() bool {
	switch e.Code {
	case rpcInvalidRequest, rpcMethodNotFound, rpcInvalidParams, rpcAuthRequired:
		return false
	}
	text := e.Error() + " " + clip(string(e.Data), 4<<10)
	if found := modelStatus.FindStringSubmatch(text); found != nil {
		status, _ := strconv.Atoi(found[1]) // it is a number
		return retryableStatus(status)
	}
	for _, name := range hopeless {
		if strings.Contains(text, name) {
			return false
		}
	}
	return true
}

// retryableStatus: of what is the client's fault, only time, conflicts and rate
// limits pass (RFC 9110, section 15.5; RFC 6585, section 4).
func retryableStatus(status int) bool {
	switch status {
	case 408, 409, 425, 429:
		return true
	}
	return status >= 500
}

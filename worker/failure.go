package worker

import (
	"regexp"
	"strconv"
	"strings"
)

// modelStatus finds the HTTP status with which a model refused a request, as agents write
// it. codex writes "unexpected status 401 Unauthorized", and claude "API Error: 400". qwen
// writes "400 ..." behind JSON-RPC's "Internal error", and gemini the model's own
// "code":400.
var modelStatus = regexp.MustCompile(`(?i)\b(?:status|error|code|http)\b[\s:="]{0,4}([45][0-9]{2})\b`)

// hopeless are texts by which models and agents name failures that another attempt does not
// mend. Some agents (codex, for a 400) pass on only the model's own text.
var hopeless = []string{
	"invalid_request", "authentication_error", "authentication_failed", "oauth_org_not_allowed",
	"account_on_hold", "verification_required", "permission_error", "not_found_error", "model_not_found", "request_too_large", "billing_error", "invalid_api_key", "insufficient_quota",
	"INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND",
}

// retryable reports whether the same prompt may work another time. It may not if the agent
// calls the request itself wrong, or says that its model does. An unknown failure may pass.
func (e *rpcError) retryable() bool {
	switch e.Code {
	case rpcInvalidRequest, rpcMethodNotFound, rpcInvalidParams, rpcAuthRequired:
		return false
	}
	text := e.Error() + " " + clip(string(e.Data), 4<<10)
	if found := modelStatus.FindStringSubmatch(text); found != nil {
		status, _ := strconv.Atoi(found[1]) // it is a number: the expression says so
		return retryableStatus(status)
	}
	for _, name := range hopeless {
		if strings.Contains(text, name) {
			return false
		}
	}
	return true
}

// retryableStatus reports whether a model's refusal with this status may pass. Of the
// client errors, only those of time, conflicts and rates do (RFC 9110, section 15.5; RFC
// 6585, section 4).
func retryableStatus(status int) bool {
	switch status {
	case 408, 409, 425, 429:
		return true
	}
	return status >= 500
}

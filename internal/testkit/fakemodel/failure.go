package fakemodel

import (
	"encoding/json"
	"net/http"
)

// failure is the body of a vendor's error answer. Agents pass parts of it on to
// their users, so it is like the vendor's own.
type failure func(status int, message string) map[string]any

// openaiFailure is OpenAI's (platform.openai.com/docs/guides/error-codes).
func openaiFailure(status int, message string) map[string]any {
	kind, code := "server_error", any(nil)
	switch {
	case status == http.StatusUnauthorized:
		kind, code = "invalid_request_error", "invalid_api_key"
	case status == http.StatusTooManyRequests:
		kind, code = "requests", "rate_limit_exceeded"
	case status < 500:
		kind = "invalid_request_error"
	}
	return map[string]any{"error": map[string]any{"message": message, "type": kind, "param": nil, "code": code}}
}

// anthropicFailure is Anthropic's (docs.anthropic.com/en/api/errors).
func anthropicFailure(status int, message string) map[string]any {
	kind := "api_error"
	switch status {
	case http.StatusUnauthorized:
		kind = "authentication_error"
	case http.StatusForbidden:
		kind = "permission_error"
	case http.StatusNotFound:
		kind = "not_found_error"
	case http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case 529:
		kind = "overloaded_error"
	default:
		if status < 500 {
			kind = "invalid_request_error"
		}
	}
	return map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": message}}
}

// geminiFailure is Google's (google.aip.dev/193).
func geminiFailure(status int, message string) map[string]any {
	name := "INTERNAL"
	switch status {
	case http.StatusUnauthorized:
		name = "UNAUTHENTICATED"
	case http.StatusForbidden:
		name = "PERMISSION_DENIED"
	case http.StatusNotFound:
		name = "NOT_FOUND"
	case http.StatusTooManyRequests:
		name = "RESOURCE_EXHAUSTED"
	case http.StatusServiceUnavailable:
		name = "UNAVAILABLE"
	default:
		if status < 500 {
			name = "INVALID_ARGUMENT"
		}
	}
	return map[string]any{"error": map[string]any{"code": status, "message": message, "status": name}}
}

// answer sends the error. A client that has left needs none.
func (f failure) answer(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(f(status, message))
}

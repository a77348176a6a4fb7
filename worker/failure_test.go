package worker

import (
	"encoding/json"
	"testing"
)

// What real agents were seen to answer when their model failed, and whether asking
// again has sense.
func TestModelFailuresAreToldAsRetryableOrNot(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		retryable    bool
	}{
		{"codex, 400", `{"code":-32603,"message":"Internal error","data":{"message":"{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}"}}`, false},
		{"codex, 401", `{"code":-32603,"message":"Internal error","data":{"message":"unexpected status 401 Unauthorized: no, url: http://127.0.0.1:429/v1"}}`, false},
		{"codex, 429", `{"code":-32603,"message":"Internal error","data":{"message":"exceeded retry limit, last status: 429 Too Many Requests"}}`, true},
		{"codex, 500", `{"code":-32603,"message":"Internal error","data":{"message":"We're currently experiencing high demand, which may cause temporary errors."}}`, true},
		{"codex, 529", `{"code":-32603,"message":"Internal error","data":{"message":"unexpected status 529 <unknown status code>: no"}}`, true},
		{"codex, break", `{"code":-32603,"message":"Internal error","data":{"message":"stream disconnected before completion: Transport error"}}`, true},
		{"claude, 400", `{"code":-32603,"message":"Internal error: API Error: 400 no","data":{"errorKind":"unknown"}}`, false},
		{"claude, 403", `{"code":-32603,"message":"Internal error: Failed to authenticate. API Error: 403 no","data":{"errorKind":"authentication_failed"}}`, false},
		{"claude, unknown model", `{"code":-32603,"message":"Internal error: There's an issue with the selected model","data":{"errorKind":"model_not_found"}}`, false},
		{"claude, 429", `{"code":-32603,"message":"Internal error: API Error: Request rejected (429)","data":{"errorKind":"rate_limit"}}`, true},
		{"claude, 500", `{"code":-32603,"message":"Internal error: API Error: 500 no","data":{"errorKind":"server_error"}}`, true},
		{"claude, break", `{"code":-32603,"message":"Internal error: API Error: Unable to connect to API (ECONNRESET)","data":{"errorKind":"unknown"}}`, true},
		{"claude, not logged in", `{"code":-32000,"message":"Authentication required"}`, false},
		{"gemini, 400", `{"code":400,"message":"{\"error\":{\"code\":400,\"message\":\"no\",\"status\":\"INVALID_ARGUMENT\"}}"}`, false},
		{"gemini, 503", `{"code":500,"message":"{\"error\":{\"code\":503,\"message\":\"no\",\"status\":\"UNAVAILABLE\"}}"}`, true},
		{"qwen, 401", `{"code":-32603,"message":"Internal error","data":{"details":"401 no"}}`, false},
		{"qwen, 500", `{"code":-32603,"message":"Internal error","data":{"details":"500 no"}}`, true},
		{"opencode, which does not tell", `{"code":-32603,"message":"Internal error: no","data":{"errorName":"APIError"}}`, true},
		{"a timeout", `{"code":-32603,"message":"request failed with status code 408"}`, true},
		{"no status", `{"code":-32603,"message":"error: 4000 tokens, 401 of them cached"}`, true},
		{"invalid params", `{"code":-32602,"message":"Invalid params"}`, false},
	} {
		var e rpcError
		if err := json.Unmarshal([]byte(test.answer), &e); err != nil {
			t.Fatal(err)
		}
		if got := e.retryable(); got != test.retryable {
			t.Errorf("%s: retryable is %v: %s", test.name, got, e.Error())
		}
	}
}

package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

func TestErrorsSayWhatTheHubSaid(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/base/api/sessions/s1" {
			http.Error(w, "<html>", http.StatusBadGateway)
			return
		}
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"status":409,"code":"approval_resolved","detail":"late","outcome":"selected","optionId":"o1"}`))
	}))
	defer server.Close()
	c := &Client{BaseURL: server.URL + "/base/", HTTPClient: server.Client()}
	s := c.Session("s1", "secret")

	_, err := s.Approve(t.Context(), protocol.ApproveRequest{InteractionID: "i"})
	var e *Error
	if !errors.As(err, &e) || e.Code != protocol.CodeApprovalResolved || e.Outcome != "selected" || e.OptionID != "o1" ||
		e.RetryAfter != 3*time.Second || e.Temporary() || e.Error() != "approve: 409 approval_resolved: late" {
		t.Errorf("got %+v, %v", e, err)
	}
	_, err = s.Get(t.Context())
	if !errors.As(err, &e) || e.Code != "" || !e.Temporary() || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestOneCredentialIsSent(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		_, _ = w.Write([]byte("{}"))
	}))
	defer server.Close()
	for _, tc := range []struct{ key, token, wantKey, wantBearer string }{
		{"k", "", "k", ""},
		{"k", "t", "", "Bearer t"},
		{"", "", "", ""},
	} {
		c := &Client{BaseURL: server.URL, APIKey: tc.key, HTTPClient: server.Client()}
		if _, err := c.Session("s1", tc.token).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got.Get("X-API-Key") != tc.wantKey || got.Get("Authorization") != tc.wantBearer {
			t.Errorf("%+v: sent %q and %q", tc, got.Get("X-API-Key"), got.Get("Authorization"))
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "0.025": 25 * time.Millisecond, "NaN": 0, "1e300": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second,
		"Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
}

func TestTemporaryErrors(t *testing.T) {
	for status, want := range map[int]bool{
		400: false, 401: false, 403: false, 404: false, 408: true, 409: false, 413: false, 429: true, 500: false, 502: true, 503: true, 504: true,
	} {
		if e := (&Error{Status: status}); e.Temporary() != want {
			t.Errorf("%d: temporary is %v", status, e.Temporary())
		}
	}
}

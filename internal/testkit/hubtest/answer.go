package hubtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// Answer is that to a request, read to its end.
type Answer struct {
	StatusCode int
	Header     http.Header
	Body       []byte
}

// Call sends a request. header are names and values in turn: "Host" sets that, and
// an empty value takes the header away. A body is JSON unless the header says
// something else.
func Call(t testing.TB, client *http.Client, method, url, body string, header ...string) Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		switch name, value := header[i], header[i+1]; {
		case name == "Host":
			req.Host = value
		case value == "":
			req.Header.Del(name)
		default:
			req.Header.Set(name, value)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return Answer{resp.StatusCode, resp.Header, raw}
}

// Cookies are those that the answer sets.
func (a Answer) Cookies() []*http.Cookie { return (&http.Response{Header: a.Header}).Cookies() }

// inside are words of the program's own that no error may hold.
var inside = regexp.MustCompile(`Go |protocol\.|json: |\bhub\.|0x[0-9a-f]{6}`)

// Problem checks that the answer is this error, with all that belongs to one (RFC
// 9457).
func (a Answer) Problem(status int, code protocol.Code) error {
	var p struct {
		Type, Title, Detail string
		Status              int
		Code                protocol.Code
	}
	if a.StatusCode != status {
		return fmt.Errorf("status %d, want %d %s: %s", a.StatusCode, status, code, a.Body)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		return fmt.Errorf("the error is %q", got)
	}
	if err := json.Unmarshal(a.Body, &p); err != nil {
		return err
	}
	if p.Code != code || p.Status != status || p.Type == "" || p.Title == "" || p.Detail == "" {
		return fmt.Errorf("the problem is %s, want %s", a.Body, code)
	}
	if inside.MatchString(p.Detail) {
		return fmt.Errorf("the detail speaks of the program's inside: %s", p.Detail)
	}
	if a.Header.Get("X-Content-Type-Options") != "nosniff" {
		return fmt.Errorf("the error lacks nosniff")
	}
	later := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	if seconds, err := strconv.Atoi(a.Header.Get("Retry-After")); later && (err != nil || seconds < 1) {
		return fmt.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
	}
	return nil
}

// Decode reads JSON; nothing is the zero value.
func Decode[T any](t testing.TB, raw []byte) T {
	t.Helper()
	var v T
	if len(raw) == 0 {
		return v
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%.1000s: %v", raw, err)
	}
	return v
}

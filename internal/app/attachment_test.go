package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// upload adds a file to a session.
func (h *hubUnderTest) upload(s protocol.CreateResponse, name, data string, header ...string) protocol.Attachment {
	h.t.Helper()
	header = append([]string{"Content-Type", "application/octet-stream", "Authorization", "Bearer " + s.Token}, header...)
	a := hubtest.Call(h.t, http.DefaultClient, "POST", h.url+"/api/sessions/"+s.SessionID+"/attachments?name="+url.QueryEscape(name), data, header...)
	var out protocol.Attachment
	if err := json.Unmarshal(a.Body, &out); err != nil || a.StatusCode != http.StatusCreated {
		h.t.Fatalf("upload: %d %s", a.StatusCode, a.Body)
	}
	return out
}

// A file goes into the session, to the agent and back, byte by byte. It goes with the
// session.
func TestAttachmentFromEndToEnd(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	photo := make([]byte, 3<<20)
	_, _ = rand.Read(photo)
	copy(photo, "\x89PNG\r\n\x1a\n")
	a := h.upload(s, `my "photo" é.png`, string(photo))
	if a.MediaType != "image/png" || a.Size != int64(len(photo)) || a.Name != `my "photo" é.png` {
		t.Errorf("the answer is %+v", a)
	}
	bearer := []string{"Authorization", "Bearer " + s.Token}
	got := h.call("GET", a.URI, nil, nil, bearer...)
	if string(got.Body) != string(photo) || got.StatusCode != http.StatusOK {
		t.Errorf("read %d bytes, %d", len(got.Body), got.StatusCode)
	}
	for name, want := range map[string]string{
		"Content-Type": "image/png", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		"Content-Disposition": `attachment; filename="my _photo_ _.png"; filename*=UTF-8''my%20%22photo%22%20%C3%A9.png`,
		"Vary":                "Authorization, X-API-Key, Cookie",
		"Etag":                `"` + a.AttachmentID + `"`, "Content-Length": fmt.Sprint(len(photo)), "Cache-Control": "private, max-age=31536000, immutable",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if again := h.call("GET", a.URI, nil, nil, append(bearer, "If-None-Match", got.Header.Get("Etag"))...); again.StatusCode != http.StatusNotModified {
		t.Errorf("with its ETag: %d", again.StatusCode)
	}
	if head := h.call("HEAD", a.URI, nil, nil, bearer...); head.StatusCode != http.StatusOK || len(head.Body) != 0 || head.Header.Get("Content-Length") != fmt.Sprint(len(photo)) {
		t.Errorf("HEAD: %d, %v", head.StatusCode, head.Header)
	}
	page := h.upload(s, "page.html", "<script>alert(1)</script>", "Content-Type", "text/html")
	if got := h.call("GET", page.URI, nil, nil, bearer...); got.Header.Get("Content-Security-Policy") == "" || !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment;") {
		t.Errorf("a page: %v", got.Header)
	}

	// To the demo agent, which takes no images.
	body := `{"content":[{"type":"text","text":"look"},{"type":"attachment","attachmentId":"` + a.AttachmentID + `"}],"messageId":"m1"}`
	h.want(http.StatusAccepted, "", "POST", "/api/sessions/"+s.SessionID+"/messages", body, bearer...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := h.ws(ctx, s, "0")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.close()
	said, sent := "", ""
	for done := false; !done; {
		f, err := stream.next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Text    string
			Content json.RawMessage
			Error   *protocol.TurnError
		}
		_ = json.Unmarshal(f.Data, &d)
		switch protocol.EventType(f.Type) {
		case protocol.EventMessage:
			sent = string(d.Content)
		case protocol.EventOutput:
			said += d.Text
		case protocol.EventComplete:
			if done = true; d.Error != nil {
				t.Fatalf("the turn failed: %+v", d.Error)
			}
		}
	}
	if !strings.Contains(sent, `"mediaType":"image/png","size":3145728`) {
		t.Errorf("the log has %s", sent)
	}
	link := regexp.MustCompile(`file://[^) ]+`).FindString(said)
	u, err := url.Parse(link)
	if err != nil || link == "" {
		t.Fatalf("the agent said %q", said)
	}
	if file, err := os.ReadFile(u.Path); err != nil || string(file) != string(photo) {
		t.Errorf("the agent's file has %d bytes, %v", len(file), err)
	}
	h.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+s.SessionID, nil, bearer...)
	h.want(http.StatusNotFound, protocol.CodeNotFound, "GET", a.URI, nil)
}

func TestBadAttachments(t *testing.T) {
	h := startHub(t, "--max-attachment-bytes", "2MiB", "--max-attachments-bytes", "3MiB", "--max-message-bytes", "64KiB")
	s, other := h.create(protocol.CreateRequest{}), h.create(protocol.CreateRequest{})
	route := "/api/sessions/" + s.SessionID + "/attachments"
	binary := []string{"Content-Type", "application/octet-stream"}
	a := h.upload(s, "a", strings.Repeat("x", 1<<20+1)) // over --max-message-bytes
	var read protocol.TokenResponse
	h.call("POST", "/api/sessions/"+s.SessionID+"/token", protocol.TokenRequest{Scope: "read"}, &read, "Authorization", "Bearer "+s.Token)
	ended := h.create(protocol.CreateRequest{})
	h.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+ended.SessionID, nil)
	for _, c := range []struct {
		name   string
		status int
		code   protocol.Code
		method string
		path   string
		body   string
		header []string
		detail string
	}{
		{"no bytes", 400, protocol.CodeInvalidRequest, "POST", route, "", nil, "no bytes"},
		{"a path", 400, protocol.CodeInvalidRequest, "POST", route + "?name=..%2Fa", "x", binary, "without a path"},
		{"a line break", 400, protocol.CodeInvalidRequest, "POST", route + "?name=a%0Ab", "x", binary, "control character"},
		{"a long name", 400, protocol.CodeInvalidRequest, "POST", route + "?name=" + strings.Repeat("n", 256), "x", binary, "at most 255"},
		{"a name that misleads", 400, protocol.CodeInvalidRequest, "POST", route + "?name=a%E2%80%AEgpj.exe", "x", binary, "direction of writing"},
		{"no picture", 415, protocol.CodeUnsupportedMedia, "POST", route, "text", []string{"Content-Type", "image/png"}, "not image/png"},
		{"a form", 415, protocol.CodeUnsupportedMedia, "POST", route, "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, "the file itself"},
		{"a form with files", 415, protocol.CodeUnsupportedMedia, "POST", route, "a=b", []string{"Content-Type", "multipart/form-data; boundary=b"}, "the file itself"},
		{"packed", 415, protocol.CodeUnsupportedMedia, "POST", route, "x", append(binary, "Content-Encoding", "gzip"), "compressed"},
		{"too large", 413, protocol.CodePayloadTooLarge, "POST", route, strings.Repeat("x", 2<<20+1), binary, "--max-attachment-bytes"},
		{"too much", 413, protocol.CodePayloadTooLarge, "POST", route, strings.Repeat("x", 2<<20), binary, "--max-attachments-bytes"},
		{"a page of another site", 403, protocol.CodeOriginRefused, "POST", route, "x", []string{"Content-Type", "text/plain", "Origin", "https://evil.example"}, ""},
		{"a page without an origin", 403, protocol.CodeOriginRefused, "POST", route, "x", []string{"Content-Type", "text/plain", "Origin", "null"}, ""},
		{"a hidden page", 403, protocol.CodeOriginRefused, "POST", route, "x", []string{"Content-Type", "text/plain", "Sec-Fetch-Site", "cross-site"}, ""},
		{"a reader", 403, protocol.CodeScope, "POST", route, "x", append(binary, "Authorization", "Bearer "+read.Token), ""},
		{"a deleted session", 404, protocol.CodeNotFound, "POST", "/api/sessions/" + ended.SessionID + "/attachments", "x", binary, ""},
		{"of another session", 404, protocol.CodeNotFound, "GET", "/api/sessions/" + other.SessionID + "/attachments/" + a.AttachmentID, "", nil, ""},
		{"in a message of another session", 404, protocol.CodeNotFound, "POST", "/api/sessions/" + other.SessionID + "/messages",
			`{"content":[{"type":"attachment","attachmentId":"` + a.AttachmentID + `"}]}`, nil, ""},
		{"in a message under an escape", 404, protocol.CodeNotFound, "POST", "/api/sessions/" + other.SessionID + "/messages",
			`{"content":[{"type":"\u0061ttachment","attachmentId":"` + a.AttachmentID + `"}]}`, nil, ""},
		{"without an id", 400, protocol.CodeInvalidRequest, "POST", "/api/sessions/" + s.SessionID + "/messages", `{"content":[{"type":"attachment"}]}`, nil, "attachmentId"},
		{"unknown", 404, protocol.CodeNotFound, "GET", route + "/f_none", "", nil, ""},
	} {
		got := hubtest.Call(t, http.DefaultClient, c.method, h.url+c.path, c.body, c.header...)
		if err := got.Problem(c.status, c.code); err != nil || !strings.Contains(string(got.Body), c.detail) {
			t.Errorf("%s: %v: %s", c.name, err, got.Body)
		}
	}
	if got := h.call("GET", a.URI, nil, nil, "Authorization", "Bearer "+read.Token); len(got.Body) != 1<<20+1 {
		t.Errorf("a reader reads %d bytes, %d", len(got.Body), got.StatusCode)
	}
	h.upload(s, "chunked", "x") // the session goes on
}

// An upload that breaks off leaves nothing behind, and its place is free again.
func TestUploadThatBreaksOff(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	for i := range 10 { // more than one user's places
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		length, data := "Content-Length: 1000000", strings.Repeat("x", 500_000)
		if i%2 == 1 {
			length, data = "Transfer-Encoding: chunked", "5\r\nhello\r\n"
		}
		_, _ = io.WriteString(conn, "POST /api/sessions/"+s.SessionID+"/attachments HTTP/1.1\r\nHost: localhost\r\n"+length+"\r\n\r\n"+data)
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
			t.Errorf("%d: %.100s", i, answer)
		}
		_ = conn.Close()
	}
	snap, err := h.node.hub.Load(t.Context(), s.SessionID)
	if err != nil || len(snap.State.Attachments) > 0 {
		t.Errorf("%d attachments, %v", len(snap.State.Attachments), err)
	}
	h.upload(s, "whole", strings.Repeat("x", 1_000_000))
}

package client

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// A file goes out as it is, under the type that is given or none, and never in JSON.
func TestAttachments(t *testing.T) {
	var method, uri, kind, body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		method, uri, kind, body = r.Method, r.RequestURI, r.Header.Get("Content-Type"), string(raw)
		switch {
		case body == "big":
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = w.Write([]byte(`{"status":413,"code":"payload_too_large","detail":"over --max-attachment-bytes"}`))
		case r.Method == http.MethodGet:
			_, _ = w.Write([]byte("bytes"))
		default:
			_, _ = w.Write([]byte(`{"attachmentId":"f1","name":"a b.txt","mediaType":"text/plain","size":4,"uri":"/u"}`))
		}
	}))
	defer server.Close()
	s := (&Client{BaseURL: server.URL, HTTPClient: server.Client()}).Session("s1", "t")
	a, err := s.AddAttachment(t.Context(), "a b.txt", "", strings.NewReader("text"))
	if err != nil || a != (protocol.Attachment{AttachmentID: "f1", Name: "a b.txt", MediaType: "text/plain", Size: 4, URI: "/u"}) {
		t.Errorf("got %+v, %v", a, err)
	}
	if method != "POST" || uri != "/api/sessions/s1/attachments?name=a+b.txt" || kind != "" || body != "text" {
		t.Errorf("sent %s %s, %q, %q", method, uri, kind, body)
	}
	var refused *Error
	if _, err := s.AddAttachment(t.Context(), "", "image/png", strings.NewReader("big")); !errors.As(err, &refused) || refused.Code != protocol.CodePayloadTooLarge || kind != "image/png" {
		t.Errorf("a long one: %v, as %q", err, kind)
	}
	r, err := s.Attachment(t.Context(), "f/1")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if raw, err := io.ReadAll(r); string(raw) != "bytes" || err != nil || uri != "/api/sessions/s1/attachments/f%2F1" {
		t.Errorf("read %q from %s, %v", raw, uri, err)
	}
	if got := string(AttachmentContent("look", a)); got != `[{"text":"look","type":"text"},{"type":"attachment","attachmentId":"f1"}]` {
		t.Errorf("content %s", got)
	}
	if got := string(AttachmentContent("", a)); got != `[{"type":"attachment","attachmentId":"f1"}]` {
		t.Errorf("content %s", got)
	}
}

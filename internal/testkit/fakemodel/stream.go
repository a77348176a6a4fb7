package fakemodel

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// stream writes server-sent events and flushes each. Write errors are not
// reported: a client that has left ends its request's context, and that is
// where the reply looks.
type stream struct {
	w      http.ResponseWriter
	flush  func() error
	number int // of the request, for ids that are unique within the server
}

func newStream(w http.ResponseWriter, number int) *stream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	return &stream{w: w, flush: http.NewResponseController(w).Flush, number: number}
}

// id is an identifier that no other reply of this server uses.
func (s *stream) id(prefix string) string { return fmt.Sprintf("%s_%d", prefix, s.number) }

// event sends one event with a name. The vendors that have names give them twice:
// in the event line and as "type" in the data.
func (s *stream) event(name string, fields map[string]any) {
	fields["type"] = name
	fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", name, encode(fields))
	_ = s.flush()
}

// data sends one event without a name.
func (s *stream) data(text string) {
	fmt.Fprintf(s.w, "data: %s\n\n", text)
	_ = s.flush()
}

// encode is for what a script or a wire has put together: strings, numbers,
// lists and maps. Anything else is a mistake in the test.
func encode(v map[string]any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("fakemodel: encode %v: %v", v, err))
	}
	return string(data)
}

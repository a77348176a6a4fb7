package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"sessionhub/protocol"
)

// An answer to a question goes over the WebSocket, and its refusal names the field.
func TestAnswerGoesOverTheWebSocket(t *testing.T) {
	var got []string
	serve := answering(func(c protocol.Command) string {
		if got = append(got, string(c.Type)+string(c.Data)); len(got) > 1 {
			return ack(c, `{"interactionId":"q","action":"accept"}`)
		}
		return fmt.Sprintf(`{"type":"error","id":%q,"error":{"code":"invalid_answer","detail":"why","field":"copies"}}`, c.ID)
	})
	run(t, WebSocket, []part{{frames: []string{connected("e1", 1)}, then: serve}}, func(t *testing.T, hub *scripted, s *Session) {
		st := s.Stream(StreamOptions{})
		answer := protocol.AnswerRequest{InteractionID: "q", Action: protocol.ActionAccept, Content: json.RawMessage(`{"copies":0}`)}
		following(t, st, func(ctx context.Context) {
			var e *Error
			if _, err := st.Answer(ctx, answer); !errors.As(err, &e) || e.Code != protocol.CodeInvalidAnswer || e.Field != "copies" || e.Temporary() {
				t.Errorf("refused: %v", err)
			}
			if r, err := st.Answer(ctx, answer); err != nil || r.Action != protocol.ActionAccept {
				t.Errorf("answered %+v, %v", r, err)
			}
		})
		if want := `answer{"interactionId":"q","action":"accept","content":{"copies":0}}`; len(got) != 2 || got[0] != want {
			t.Errorf("it sent %q", got)
		}
	})
}

// The second answer to a question tells that the first one got through.
func TestAnAnswerWhoseReplyWasLostIsDone(t *testing.T) {
	parts := []part{{frames: []string{connected("e1", 1)}, then: answering(func(protocol.Command) string { return "" })}, {frames: []string{connected("e1", 1)}, then: hang}}
	for action, ok := range map[string]bool{protocol.ActionDecline: true, protocol.ActionAccept: false} {
		run(t, WebSocket, parts, func(t *testing.T, hub *scripted, s *Session) {
			hub.post = func(w http.ResponseWriter, path, _ string) {
				if path != "/api/sessions/s1/answer" {
					t.Errorf("it called %s", path)
				}
				w.WriteHeader(http.StatusConflict)
				_, _ = io.WriteString(w, `{"status":409,"code":"elicitation_resolved","outcome":"declined"}`)
			}
			st := s.Stream(StreamOptions{Transport: WebSocket})
			following(t, st, func(ctx context.Context) {
				got, err := st.Answer(ctx, protocol.AnswerRequest{InteractionID: "q", Action: action})
				if (err == nil) != ok || ok && got.Action != action {
					t.Errorf("%s: %+v, %v", action, got, err)
				}
			})
		})
	}
}

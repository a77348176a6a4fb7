package app

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sessionhub/internal/testkit/fakemodel"
	"sessionhub/protocol"
)

// block is a content block as it goes over the wire (ACP, "Content").
type block map[string]any

// dot is a red PNG of one pixel: some agents look at what they pass on.
const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

// sound is the head of a WAV file without a sound in it.
const sound = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA="

// attachments are what people attach to a message, and what of it the model is to
// be told.
var attachments = []struct {
	kind    string
	block   block
	told    string
	refusal string
}{
	{"image", block{"type": "image", "mimeType": "image/png", "data": dot}, dot, "takes no images"},
	{"audio", block{"type": "audio", "mimeType": "audio/wav", "data": sound}, sound, "takes no audio"},
	{"file", block{"type": "resource", "resource": block{
		"uri": "file:///notes/attached.txt", "mimeType": "text/plain", "text": "the word is aquilegia",
	}}, "the word is aquilegia", "takes no embedded resources"},
	{"link", block{"type": "resource_link", "uri": "file:///notes/linked.txt", "name": "linked.txt"}, "linked.txt", ""},
}

// contentScenarios send each of them: it must reach the model, or the user is told
// that the agent does not take it.
func contentScenarios(agent realAgent) []scenario {
	var scenarios []scenario
	for _, a := range attachments {
		scenarios = append(scenarios, scenario{a.kind, func(t *testing.T, c *conversation) {
			question := "say I have got the " + a.kind
			m := c.sayContent(a.block, block{"type": "text", "text": question})
			if slices.Contains(agent.refuses, a.kind) {
				done := c.complete(m, protocol.StopError)
				if done.Error == nil || done.Error.Retryable || !strings.Contains(done.Error.Message, a.refusal) {
					t.Errorf("what the agent does not take is told as %s", protocol.Marshal(done))
				}
				return
			}
			c.complete(m, protocol.StopEndTurn)
			told := slices.ContainsFunc(c.model.Requests(), func(r fakemodel.Request) bool {
				return strings.Contains(string(r.Body), question) && strings.Contains(string(r.Body), a.told)
			})
			if want := !slices.Contains(agent.loses, a.kind); told != want {
				t.Errorf("the model was told of it: %v, want %v", told, want)
			}
		}})
	}
	for _, f := range uploads {
		scenarios = append(scenarios, scenario{"attached " + f.kind, func(t *testing.T, c *conversation) {
			a := c.upload(c.session, f.name, f.data)
			question := "say I have got the attached " + f.kind
			m := c.sayContent(block{"type": "text", "text": question}, block{"type": "attachment", "attachmentId": a.AttachmentID})
			c.complete(m, protocol.StopEndTurn)
			told := slices.ContainsFunc(c.model.Requests(), func(r fakemodel.Request) bool {
				return strings.Contains(string(r.Body), question) && strings.Contains(string(r.Body), f.told)
			})
			if !told {
				t.Errorf("no request to the model holds %.60q", f.told)
			}
		}})
	}
	return scenarios
}

// uploads are files that people add to the session, and what of each the model is to be told.
// No agent gets a sound of its user: it gets a link to the file.
var uploads = []struct{ kind, name, data, told string }{
	{"image", "dot.png", string(decoded(dot)), dot},
	{"text", "notes.txt", "the word is campanula", "the word is campanula"},
	{"sound", "sound.wav", string(decoded(sound)), "sound.wav"},
	{"binary", "data.bin", "\x00\x01\x02", "data.bin"},
}

func decoded(base64Text string) []byte {
	b, err := base64.StdEncoding.DecodeString(base64Text)
	if err != nil {
		panic(err)
	}
	return b
}

func (c *conversation) sayContent(blocks ...block) protocol.MessageResponse {
	c.t.Helper()
	var out protocol.MessageResponse
	resp := c.call("POST", "/api/sessions/"+c.session.SessionID+"/messages",
		protocol.MessageRequest{Content: protocol.Marshal(blocks)}, &out, "Authorization", "Bearer "+c.session.Token)
	if resp.StatusCode != http.StatusAccepted {
		c.t.Fatalf("message: %d", resp.StatusCode)
	}
	return out
}

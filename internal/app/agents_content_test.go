package app

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sessionhub/internal/testkit/fakemodel"
	"sessionhub/internal/testkit/hubtest"
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
			linked := f.takenAs == "" || slices.Contains(agent.refuses, f.takenAs)
			if linked && agent.asksToRead {
				question := hubtest.Decode[protocol.ToolApprovalData](t, c.expect(protocol.EventToolApproval).Data)
				if question.Kind != "read" || !strings.Contains(question.Title, a.AttachmentID) {
					t.Errorf("it asks to read the file by %s", protocol.Marshal(question))
				}
				c.decide(question, protocol.AllowOnce)
			}
			c.complete(m, protocol.StopEndTurn)
			var body string
			for _, r := range c.model.Requests() {
				if strings.Contains(string(r.Body), question) {
					body = string(r.Body)
				}
			}
			// The model can always look for the file by its path.
			if !regexp.MustCompile("/" + a.AttachmentID + "/" + regexp.QuoteMeta(f.name) + " \\([a-z/-]+, [0-9]+ bytes\\)").MatchString(body) {
				t.Errorf("the model is not told where %s lies", f.name)
			}
			taken := !linked && !slices.Contains(agent.loses, f.takenAs)
			if f.told != "" && strings.Contains(body, f.told) != taken {
				t.Errorf("the model gets what is in %s: %v, want %v", f.name, !taken, taken)
			}
			c.answers("still here after the attached " + f.kind)
		}})
	}
	return scenarios
}

// uploads are files that people add to the session. An agent that takes the kind takenAs
// passes on told of it. Any other agent gets a link, as it does for a file of no kind.
var uploads = []struct{ kind, name, data, takenAs, told string }{
	{"image", "dot.png", string(decoded(dot)), "image", dot},
	{"text", "notes.txt", "the word is campanula", "file", "the word is campanula"},
	{"sound", "sound.wav", string(decoded(sound)), "audio", sound},
	{"binary", "data.bin", "\x00\x01\x02", "", ""},
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

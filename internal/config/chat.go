package config

import (
	"io"
	"net/url"
	"strings"
)

// Chat is what `sessionhub chat` obeys.
type Chat struct {
	Hub      string // http:// or https://
	HubGiven bool   // somebody named it: it may be another machine's, also where its address is this one's
	KeyFile  string // of the API key

	Session  string // to attach to; empty: a new one
	Provider string
	Dir      string // working directory of a new session
	Worktree bool   // a new session works in a worktree of its own
	Model    string
	Mode     string
	Title    string
	TakeUp   string // the agent's own id of a session to take up

	Transport string // ChatAuto, ChatWebSocket or ChatSSE
	Approve   string // ChatAllow, ChatReject, or empty: nobody was asked
	JSON      bool
	Remove    bool

	// From the environment alone.
	APIKey Secret // or from KeyFile
	Token  Secret // of Session
}

// The values of Transport and Approve.
const (
	ChatAuto      = "auto"
	ChatWebSocket = "websocket"
	ChatSSE       = "sse"

	ChatAllow  = "allow"
	ChatReject = "reject"
)

// DefaultChat is what holds where nothing is set.
func DefaultChat() Chat { return Chat{Hub: "http://127.0.0.1:8080", Transport: ChatAuto} }

// The groups of its help.
const (
	groupHub     = "The hub"
	groupSession = "The session"
	groupPipe    = "Without a terminal"
)

func (c *Chat) settings() []setting {
	session := name(&c.Session).(*simple)
	session.holder = "ID"
	takeUp := name(&c.TakeUp).(*simple)
	takeUp.holder = "ID"
	return []setting{
		{"hub", groupHub, "the hub's address", chatHub(&c.Hub)},
		{"key-file", groupHub, "holds the API key, if SESSIONHUB_API_KEY does not", text(&c.KeyFile, "a file")},
		{"transport", groupHub, "auto: a WebSocket, and SSE where that does not get through", choice(&c.Transport, ChatAuto, ChatWebSocket, ChatSSE)},

		{"session", groupSession, "one to come back to; empty: a new one", session},
		{"provider", groupSession, "kind of agent of a new one; empty: the hub's default", name(&c.Provider)},
		{"dir", groupSession, "working directory of a new one, on the worker's machine; a relative one lies below its --workspace-root, or without --hub here; empty: that root", text(&c.Dir, "a directory")},
		{"worktree", groupSession, "a new one works in a git worktree of its own, made from --dir", onOff(&c.Worktree)},
		{"model", groupSession, "for the agent of a new one; empty: its own choice", name(&c.Model)},
		{"mode", groupSession, "for the agent of a new one; empty: its own choice", name(&c.Mode)},
		{"title", groupSession, "of a new one", name(&c.Title)},
		{"take-up", groupSession, "a session that the agent has from elsewhere, by the agent's own id of it; a new one goes on with it", takeUp},
		{"remove", groupSession, "delete a new one in the end", onOff(&c.Remove)},

		{"approve", groupPipe, "allow or reject what the agent asks for; empty: reject, and say so", optional(choice(&c.Approve, ChatAllow, ChatReject), &c.Approve)},
		{"json", groupPipe, "print events instead of the answer, each on a line", onOff(&c.JSON)},
	}
}

func (c *Chat) secrets() []secretSetting {
	return []secretSetting{
		{name: "api-key", help: "the key that may create sessions; a hub in local mode wants none", secret: &c.APIKey, check: checkKey},
		{name: "token", help: "a token of --session, in place of the key", secret: &c.Token, check: checkKey},
	}
}

// ParseChat reads the settings of `sessionhub chat` as Parse does those of serve.
func ParseChat(args []string, environ func(string) (string, bool)) (Chat, error) {
	c := DefaultChat()
	usual := c.Hub
	c.Hub = ""
	p := parser{rows: c.settings(), secrets: c.secrets(), environ: environ}
	if err := p.parse(args); err != nil {
		return c, err
	}
	if c.HubGiven = c.Hub != ""; !c.HubGiven {
		c.Hub = usual
	}
	p.keyFile(c.KeyFile, &c.APIKey)
	return c, p.err()
}

// keyFile reads the API key of --key-file, in place of the variable.
func (p *parser) keyFile(path string, key *Secret) {
	if path == "" || !p.right("key-file") {
		return
	}
	switch text, err := readSecretFile(path); {
	case key.IsSet():
		p.problem("--key-file", "SESSIONHUB_API_KEY or its _FILE is set too: want one of them")
	case err != nil:
		p.problem("--key-file", "%w", err)
	default:
		if err := checkKey(text); err != nil {
			p.problem("--key-file", "%w", err)
		}
		*key = NewSecret(text)
	}
}

// ChatUsage prints every setting of `sessionhub chat` with its default.
func ChatUsage(w io.Writer) error {
	c := DefaultChat()
	return usage(w, c.settings(), c.secrets())
}

// chatHub is a hub's address. Those of its streams are taken, too.
func chatHub(p *string) value {
	v := webURL(p).(*simple)
	parse := v.parse
	v.parse = func(t string) error {
		if t == "" {
			return wrong(t, "is empty", v.wanted)
		}
		if u, err := url.Parse(t); err == nil && (u.Scheme == "ws" || u.Scheme == "wss") {
			t = "http" + strings.TrimPrefix(t, "ws")
		}
		return parse(t)
	}
	return v
}

// Package known has the agents that sessionhub knows by name, and finds those that are
// installed on this machine. It starts no program. It reads the names of variables and
// files, and of files only the version in a package.json.
package known

import (
	"sessionhub/worker"
)

// Agent is a kind of agent that is known by name. The entry of providers.example.yaml is the
// same; a test compares the two.
type Agent struct {
	Name     string
	Provider worker.Provider // its Command is a program's name, looked up in PATH
	Install  string          // the command that installs it
	Packages []string        // npm packages that have the program, for its version
	Vendor   string          // a program of the same vendor that does not speak ACP; empty: none
	Homepage string

	login login
}

// login is how a login of the agent shows. Any one of it is enough.
type login struct {
	variables []string    // set to something
	files     []loginFile // there, and not empty
	keychain  bool        // on macOS it is in the keychain, where nobody looks
	command   string      // what logs in, for a person
}

// loginFile is a file below the directory that a variable names, else below the home
// directory.
type loginFile struct {
	variable string // empty: always below the home directory
	below    string // of the home directory
	name     string
}

// inherited are the variables that every known agent gets beside its own: proxies,
// certificate authorities, and the agents for SSH and GPG keys.
var inherited = []string{
	"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
	"NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK", "GNUPGHOME",
}

func inherits(own ...string) []string { return append(own, inherited...) }

// icon is a coloured tile with a letter or two. It is drawn here, and no vendor's.
func icon(letters, colour string) string {
	return "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%2032%2032'%3E" +
		"%3Crect%20width='32'%20height='32'%20rx='7'%20fill='%23" + colour + "'/%3E" +
		"%3Ctext%20x='16'%20y='21.5'%20font-size='16'%20font-family='sans-serif'%20font-weight='700'%20text-anchor='middle'%20fill='%23fff'%3E" +
		letters + "%3C/text%3E%3C/svg%3E"
}

// Agents returns all known agents, sorted by name.
func Agents() []Agent {
	return []Agent{
		{
			Name: "claude",
			Provider: worker.Provider{
				Command:     "claude-agent-acp",
				InheritEnv:  inherits("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR"),
				Env:         map[string]string{"DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_MAX_RETRIES": "3"},
				Mode:        "default",
				AskingModes: []string{"default", "plan"},
				Title:       "Claude Code", Description: "Anthropic's coding agent.", Icon: icon("Cl", "b4532f"),
			},
			Install:  "npm install -g @agentclientprotocol/claude-agent-acp",
			Packages: []string{"@agentclientprotocol/claude-agent-acp", "@zed-industries/claude-agent-acp"},
			Vendor:   "claude",
			Homepage: "https://github.com/agentclientprotocol/claude-agent-acp",
			login: login{
				variables: []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"},
				files:     []loginFile{{"CLAUDE_CONFIG_DIR", ".claude", ".credentials.json"}},
				keychain:  true,
				command:   "set ANTHROPIC_API_KEY, or run claude once",
			},
		},
		{
			Name: "codex",
			Provider: worker.Provider{
				Command:       "codex-acp",
				InheritEnv:    inherits("OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_HOME"),
				Mode:          "read-only",
				AskingModes:   []string{"read-only"},
				VolatileInput: []string{"call_id", "turn_id", "started_at_ms", "reason"},
				Title:         "Codex", Description: "OpenAI's coding agent.", Icon: icon("Cx", "1f2937"),
			},
			Install:  "npm install -g @zed-industries/codex-acp",
			Packages: []string{"@zed-industries/codex-acp", "@agentclientprotocol/codex-acp"},
			Vendor:   "codex",
			Homepage: "https://github.com/zed-industries/codex-acp",
			login: login{
				variables: []string{"OPENAI_API_KEY", "CODEX_API_KEY"},
				files:     []loginFile{{"CODEX_HOME", ".codex", "auth.json"}},
				command:   "set OPENAI_API_KEY, or run codex login",
			},
		},
		{
			Name: "gemini",
			Provider: worker.Provider{
				Command: "gemini",
				Args:    []string{"--acp"},
				InheritEnv: inherits("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION",
					"GOOGLE_GENAI_USE_VERTEXAI"),
				Mode:        "default",
				AskingModes: []string{"default", "plan"},
				Title:       "Gemini CLI", Description: "Google's coding agent.", Icon: icon("G", "1a56c4"),
			},
			Install:  "npm install -g @google/gemini-cli",
			Packages: []string{"@google/gemini-cli"},
			Homepage: "https://github.com/google-gemini/gemini-cli",
			login: login{
				variables: []string{"GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"},
				files:     []loginFile{{"", ".gemini", "oauth_creds.json"}},
				command:   "set GEMINI_API_KEY, or run gemini once",
			},
		},
		{
			Name: "goose",
			Provider: worker.Provider{
				Command:    "goose",
				Args:       []string{"acp"},
				InheritEnv: inherits("GOOSE_PROVIDER", "GOOSE_MODEL", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "OPENROUTER_API_KEY"),
				Env:        map[string]string{"GOOSE_MODE": "approve"},
				Title:      "Goose", Description: "Block's open coding agent, with the model that it is set up for.", Icon: icon("Go", "4d5b30"),
			},
			Install:  "curl -fsSL https://github.com/block/goose/releases/download/stable/download_cli.sh | bash",
			Homepage: "https://block.github.io/goose",
			login: login{
				variables: []string{"GOOSE_PROVIDER"},
				files:     []loginFile{{"", ".config/goose", "config.yaml"}},
				command:   "run goose configure",
			},
		},
		{
			Name: "opencode",
			Provider: worker.Provider{
				Command:     "opencode",
				Args:        []string{"acp"},
				InheritEnv:  inherits("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
				AskingModes: []string{"build", "plan"},
				Env: map[string]string{
					"OPENCODE_CONFIG_CONTENT":     `{"permission": {"edit": "ask", "bash": "ask", "webfetch": "ask"}}`,
					"OPENCODE_DISABLE_AUTOUPDATE": "1",
				},
				Title: "opencode", Description: "An open coding agent, with the model that it is set up for.", Icon: icon("oc", "6b3fa0"),
			},
			Install:  "npm install -g opencode-ai",
			Packages: []string{"opencode-ai"},
			Homepage: "https://opencode.ai",
			login: login{
				variables: []string{"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"},
				files:     []loginFile{{"XDG_DATA_HOME", ".local/share", "opencode/auth.json"}},
				command:   "run opencode auth login",
			},
		},
		{
			Name: "qwen",
			Provider: worker.Provider{
				Command:     "qwen",
				Args:        []string{"--acp"},
				InheritEnv:  inherits("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "DASHSCOPE_API_KEY"),
				Mode:        "default",
				AskingModes: []string{"default", "plan"},
				Title:       "Qwen Code", Description: "Alibaba's coding agent.", Icon: icon("Q", "0f766e"),
			},
			Install:  "npm install -g @qwen-code/qwen-code",
			Packages: []string{"@qwen-code/qwen-code"},
			Homepage: "https://github.com/QwenLM/qwen-code",
			login: login{
				variables: []string{"OPENAI_API_KEY", "DASHSCOPE_API_KEY"},
				files:     []loginFile{{"", ".qwen", "oauth_creds.json"}},
				command:   "run qwen auth, or set OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL",
			},
		},
	}
}

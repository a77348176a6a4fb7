package fakemodel

// ClaudeHome makes dir the private home of a Claude Code (claude-agent-acp) that
// talks to the server at baseURL (see [Server.URL]). It returns the environment
// that it needs on top of PATH. The directory must exist; sessions that Claude
// Code saves lie in it.
func ClaudeHome(dir, baseURL string) []string {
	return []string{
		"CLAUDE_CONFIG_DIR=" + dir,
		"HOME=" + dir,
		"ANTHROPIC_BASE_URL=" + baseURL,
		"ANTHROPIC_AUTH_TOKEN=fake",
		// A failed request is tried ten times by default, for minutes.
		"CLAUDE_CODE_MAX_RETRIES=0",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
		"DISABLE_TELEMETRY=1",
		"DISABLE_ERROR_REPORTING=1",
		"DISABLE_AUTOUPDATER=1",
		// Agents honour proxies; the model is on loopback.
		"NO_PROXY=127.0.0.1,localhost",
	}
}

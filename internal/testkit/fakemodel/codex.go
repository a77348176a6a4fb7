package fakemodel

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// codexKey is the variable from which codex reads its key. It is a name of our
// own so that a real key in the environment is never sent anywhere.
const codexKey = "FAKE_MODEL_KEY"

// CodexHome makes dir the private home of a codex-acp that talks to the server
// at baseURL (see [Server.URL]) and asks before it leaves its sandbox. It
// returns the environment that codex-acp needs on top of PATH. The directory
// must exist; sessions that codex-acp saves lie in it.
func CodexHome(dir, baseURL string) ([]string, error) {
	// With approval_policy "untrusted" nothing is ever asked; no retries, so
	// that a scripted error is seen at once.
	config := fmt.Sprintf(`model = "gpt-5.2"
model_provider = "fake"
approval_policy = "on-request"
sandbox_mode = "read-only"
check_for_update_on_startup = false

[analytics]
enabled = false

[model_providers.fake]
name = "fake"
base_url = %s
wire_api = "responses"
env_key = %q
request_max_retries = 0
stream_max_retries = 0
`, strconv.Quote(baseURL+"/v1"), codexKey)
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("write the codex configuration: %w", err)
	}
	return []string{
		"CODEX_HOME=" + dir,
		"HOME=" + dir,
		codexKey + "=fake",
		// Agents honour proxies; the model is on loopback.
		"NO_PROXY=127.0.0.1,localhost",
	}, nil
}

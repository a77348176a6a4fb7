package fakemodel

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// GeminiHome makes dir the private home of a gemini-cli that talks to the server
// at baseURL (see [Server.URL]), and returns the environment that it needs on top
// of PATH. The directory must exist.
func GeminiHome(dir, baseURL string) ([]string, error) {
	return geminiLike(dir, ".gemini", "gemini-api-key",
		"GEMINI_API_KEY=fake", "GOOGLE_GEMINI_BASE_URL="+baseURL, "GEMINI_CLI_NO_RELAUNCH=true")
}

// QwenHome is GeminiHome for qwen-code, which began as a copy of gemini-cli.
func QwenHome(dir, baseURL string) ([]string, error) {
	return geminiLike(dir, ".qwen", "openai",
		"OPENAI_API_KEY=fake", "OPENAI_BASE_URL="+baseURL+"/v1", "OPENAI_MODEL=fake")
}

func geminiLike(dir, folder, login string, env ...string) ([]string, error) {
	err := writeJSON(filepath.Join(dir, folder, "settings.json"), map[string]any{
		"security": map[string]any{
			"auth": map[string]any{"selectedType": login},
			// Else a directory that nobody has confirmed is worked in without
			// the modes that ask.
			"folderTrust": map[string]any{"enabled": false},
		},
		"general": map[string]any{"disableAutoUpdate": true, "enableAutoUpdate": false},
		"privacy": map[string]any{"usageStatisticsEnabled": false},
	})
	return append(env, "HOME="+dir, "NO_PROXY=127.0.0.1,localhost"), err
}

// OpencodeHome is GeminiHome for opencode.
func OpencodeHome(dir, baseURL string) ([]string, error) {
	config := map[string]any{
		"model": "fake/fake", "small_model": "fake/fake", "autoupdate": false, "share": "disabled",
		"permission": map[string]any{"edit": "ask", "bash": "ask", "webfetch": "ask"},
		"provider": map[string]any{"fake": map[string]any{
			"npm": "@ai-sdk/openai-compatible", "name": "fake",
			"options": map[string]any{"baseURL": baseURL + "/v1", "apiKey": "fake"},
			"models": map[string]any{"fake": map[string]any{
				"name": "fake", "tool_call": true, "attachment": true,
				"modalities": map[string]any{"input": []string{"text", "image"}, "output": []string{"text"}},
			}},
		}},
	}
	env := []string{
		"HOME=" + dir, "NO_PROXY=127.0.0.1,localhost",
		"OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_MODELS_FETCH=1",
		"OPENCODE_DISABLE_LSP_DOWNLOAD=1", "OPENCODE_DISABLE_DEFAULT_PLUGINS=1",
	}
	for name, folder := range map[string]string{
		"CONFIG": "config", "DATA": "data", "STATE": "state", "CACHE": "cache",
	} {
		env = append(env, "XDG_"+name+"_HOME="+filepath.Join(dir, folder))
	}
	return env, writeJSON(filepath.Join(dir, "config", "opencode", "opencode.json"), config)
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make an agent's home: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("write an agent's configuration: %w", err)
	}
	return nil
}

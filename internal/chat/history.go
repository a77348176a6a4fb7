package chat

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxHistory      = 1000     // lines that are remembered
	maxHistoryBytes = 64 << 10 // of one of them; longer ones are not kept
)

// history is what was typed before, the oldest first, and the file that it is
// kept in, one JSON string on each line. Owned by one goroutine; several programs
// may append to one file.
type history struct {
	path  string // empty: not kept
	lines []string
}

// historyPath is where the file lies (XDG Base Directory Specification:
// $XDG_STATE_HOME, or ~/.local/state).
func historyPath(getenv func(string) string) string {
	state := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "sessionhub", "chat_history")
}

// loadHistory reads the file, and shortens it when it has grown to twice what
// is remembered.
func loadHistory(path string) (*history, error) {
	h := &history{path: path}
	if path == "" {
		return h, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("read the history: %w", err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 8*maxHistoryBytes)
	for in.Scan() {
		var line string
		if json.Unmarshal(in.Bytes(), &line) == nil && line != "" {
			h.lines = append(h.lines, line)
		}
	}
	if err := in.Err(); err != nil {
		return h, fmt.Errorf("read the history: %w", err)
	}
	if len(h.lines) <= 2*maxHistory {
		return h, nil
	}
	h.lines = slices.Clone(h.lines[len(h.lines)-maxHistory:])
	return h, h.rewrite()
}

func (h *history) rewrite() error {
	var b strings.Builder
	for _, line := range h.lines {
		raw, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("shorten the history: %w", err)
		}
		b.Write(append(raw, '\n'))
	}
	f, err := os.CreateTemp(filepath.Dir(h.path), ".chat_history-") // 0600
	if err != nil {
		return fmt.Errorf("shorten the history: %w", err)
	}
	_, err = f.WriteString(b.String())
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), h.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("shorten the history: %w", err)
	}
	return nil
}

// add remembers a line. One that begins with a space is not written down, as in
// a shell; nor is a repetition.
func (h *history) add(line string) error {
	if line == "" || len(line) > maxHistoryBytes || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return nil
	}
	h.lines = append(h.lines, line)
	if h.path == "" || strings.HasPrefix(line, " ") {
		return nil
	}
	raw, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	f, err := os.OpenFile(h.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	// What is typed may be private, also where the file was made by something else.
	err = f.Chmod(0o600)
	_, werr := f.Write(append(raw, '\n'))
	if err = errors.Join(err, werr, f.Close()); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	return nil
}

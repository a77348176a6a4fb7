package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"unicode/utf8"

	"golang.org/x/term"

	"sessionhub/client"
	"sessionhub/internal/config"
	"sessionhub/internal/text"
)

// runExport prints the transcript of a session, or saves it.
func runExport(ctx context.Context, args []string) int {
	cfg, err := config.ParseExport(args, os.LookupEnv)
	if errors.Is(err, config.ErrHelp) {
		return help(os.Stdout, "export")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub export:", err)
		return exitUsage
	}
	if err := export(ctx, cfg); err != nil {
		// What the hub says can come from an agent.
		fmt.Fprintln(os.Stderr, "sessionhub export:", text.Prose(err.Error()))
		return exitFailed
	}
	return exitOK
}

func export(ctx context.Context, cfg config.Export) error {
	hub := &client.Client{BaseURL: cfg.Hub, APIKey: cfg.APIKey.Reveal(), HTTPClient: &http.Client{}}
	body, err := hub.Session(cfg.Session, cfg.Token.Reveal()).Transcript(ctx, cfg.Format)
	if err != nil {
		return err
	}
	defer body.Close()
	if cfg.Output != "" {
		return save(cfg.Output, body)
	}
	var out io.Writer = os.Stdout
	if term.IsTerminal(int(os.Stdout.Fd())) {
		shown := &shownText{out: os.Stdout}
		defer shown.end()
		out = shown
	}
	return copyAll(out, body)
}

// copyAll copies a transcript, and says so if the hub breaks it off.
func copyAll(out io.Writer, body io.Reader) error {
	_, err := io.Copy(out, body)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the hub broke the transcript off: it is not complete; try again")
	}
	return err
}

// save writes a transcript to a new file that its user alone can read. A transcript that
// is not complete leaves no file.
func save(path string, body io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("--output: %s exists: it is not overwritten", path)
	}
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	err = errors.Join(copyAll(f, body), f.Sync(), f.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// shownText writes text to a terminal, on which nothing of it may act, whatever hub it
// comes from.
type shownText struct {
	out  io.Writer
	text text.Stream
	torn []byte // of a character
}

func (s *shownText) Write(p []byte) (int, error) {
	b := append(s.torn, p...)
	whole := wholeRunes(b)
	if _, err := io.WriteString(s.out, s.text.Write(string(b[:whole]))); err != nil {
		return 0, err
	}
	s.torn = append([]byte(nil), b[whole:]...)
	return len(p), nil
}

func (s *shownText) end() {
	// The terminal is gone where this fails, and nobody is there to be told.
	_, _ = io.WriteString(s.out, s.text.Write(string(s.torn))+s.text.End())
}

// wholeRunes is how much of b ends with a whole character.
func wholeRunes(b []byte) int {
	for i := 1; i <= min(len(b), utf8.UTFMax); i++ {
		if at := len(b) - i; utf8.RuneStart(b[at]) {
			if utf8.FullRune(b[at:]) {
				return len(b)
			}
			return at
		}
	}
	return len(b)
}

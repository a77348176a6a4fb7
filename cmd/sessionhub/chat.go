package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"sessionhub/client"
	"sessionhub/internal/chat"
	"sessionhub/internal/config"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

func runChat(ctx context.Context, args []string) int {
	cfg, err := config.ParseChat(args, os.LookupEnv)
	if errors.Is(err, config.ErrHelp) {
		return help(os.Stdout, "chat")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sessionhub chat:", err)
		return exitUsage
	}
	dir := cfg.Dir
	if dir != "" && !cfg.HubGiven { // this machine's hub: the directory is what the person sees from here
		if dir, err = filepath.Abs(dir); err != nil {
			fmt.Fprintln(os.Stderr, "sessionhub chat: --dir:", err)
			return exitUsage
		}
	}
	err = chat.Run(ctx, chat.Options{
		Client:  &client.Client{BaseURL: cfg.Hub, APIKey: cfg.APIKey.Reveal(), HTTPClient: &http.Client{}},
		Session: cfg.Session, Token: cfg.Token.Reveal(),
		Create: protocol.CreateRequest{
			Provider: cfg.Provider, WorkingDirectory: dir, Title: cfg.Title, AgentSession: cfg.TakeUp,
			Worktree:     protocol.WorktreeRequest{Wanted: cfg.Worktree},
			AgentOptions: protocol.AgentOptions{Model: cfg.Model, Mode: cfg.Mode},
		},
		Transport: transports[cfg.Transport], Approve: cfg.Approve, JSON: cfg.JSON, Remove: cfg.Remove,
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
	})
	if err != nil {
		// What the hub says can come from an agent.
		fmt.Fprintln(os.Stderr, "sessionhub chat:", text.Prose(err.Error()))
		return exitFailed
	}
	return exitOK
}

// chatUsage prints the settings, and what a line of the conversation can begin with.
func chatUsage(w io.Writer) error {
	if err := config.ChatUsage(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n"+chat.Words)
	return err
}

var transports = map[string]client.Transport{
	config.ChatAuto: client.Auto, config.ChatWebSocket: client.WebSocket, config.ChatSSE: client.SSE,
}

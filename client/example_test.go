package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"sessionhub/client"
	"sessionhub/internal/app"
	"sessionhub/internal/config"
	"sessionhub/protocol"
)

// A program that asks an agent for something, allows what it wants to do, and
// prints what it says. It works through reconnects, whatever lies between.
func Example() {
	hubURL, stop := startHub()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	c := &client.Client{BaseURL: hubURL, APIKey: os.Getenv("SESSIONHUB_API_KEY")}
	made, err := c.Create(ctx, protocol.CreateRequest{Provider: "demo", Title: "example"}, "")
	if err != nil {
		log.Fatal(err)
	}
	session := c.Session(made.SessionID, made.Token)
	stream := session.Stream(client.StreamOptions{
		Renew: func(ctx context.Context) (string, error) { // before the token expires
			fresh, err := session.Token(ctx, protocol.TokenRequest{})
			return fresh.Token, err
		},
	})
	defer stream.Close()

	// Commands wait for their answer, which Next reads: they go out beside it.
	var commands sync.WaitGroup
	defer commands.Wait()
	run := func(command func() error) {
		commands.Go(func() {
			if err := command(); err != nil {
				log.Print(err)
				cancel()
			}
		})
	}
	run(func() error { _, err := stream.Message(ctx, "/approve the deployment", "m1"); return err })
	for {
		frame, err := stream.Next(ctx)
		if err != nil {
			log.Print(err)
			return
		}
		switch frame.Type {
		case protocol.EventToolApproval:
			var question protocol.ToolApprovalData
			if err := json.Unmarshal(frame.Data, &question); err != nil {
				log.Print(err)
				return
			}
			fmt.Println("it asks:", question.Title)
			run(func() error {
				_, err := stream.Approve(ctx, protocol.ApproveRequest{
					InteractionID: question.InteractionID, Decision: protocol.AllowOnce,
				})
				return err
			})
		case protocol.EventOutput:
			var piece protocol.OutputData
			if err := json.Unmarshal(frame.Data, &piece); err != nil {
				log.Print(err)
				return
			}
			fmt.Print(piece.Text)
		case protocol.EventComplete:
			fmt.Println()
			return
		}
	}
	// Output:
	// it asks: the deployment
	// Approved: allow_once.
}

// startHub runs a hub in this process: what `sessionhub serve` does.
func startHub() (url string, stop func()) {
	workspace, err := os.MkdirTemp("", "sessionhub-example")
	if err != nil {
		log.Fatal(err)
	}
	cfg, err := config.Parse([]string{
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workspace-root", workspace, "--drain-timeout", "1s",
	}, func(string) (string, bool) { return "", false })
	if err != nil {
		log.Fatal(err)
	}
	node, err := app.Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		log.Fatal(err)
	}
	return node.URL(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = node.Stop(ctx)
		http.DefaultClient.CloseIdleConnections()
		_ = os.RemoveAll(workspace)
	}
}

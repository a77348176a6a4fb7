// Package client speaks to a hub: it makes sessions, follows a session's event
// log, sends messages and answers the agent's questions.
//
//	c := &client.Client{BaseURL: "http://127.0.0.1:8080"}
//	made, err := c.Create(ctx, protocol.CreateRequest{}, "")
//	...
//	stream := c.Session(made.SessionID, made.Token).Stream(client.StreamOptions{})
//	defer stream.Close()
//	go stream.Message(ctx, "hello", "")
//	for {
//		frame, err := stream.Next(ctx)
//		...
//	}
//
// The package's example is a whole program.
//
// # What a caller has to do
//
// In this order: keep the token secret (it is sent in headers only, never in a
// URL); pass a context that ends to every call, since nothing here has a time
// limit of its own except a connection's start; keep calling Next, since the
// hub's pings and the answers to commands are taken in it.
//
// # What is promised
//
// A Stream gives every event behind its start once and in order, over as many
// connections as it takes, and a gap frame where the hub no longer has something.
// It begins with a WebSocket, goes over to server-sent events where that is
// blocked, swallowed or keeps breaking, and tries the WebSocket again later. It
// waits as the hub asks (draining, Retry-After), with full jitter otherwise, and
// stops where coming back is of no use (see Error.Temporary).
//
// Commands come in two kinds. Those of Session are one request each, never
// repeated here. Those of Stream are repeated until the hub has acknowledged or
// refused them, over whatever way is open; however often a message was sent, it
// counts once.
package client

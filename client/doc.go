// Package client speaks to a hub: it makes sessions, follows a session's event log, sends
// messages and answers the agent's questions.
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
//   - Keep the token secret. The client sends it in headers only, never in a URL.
//   - Pass a context that ends to every call. Only the start of a connection has a time
//     limit of its own.
//   - Keep calling Next. It answers the hub's pings, and reads the answers to commands.
//
// # What is promised
//
// A Stream gives every event after its start once and in order, over as many connections as
// it takes. It gives a gap frame where the hub no longer has an event.
//
// A Channel promises the same for many sessions of a user over one connection. Their messages
// and answers go by Session.
//
// Both begin with a WebSocket. They change to server-sent events if the WebSocket is
// blocked, swallowed or keeps breaking, and try the WebSocket again later. Between
// attempts they wait as long as the hub asks (draining, Retry-After), and with full jitter
// otherwise. They stop where coming back is of no use (see Error.Temporary).
//
// There are two kinds of commands. A command of Session is one request, which the client
// never repeats. A command of Stream is repeated until the hub has acknowledged or refused
// it, over whichever connection is open. A message counts once, however often it was sent.
package client

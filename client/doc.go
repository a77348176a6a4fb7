// Package client speaks to a hub: it makes sessions, sends messages and
// answers, and follows a session's event log.
//
//	c := &client.Client{BaseURL: "http://127.0.0.1:8080"}
//	made, err := c.Create(ctx, protocol.CreateRequest{}, "")
//	...
//	session := c.Session(made.SessionID, made.Token)
//	stream := session.Stream(client.StreamOptions{})
//	defer stream.Close()
//	session.Message(ctx, "hello", "")
//	for {
//		frame, err := stream.Next(ctx)
//		...
//	}
//
// What a caller has to do, in this order: keep the token secret (it is sent in
// headers only, never in a URL); pass a context that ends to every call, since
// nothing here has a time limit of its own except a connection's start; keep
// calling Next, since the pings of the hub are answered in it.
//
// Requests are never repeated by this package. Those that carry a key of their
// own (an idempotency key, a messageId) can be repeated by the caller without
// harm. Streams come back by themselves.
package client

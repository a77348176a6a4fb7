// Package wsconn joins what does not fit by itself: coder/websocket, which wants net/http's Hijacker, and fiber, which
// stands on fasthttp. It also holds the one socket writer that WebSocket and SSE streams share.
//
// # The way of a connection
//
// [Configure] prepares an app, once, before it serves. [Bridge.Accept] then runs inside a fiber handler: the handshake is
// judged there, so that a refusal is an ordinary answer on a connection that stays open. Only a good handshake takes the
// connection over; the 101 is written after the handler has returned, and the caller's serve function runs in a goroutine
// of its own, the only one that the connection has. fasthttp's request context and read buffer are back in their pools by
// then. [Bridge.Hijack] is the same for a raw response that never ends (SSE).
//
// After Accept or Hijack returned nil, exactly one of serve and lost is called, also when the client went away before the
// first byte could be written. So what the handler took (a place in a limit) is given back in one place. The connection
// closes when serve returns; [Bridge.Wait] waits for all of them. The app's shutdown does not touch them: whoever serves
// them closes them.
//
// # Writing
//
// Events reach a WebSocket as frames that were encoded once for everybody: [Conn.WriteFrames] puts them between the few
// control frames that are the connection's own. Writes set no deadline. A write that waits leaves a stamp, and a sweeper
// asks [Conn.Stalled] or [Socket.Stalled] about once a second, then cuts. Cut works at any time, from any goroutine, and
// sets a waiting write free.
package wsconn

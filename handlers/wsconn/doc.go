// Package wsconn joins two libraries that do not fit together: coder/websocket needs
// net/http's Hijacker, and fiber stands on fasthttp. It also holds the one socket writer
// that WebSocket and SSE streams share.
//
// # The way of a connection
//
// [Configure] prepares an app, once, before it serves. [Bridge.Accept] then runs inside a
// fiber handler and judges the handshake. A refusal is an ordinary answer on a connection
// that stays open. Only a good handshake takes the connection over.
//
// The 101 is written after the handler has returned. The caller's serve function runs in a
// goroutine of its own, the only one that the connection has. By then, fasthttp's request
// context and read buffer are back in their pools. [Bridge.Hijack] does the same for a raw
// response that never ends (SSE).
//
// After Accept or Hijack has returned nil, exactly one of serve and lost is called. This
// holds even if the client went away before the first byte could be written. So the
// handler's slot is given back in one place. The connection closes when serve returns.
// [Bridge.Wait] waits for all of them. The app's shutdown does not touch them: the code
// that serves a connection closes it.
//
// # Writing
//
// Events reach a WebSocket as frames that were encoded once for all readers.
// [Conn.WriteFrames] puts them between the few control frames of the connection itself.
// Writes set no deadline. A write that waits leaves a stamp. A sweeper calls [Conn.Stalled]
// or [Socket.Stalled] about once a second, and then cuts. Cut works at any time, from any
// goroutine, and ends a waiting write.
package wsconn

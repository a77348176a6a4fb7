// Package auth judges who may speak to this node: session tokens, user tokens, API
// keys and worker keys, where a browser's request comes from, and how credentials are
// read from headers. Everything here is a value or a pure function: it holds no
// connection, reads no file and knows no session. Which credential opens which
// route is for handlers; whether a token was revoked is in the session's state.
package auth

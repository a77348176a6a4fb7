// Package fakemodel is a scripted model API on loopback, so that tests can run
// a real AI agent through the whole path without a model, a key or a network.
//
// A [Server] speaks the wire formats of several vendors, one file each: OpenAI
// Responses (responses.go) and Chat Completions (chat.go), Anthropic Messages
// (messages.go), Google Gemini (gemini.go). Each decodes a
// request into a neutral [Turn], asks the [Script] for a [Reply], and streams
// that reply as server-sent events in its own format. [Directives] is the
// script that tests normally use: the user's own prompt says what happens.
//
// An agent is pointed at the server by its configuration: [CodexHome],
// [ClaudeHome], [GeminiHome], [OpencodeHome] and [QwenHome] make it.
//
// To add an API: write a decoder from its request to a Turn and an encoder that
// implements the wire interface, and add its route in [Server.routes].
package fakemodel

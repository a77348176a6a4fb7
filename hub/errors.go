package hub

import "errors"

// Errors of the commands that callers branch on.
var (
	ErrIdempotency      = errors.New("the same key was used with another body")
	ErrWorkingDirectory = errors.New("working directory not allowed")
)

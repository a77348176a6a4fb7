package store

import "context"

// Mail carries letters between the nodes of a cluster. A letter is a hint, as the queue's
// notices are: it can be lost, and is never kept. Whoever waits for an answer gives up in
// time.
type Mail interface {
	// SendMail gives a letter of at most MaxLetter bytes to whoever has opened the box now,
	// on any node. It is no error if nobody has.
	SendMail(ctx context.Context, box string, letter []byte) error

	// OpenBox calls deliver with each letter to the box, until stop is called. Letters of
	// one sender come in order. deliver must not block, must not send mail, and must not
	// change the letter. It does not run any more when stop has returned.
	OpenBox(box string, deliver func(letter []byte)) (stop func())
}

// MaxLetter bounds a letter, in bytes.
const MaxLetter = 1 << 20

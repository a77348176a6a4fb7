package store

import (
	"context"
	"errors"
)

// MaxAccountBytes bounds the record of an account.
const MaxAccountBytes = 256 << 10

// ErrAccountTooLarge says that a record is over MaxAccountBytes. Nothing was stored.
var ErrAccountTooLarge = errors.New("the account's record is too large")

// Accounts keeps a record for each user, without an end. What is in a record is a matter of
// hub/account.
type Accounts interface {
	// LoadAccount gives the user's record and its version. A user without a record has
	// version 0. The caller must not change the bytes.
	LoadAccount(ctx context.Context, user string) (account []byte, version uint64, err error)
	// SaveAccount stores the user's record if the stored version is still expect, in one
	// atomic step. Then it tells the watchers of the user (UserNotice.Account). The record
	// gets another version, which is never 0 and says nothing else. Errors: ErrConflict,
	// ErrAccountTooLarge. After any other error, the record may or may not be stored.
	SaveAccount(ctx context.Context, user string, expect uint64, account []byte) error
}

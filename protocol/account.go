package protocol

import "time"

// UserTokenRequest is the body of POST /api/user/token.
type UserTokenRequest struct {
	UserID       string `json:"userId,omitempty"` // a service key may name any
	Scope        string `json:"scope,omitempty"`
	TTLSeconds   int64  `json:"ttlSeconds,omitempty"`
	RevokeOthers bool   `json:"revokeOthers,omitempty"`
}

// UserTokenResponse answers POST /api/user/token.
type UserTokenResponse struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
	Scope     string    `json:"scope"`
	UserID    string    `json:"userId"`
}

// SignInRequest is the body of POST /api/sign-in. With a Ticket, the request needs no other
// credential.
type SignInRequest struct {
	Label  string `json:"label,omitempty"` // at most 100 bytes, for people
	Ticket string `json:"ticket,omitempty"`
	UserID string `json:"userId,omitempty"` // a service key may name any
}

// SignIn is a browser that stays signed in. Current says that the request came from it.
type SignIn struct {
	ID         string    `json:"id"`
	Label      string    `json:"label"`
	CreatedAt  time.Time `json:"createdAt"`
	LastUsedAt time.Time `json:"lastUsedAt"` // to within a quarter of an hour
	ExpiresAt  time.Time `json:"expiresAt"`  // unless it is used before
	Current    bool      `json:"current"`
}

// SignInResponse answers POST /api/sign-in. The cookie comes in a header.
type SignInResponse struct {
	UserID string `json:"userId"`
	SignIn SignIn `json:"signIn"`
}

// SignInList answers GET /api/sign-ins, oldest first. Required is false if the hub asks
// nobody for a credential.
type SignInList struct {
	UserID   string   `json:"userId"`
	Required bool     `json:"required"`
	SignIns  []SignIn `json:"signIns"`
}

// SignInTicketRequest is the body of POST /api/sign-in/ticket.
type SignInTicketRequest struct {
	UserID string `json:"userId,omitempty"` // a service key may name any
}

// SignInTicketResponse answers POST /api/sign-in/ticket. URL is the dashboard's, with the
// ticket in its fragment, which browsers send to nobody.
type SignInTicketResponse struct {
	Ticket    string    `json:"ticket"`
	ExpiresAt time.Time `json:"expiresAt"`
	URL       string    `json:"url"`
}

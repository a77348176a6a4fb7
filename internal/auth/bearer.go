package auth

import (
	"errors"
	"strings"

	"sessionhub/protocol"
)

// Answers for a header without a usable credential. The difference matters:
// without a credential a request may still be let in (in local mode, or with a
// ticket or a cookie), with a malformed one never.
var (
	ErrNoCredential = errors.New("no credential")
	ErrMalformed    = errors.New("malformed credential")
)

// maxProtocols bounds a Sec-WebSocket-Protocol header: a token and some names.
const maxProtocols = MaxTokenBytes + 1024

// Bearer reads the credential from an Authorization header (RFC 6750, section
// 2.1): a token or an API key. ErrNoCredential when the header is empty,
// ErrMalformed when it is of another scheme, or Bearer without one good value:
// who sends Basic means to be somebody, and must not pass as nobody.
func Bearer(header string) (string, error) {
	header = strings.Trim(header, " \t")
	if header == "" {
		return "", ErrNoCredential
	}
	scheme, value, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMalformed
	}
	return credential(strings.TrimLeft(value, " "))
}

// APIKey reads the X-API-Key header.
func APIKey(header string) (string, error) {
	header = strings.Trim(header, " \t")
	if header == "" {
		return "", ErrNoCredential
	}
	return credential(header)
}

func credential(value string) (string, error) {
	if value == "" || len(value) > MaxTokenBytes {
		return "", ErrMalformed
	}
	for i := range len(value) {
		if value[i] <= ' ' || value[i] >= 0x7f { // neither space nor control nor beyond ASCII
			return "", ErrMalformed
		}
	}
	return value, nil
}

// SubprotocolBearer reads the credential that a browser puts among its
// Sec-WebSocket-Protocol names as bearer.<token>. header is the whole list, its
// lines joined by commas. ErrMalformed for an empty token, two of them, or
// characters that no name of a subprotocol may have (RFC 6455, section 4.1).
func SubprotocolBearer(header string) (string, error) {
	if len(header) > maxProtocols {
		return "", ErrMalformed
	}
	var token string
	for name := range strings.SplitSeq(header, ",") {
		value, ok := strings.CutPrefix(strings.Trim(name, " \t"), protocol.BearerPrefix)
		if !ok {
			continue
		}
		if token != "" || value == "" || len(value) > MaxTokenBytes || strings.IndexFunc(value, notTchar) >= 0 {
			return "", ErrMalformed
		}
		token = value
	}
	if token == "" {
		return "", ErrNoCredential
	}
	return token, nil
}

// notTchar: no character of a token (RFC 9110, section 5.6.2).
func notTchar(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

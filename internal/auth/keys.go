package auth

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Users that no keys file names.
const (
	ServiceUser = "service" // a service key's, when it names no other
	LocalUser   = "local"   // everybody's in local mode
)

const (
	maxKeys     = 10_000 // Lookup looks at every one
	maxKeyLine  = 4096
	maxKeyBytes = 1024 // of a key that is looked up
)

// Identity is who a key belongs to. For a service key, which may speak for any
// user, User is ServiceUser: whom it is when it names nobody.
type Identity struct {
	Name    string // of the key, for logs
	User    string
	Service bool
}

// Keys is a set of API keys or worker keys, of which only hashes are kept. It
// is immutable; the zero value is empty. A reload makes a new one.
type Keys struct {
	entries []keyEntry
}

type keyEntry struct {
	sum [sha256.Size]byte
	who Identity
}

// ServiceKey is the set of one service key. An empty key gives an empty set.
func ServiceKey(name, key string) Keys {
	if key == "" {
		return Keys{}
	}
	return Keys{[]keyEntry{{sha256.Sum256([]byte(key)), Identity{Name: name, User: ServiceUser, Service: true}}}}
}

// With is the union; where both have the same key, k's entry counts.
func (k Keys) With(other Keys) Keys {
	return Keys{slices.Concat(k.entries, other.entries)}
}

// Shares reports whether a key is in both sets.
func (k Keys) Shares(other Keys) bool {
	return slices.ContainsFunc(k.entries, func(a keyEntry) bool {
		return slices.ContainsFunc(other.entries, func(b keyEntry) bool { return a.sum == b.sum })
	})
}

// Len is the number of keys.
func (k Keys) Len() int { return len(k.entries) }

// Lookup finds whose key it is. It takes the same time whether and wherever
// the key is found.
func (k Keys) Lookup(key string) (Identity, bool) {
	if key == "" || len(key) > maxKeyBytes {
		return Identity{}, false
	}
	sum := sha256.Sum256([]byte(key))
	found := -1
	for i := len(k.entries) - 1; i >= 0; i-- {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], k.entries[i].sum[:]), i, found)
	}
	if found < 0 {
		return Identity{}, false
	}
	return k.entries[found].who, true
}

// ParseKeys reads a keys file: lines of name:user:sha256hex, where the user *
// makes a service key; empty lines and those that begin with # do not count. A
// user's name may hold colons. Every bad line is named by its number and never
// by its text, since a key could stand there by mistake.
func ParseKeys(r io.Reader) (Keys, error) {
	var k Keys
	var errs []error
	seen := map[[sha256.Size]byte]int{}
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 0, maxKeyLine), maxKeyLine)
	n := 0
	for scan.Scan() {
		n++
		text := strings.TrimSpace(scan.Text())
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff") // some editors begin a file with it
		}
		if text == "" || text[0] == '#' {
			continue
		}
		e, err := parseKeyLine(text)
		if err == nil && seen[e.sum] != 0 {
			err = fmt.Errorf("the same key as in line %d", seen[e.sum])
		}
		if err == nil && len(k.entries) == maxKeys {
			return Keys{}, fmt.Errorf("line %d: more than %d keys", n, maxKeys)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		seen[e.sum] = n
		k.entries = append(k.entries, e)
	}
	if err := scan.Err(); errors.Is(err, bufio.ErrTooLong) {
		errs = append(errs, fmt.Errorf("line %d: longer than %d bytes", n+1, maxKeyLine))
	} else if err != nil {
		errs = append(errs, fmt.Errorf("read keys: %w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return Keys{}, err
	}
	return k, nil
}

// emptySum is what `printf "" | sha256sum` gives: the sign of a script whose
// variable was empty.
var emptySum = sha256.Sum256(nil)

func parseKeyLine(line string) (keyEntry, error) {
	name, rest, _ := strings.Cut(line, ":")
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return keyEntry{}, errors.New("want name:user:sha256hex")
	}
	user, hash := strings.TrimSpace(rest[:colon]), strings.TrimSpace(rest[colon+1:])
	name = strings.TrimSpace(name)

	e := keyEntry{who: Identity{Name: name, User: user}}
	switch {
	case !isName(name):
		return keyEntry{}, errors.New("the name before the first colon is empty or cannot be printed")
	case !isName(user):
		return keyEntry{}, errors.New("the user between the colons is empty or cannot be printed (* makes a service key)")
	case len(hash) != 2*sha256.Size:
		return keyEntry{}, fmt.Errorf("the part after the last colon has %d characters: want the 64 hex digits of the key's SHA-256", len(hash))
	}
	if _, err := hex.Decode(e.sum[:], []byte(hash)); err != nil {
		return keyEntry{}, errors.New("the part after the last colon is not hex: want the 64 hex digits of the key's SHA-256")
	}
	if e.sum == emptySum {
		return keyEntry{}, errors.New("this is the hash of an empty key")
	}
	if user == "*" {
		e.who.User, e.who.Service = ServiceUser, true
	}
	return e, nil
}

func isName(s string) bool {
	return s != "" && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

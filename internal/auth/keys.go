package auth

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
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
	maxKeys     = 10_000 // a file is read whole into memory
	maxKeyLine  = 4096
	maxKeyBytes = 1024 // of a key that is looked up
	// maxKeyName bounds a key's name in bytes: a token carries it, and has to fit
	// MaxTokenBytes beside the name of a user.
	maxKeyName = 128
)

// Identity is who a key belongs to. For a service key, which may speak for any
// user, User is ServiceUser: whom it is when it names nobody.
type Identity struct {
	Name    string // of the key: for logs, and in the tokens that it makes
	User    string
	Service bool
	// ID stands for this key with this user. Another key under the same name has
	// another one, and so has the same key when the file gives it to another user.
	// It does not contain the hash by which the key is looked up.
	ID string
}

// Keys is a set of API keys or worker keys, of which only hashes are kept. It
// is immutable; the zero value is empty. A reload makes a new one.
type Keys struct {
	bySum  map[keySum]Identity
	ids    map[string]struct{}
	makers map[maker]struct{}
}

type keySum = [sha256.Size]byte

// maker is a key's name and whom it may make tokens for: anyUser, or one user.
type maker struct{ name, user string }

// anyUser stands in a keys file for a service key.
const anyUser = "*"

// add puts a key into a set that nobody has seen yet, unless it is there.
func (k *Keys) add(sum keySum, who Identity) {
	if _, ok := k.bySum[sum]; ok {
		return
	}
	if k.bySum == nil {
		k.bySum, k.ids, k.makers = make(map[keySum]Identity), make(map[string]struct{}), make(map[maker]struct{})
	}
	user := who.User
	if who.Service {
		user = anyUser
	}
	who.ID = keyID(sum, user)
	k.bySum[sum] = who
	k.ids[who.ID] = struct{}{}
	k.makers[maker{who.Name, user}] = struct{}{}
}

// keyID is 128 bits of a hash: enough that no two keys of a file share it.
func keyID(sum keySum, user string) string {
	h := sha256.New()
	h.Write([]byte("sessionhub key id\x00"))
	h.Write(sum[:])
	h.Write([]byte(user))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ServiceKey is the set of one service key. An empty key gives an empty set.
func ServiceKey(name, key string) Keys {
	var k Keys
	if key != "" {
		k.add(sha256.Sum256([]byte(key)), Identity{Name: name, User: ServiceUser, Service: true})
	}
	return k
}

// With is the union; where both have the same key, k's entry counts.
func (k Keys) With(other Keys) Keys {
	var both Keys
	for _, set := range []Keys{k, other} {
		for sum, who := range set.bySum {
			both.add(sum, who)
		}
	}
	return both
}

// Shares reports whether a key is in both sets.
func (k Keys) Shares(other Keys) bool {
	for sum := range k.bySum {
		if _, ok := other.bySum[sum]; ok {
			return true
		}
	}
	return false
}

// Equal reports whether both sets have the same keys for the same users under
// the same names.
func (k Keys) Equal(other Keys) bool { return maps.Equal(k.bySum, other.bySum) }

// Len is the number of keys.
func (k Keys) Len() int { return len(k.bySum) }

// Lookup finds whose key it is. Its cost does not grow with the number of keys.
//
// The map is searched by the key's SHA-256, and its time may depend on how much
// of that digest fits. That tells nothing about a key: who tries one cannot
// choose its digest, and the digest of a secret with enough bits leads to no key.
func (k Keys) Lookup(key string) (Identity, bool) {
	if key == "" || len(key) > maxKeyBytes {
		return Identity{}, false
	}
	who, ok := k.bySum[sha256.Sum256([]byte(key))]
	return who, ok
}

// Has reports whether the key with this Identity.ID is in the set.
func (k Keys) Has(id string) bool {
	_, ok := k.ids[id]
	return ok
}

// CanMake reports whether a key of this name is in the set that may make tokens
// for the user. A token lives only as long as the key that it names could make it.
func (k Keys) CanMake(name, user string) bool {
	if _, ok := k.makers[maker{name, anyUser}]; ok {
		return true
	}
	_, ok := k.makers[maker{name, user}]
	return ok
}

// ParseKeys reads a keys file: lines of name:user:sha256hex, where the user *
// makes a service key; empty lines and those that begin with # do not count. A
// user's name may hold colons. Every bad line is named by its number and never
// by its text, since a key could stand there by mistake.
func ParseKeys(r io.Reader) (Keys, error) {
	var k Keys
	var errs []error
	seen := map[keySum]int{}
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
		sum, who, err := parseKeyLine(text)
		if err == nil && seen[sum] != 0 {
			err = fmt.Errorf("the same key as in line %d", seen[sum])
		}
		if err == nil && k.Len() == maxKeys {
			return Keys{}, fmt.Errorf("line %d: more than %d keys", n, maxKeys)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		seen[sum] = n
		k.add(sum, who)
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

func parseKeyLine(line string) (sum keySum, who Identity, err error) {
	name, rest, _ := strings.Cut(line, ":")
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return sum, who, errors.New("want name:user:sha256hex")
	}
	user, hash := strings.TrimSpace(rest[:colon]), strings.TrimSpace(rest[colon+1:])
	name = strings.TrimSpace(name)

	switch {
	case !isName(name):
		return sum, who, errors.New("the name before the first colon is empty or cannot be printed")
	case len(name) > maxKeyName:
		return sum, who, fmt.Errorf("the name before the first colon has %d bytes: want at most %d", len(name), maxKeyName)
	case !isName(user):
		return sum, who, errors.New("the user between the colons is empty or cannot be printed (* makes a service key)")
	case len(hash) != 2*sha256.Size:
		return sum, who, fmt.Errorf("the part after the last colon has %d characters: want the 64 hex digits of the key's SHA-256", len(hash))
	}
	if _, err := hex.Decode(sum[:], []byte(hash)); err != nil {
		return sum, who, errors.New("the part after the last colon is not hex: want the 64 hex digits of the key's SHA-256")
	}
	if sum == emptySum {
		return sum, who, errors.New("this is the hash of an empty key")
	}
	who = Identity{Name: name, User: user}
	if user == anyUser {
		who.User, who.Service = ServiceUser, true
	}
	return sum, who, nil
}

func isName(s string) bool {
	return s != "" && utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Secret is a text that nothing prints: not fmt with any verb, not log/slog,
// not an encoder. Only Reveal gives it away. The zero value is not set.
type Secret struct {
	// A pointer, since fmt prints the unexported fields of foreign structs
	// without asking their methods: it then shows an address.
	text *string
}

const redacted = "[secret]"

// NewSecret makes a secret. An empty text is none.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal gives the text itself, empty if it is not set.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether there is one.
func (s Secret) IsSet() bool { return s.text != nil }

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// secretSetting is a setting that comes from the environment alone: a secret
// (its variable, or the same with _FILE for a file that holds it), or the path
// of a file of secrets.
type secretSetting struct {
	name   string // in the form of a flag, which it is not
	help   string
	secret *Secret
	check  func(text string) error
	path   *string
}

// variables names what may be set.
func (s secretSetting) variables() string {
	if s.secret == nil {
		return variable(s.name)
	}
	return variable(s.name) + " or " + variable(s.name+"-file")
}

// readSecrets reads them all. No message holds anything of their text.
func (p *parser) readSecrets() {
	for _, s := range p.secrets {
		name := variable(s.name)
		text, _ := p.environ(name)
		if s.path != nil {
			*s.path = text
			continue
		}
		fileName := variable(s.name + "-file")
		file, _ := p.environ(fileName)
		source := name
		switch {
		case text != "" && file != "":
			p.problem(fileName, "%s is set too: want one of them", name)
			p.wrong[s.name] = true
			continue
		case file != "":
			source = fileName
			var err error
			if text, err = readSecretFile(file); err != nil {
				p.problem(source, "%w", err)
				p.wrong[s.name] = true
				continue
			}
		}
		if text == "" {
			continue
		}
		if s.check != nil {
			if err := s.check(text); err != nil {
				p.problem(source, "%w", err)
				p.wrong[s.name] = true
				continue
			}
		}
		*s.secret = NewSecret(text)
	}
}

// maxSecretFile bounds what is read: whoever names a log by mistake gets an
// error.
const maxSecretFile = 64 << 10

// readSecretFile reads a secret; white space at its ends, such as the last
// line's break, is not part of it.
func readSecretFile(path string) (string, error) {
	b, err := readFile(path, maxSecretFile)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("%q is empty: want a file with the secret", clip(path))
	}
	return text, nil
}

// readFile reads a file of at most so many bytes.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%q is larger than %s", clip(path), FormatBytes(most))
	}
	return b, nil
}

// maxKey bounds an API key: it travels in a header.
const maxKey = 1024

// checkKey refuses a key that no client could send.
func checkKey(text string) error {
	if len(text) > maxKey {
		return fmt.Errorf("the key has %d bytes: want at most %d", len(text), maxKey)
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return errors.New("the key holds a space, a control character or one beyond ASCII: want characters that a header can carry")
		}
	}
	return nil
}

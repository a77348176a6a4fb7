package chat

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"

	"sessionhub/internal/text"
)

// keyKind is what a key does.
type keyKind int

const (
	keyNone  keyKind = iota // nothing that is known here
	keyRune                 // r
	keyPaste                // text
	keyEnter
	keyNewline // a line break in the text
	keyBackspace
	keyDelete
	keyLeft
	keyRight
	keyUp
	keyDown
	keyHome
	keyEnd
	keyWordLeft
	keyWordRight
	keyKillWord
	keyKillLeft
	keyKillRight
	keyInterrupt // Ctrl-C
	keyEOF       // Ctrl-D
	keySuspend   // Ctrl-Z
	keyRedraw    // Ctrl-L
)

type key struct {
	kind keyKind
	r    rune
	text string
	at   time.Time // when it was read of the terminal
}

const maxPaste = 1 << 20 // bytes; the rest of a longer one is left out

// controls are the keys of one byte.
var controls = map[byte]keyKind{
	'\r': keyEnter, '\n': keyNewline, 0x7f: keyBackspace, 0x08: keyBackspace,
	0x01: keyHome, 0x02: keyLeft, 0x03: keyInterrupt, 0x04: keyEOF, 0x05: keyEnd, 0x06: keyRight, 0x0b: keyKillRight,
	0x0c: keyRedraw, 0x0e: keyDown, 0x10: keyUp, 0x15: keyKillLeft, 0x17: keyKillWord, 0x1a: keySuspend,
}

// sequences are those behind ESC (xterm, "Xterm Control Sequences": PC-style and
// VT220-style function keys).
var sequences = map[string]keyKind{
	"[A": keyUp, "[B": keyDown, "[C": keyRight, "[D": keyLeft, "[H": keyHome, "[F": keyEnd,
	"OA": keyUp, "OB": keyDown, "OC": keyRight, "OD": keyLeft, "OH": keyHome, "OF": keyEnd,
	"[1~": keyHome, "[7~": keyHome, "[4~": keyEnd, "[8~": keyEnd, "[3~": keyDelete,
	"[1;5C": keyWordRight, "[1;5D": keyWordLeft, "[1;3C": keyWordRight, "[1;3D": keyWordLeft,
	"f": keyWordRight, "b": keyWordLeft, "\x7f": keyKillWord, "\r": keyNewline, "\n": keyNewline,
}

var pasteBegin, pasteEnd = []byte("\x1b[200~"), []byte("\x1b[201~")

// decodeKey takes the first key of what was typed. n is how many bytes it has; 0:
// its end is still to come. final: nothing more comes soon, so an ESC stands for
// itself.
func decodeKey(b []byte, final bool) (k key, n int) {
	switch c := b[0]; {
	case c == 0x1b:
		return decodeEscape(b, final)
	case c < 0x20 || c == 0x7f:
		return key{kind: controls[c]}, 1
	}
	if !utf8.FullRune(b) && !final {
		return key{}, 0
	}
	r, n := utf8.DecodeRune(b)
	if typed := string(r); r == utf8.RuneError || text.Typed(typed) != typed {
		return key{}, n
	}
	return key{kind: keyRune, r: r}, n
}

func decodeEscape(b []byte, final bool) (key, int) {
	if bytes.HasPrefix(b, pasteBegin) {
		return decodePaste(b)
	}
	if len(b) == 1 {
		if final {
			return key{}, 1
		}
		return key{}, 0
	}
	end := 2
	switch b[1] {
	case '[': // parameters, then one byte from @ to ~ (ECMA-48, 5.4)
		for end < len(b) && (b[end] < 0x40 || b[end] > 0x7e) {
			if b[end] < 0x20 || end > 32 { // no sequence at all
				return key{}, end
			}
			end++
		}
		end++
	case 'O':
		end = 3
	}
	if end > len(b) {
		if final {
			return key{}, len(b)
		}
		return key{}, 0
	}
	return key{kind: sequences[string(b[1:end])]}, end
}

// decodePaste takes a bracketed paste: its keys are text and do nothing else.
func decodePaste(b []byte) (key, int) {
	body := b[len(pasteBegin):]
	end := bytes.Index(body, pasteEnd)
	if end < 0 {
		return key{}, 0
	}
	n := len(pasteBegin) + end + len(pasteEnd)
	return key{kind: keyPaste, text: text.Typed(strings.ToValidUTF8(string(body[:min(end, maxPaste)]), ""))}, n
}

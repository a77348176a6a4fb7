package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// byteUnits are the units of sizes, largest first.
var byteUnits = [...]struct {
	name  string
	bytes int64
}{{"GiB", gib}, {"MiB", mib}, {"KiB", kib}}

var errBytes = errors.New("not a size: want a whole number of bytes, or one with KiB, MiB or GiB")

// ParseBytes reads a size: a whole number of bytes, or of KiB, MiB or GiB with
// at most one space in between. Other units are refused: whether MB is a
// million is not for us to guess.
func ParseBytes(text string) (int64, error) {
	unit := int64(1)
	for _, u := range byteUnits {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = strings.TrimSuffix(number, " "), u.bytes
			break
		}
	}
	if text == "" || strings.Trim(text, "0123456789") != "" { // ParseInt takes signs too
		return 0, errBytes
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, errBytes
	}
	return n * unit, nil
}

// FormatBytes writes a size in the largest unit that gives a whole number.
func FormatBytes(n int64) string {
	for _, u := range byteUnits {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

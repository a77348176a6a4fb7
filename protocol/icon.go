package protocol

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// iconTypes are the pictures that a data: URI may hold. Browsers run no script in an SVG that
// an img element shows.
var iconTypes = []string{"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"}

// CheckIcon returns an error unless icon is the https: URI of a picture, or a data: URI that
// holds one. It has at most MaxProviderIcon bytes of printable ASCII, without spaces, double
// quotes, angle brackets, backslashes and backquotes.
func CheckIcon(icon string) error {
	if len(icon) > MaxProviderIcon {
		return fmt.Errorf("is %d bytes long: at most %d", len(icon), MaxProviderIcon)
	}
	for i := range len(icon) {
		if c := icon[i]; c <= ' ' || c > '~' || strings.IndexByte("\"<>\\`", c) >= 0 {
			return fmt.Errorf("holds a character at byte %d that no URI has", i)
		}
	}
	if data, ok := strings.CutPrefix(icon, "data:"); ok {
		kind, _, comma := strings.Cut(data, ",")
		kind, _, _ = strings.Cut(kind, ";")
		if !comma || !slices.Contains(iconTypes, kind) {
			return errors.New("holds no picture: want " + strings.Join(iconTypes, ", "))
		}
		return nil
	}
	u, err := url.Parse(icon)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return errors.New("is neither an https: nor a data: URI")
	}
	return nil
}

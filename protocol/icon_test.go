package protocol

import (
	"strings"
	"testing"
)

// An icon goes into pages of everybody: nothing but a picture's address passes.
func TestIcons(t *testing.T) {
	svg := "data:image/svg+xml,"
	for icon, good := range map[string]bool{
		"https://example.org/icon.png": true, "data:image/png;base64,iVBORw0K": true, svg + "%3Csvg%20x='y'/%3E": true,
		svg + strings.Repeat("x", MaxProviderIcon-len(svg)):   true,
		svg + strings.Repeat("x", MaxProviderIcon-len(svg)+1): false,
		"": false, "http://example.org/icon.png": false, "https:///icon.png": false, "https://me:pw@example.org/i": false, "/icon.png": false, "javascript:alert(1)": false,
		"data:text/html,x": false, "data:image/png": false, "data:,x": false, "data:image/svg+xml,<svg>": false, "data:image/png,a b": false,
		"https://example.org/\"onerror=": false, "https://example.org/\n": false, "https://example.org/\u00e9": false,
	} {
		if err := CheckIcon(icon); (err == nil) != good {
			t.Errorf("%.60q: %v", icon, err)
		} else if err != nil && len(icon) > 40 && strings.Contains(err.Error(), icon) {
			t.Errorf("%.60q: the error repeats it", icon)
		}
	}
}

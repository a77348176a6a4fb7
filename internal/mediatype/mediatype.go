// Package mediatype tells what the bytes of an image or a sound are. An agent that
// is given a PNG under the name of a JPEG keeps it in its history, and its model then
// refuses every further message.
package mediatype

import (
	"encoding/base64"
	"fmt"
	"mime"
	"slices"
	"strings"
)

// headBytes is how much of the data Of looks at.
const headBytes = 32

// Of returns the media type of data by its first 32 bytes, or nothing if it is none
// that is known here. (PNG: section 5.2; JPEG: ITU-T T.81, B.1.1; GIF89a; RFC 9649
// for WebP; ISO/IEC 23008-12 for HEIC and AVIF; TIFF 6.0; RFC 9639 for FLAC, RFC 3533
// for Ogg.)
func Of(data []byte) string {
	data = data[:min(len(data), headBytes)]
	has := func(at int, text string) bool {
		return len(data) >= at+len(text) && string(data[at:at+len(text)]) == text
	}
	switch {
	case has(0, "\x89PNG\r\n\x1a\n"):
		return "image/png"
	case has(0, "\xff\xd8\xff"):
		return "image/jpeg"
	case has(0, "GIF87a"), has(0, "GIF89a"):
		return "image/gif"
	case has(0, "RIFF") && has(8, "WEBP"):
		return "image/webp"
	case has(0, "BM") && has(6, "\x00\x00\x00\x00"):
		return "image/bmp"
	case has(0, "II*\x00"), has(0, "MM\x00*"):
		return "image/tiff"
	case has(4, "ftypavif"), has(4, "ftypavis"):
		return "image/avif"
	case has(4, "ftyp") && len(data) >= 12 && slices.Contains(heicBrands, string(data[8:12])):
		return "image/heic"
	case has(0, "RIFF") && has(8, "WAVE"):
		return "audio/wav"
	case has(0, "OggS"):
		return "audio/ogg"
	case has(0, "fLaC"):
		return "audio/flac"
	case has(0, "%PDF-"):
		return "application/pdf"
	}
	return ""
}

var heicBrands = []string{"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"}

// aliases are other names in use for what Of returns.
var aliases = map[string]string{
	"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png", "image/apng": "image/png",
	"image/x-ms-bmp": "image/bmp", "image/heif": "image/heic", "image/heic-sequence": "image/heic", "image/heif-sequence": "image/heic",
	"audio/x-wav": "audio/wav", "audio/wave": "audio/wav", "audio/vnd.wave": "audio/wav", "audio/x-flac": "audio/flac",
	"audio/opus": "audio/ogg", "audio/vorbis": "audio/ogg",
}

// known are the types that Of always tells. Of others, such as image/svg+xml, only
// what is certainly something else is refused. The first four are for ForModel.
var known = []string{
	"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/avif", "image/heic",
	"audio/wav", "audio/ogg", "audio/flac",
}

// Known reports whether Of tells every image and sound of this media type. The type is in lower case,
// without parameters.
func Known(mediaType string) bool {
	if name, ok := aliases[mediaType]; ok {
		mediaType = name
	}
	return slices.Contains(known, mediaType)
}

// maxPicture is what the models' services take of one picture, in bytes: 5 MiB in base64.
const maxPicture = 3_700_000

// ForModel reports whether every model with eyes takes a picture of this media type and
// size, in bytes. A model can refuse any other one, and with it each later message.
func ForModel(mediaType string, size int64) bool {
	return slices.Contains(known[:4], mediaType) && size <= maxPicture
}

// Problem says, for people, how data in base64 (RFC 4648, section 4) differs from its
// mimeType; nothing if it does not, or if the type is neither an image's nor a
// sound's, or is longer than 100 bytes.
func Problem(mimeType, data string) string {
	want, _, err := mime.ParseMediaType(mimeType)
	if err != nil || len(want) > 100 || !strings.HasPrefix(want, "image/") && !strings.HasPrefix(want, "audio/") {
		return ""
	}
	if name, ok := aliases[want]; ok {
		want = name
	}
	head := make([]byte, base64.StdEncoding.DecodedLen(2*headBytes))
	n, _ := base64.StdEncoding.Decode(head, []byte(data[:min(len(data), 2*headBytes)])) // up to what is wrong
	switch got := Of(head[:n]); {
	case got == want:
		return ""
	case got != "":
		return fmt.Sprintf("the data is %s and not %s, as its mimeType says", got, want)
	case slices.Contains(known, want):
		return fmt.Sprintf("the data is not %s, as its mimeType says", want)
	}
	return ""
}

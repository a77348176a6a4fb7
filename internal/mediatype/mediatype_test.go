package mediatype

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strings"
	"testing"
)

// encoded is a picture as an encoder writes it.
func encoded(t *testing.T, encode func(io.Writer, image.Image) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// samples are files, or their beginnings, by their type.
func samples(t *testing.T) map[string][]byte {
	t.Helper()
	return map[string][]byte{
		"image/png":       encoded(t, png.Encode),
		"image/jpeg":      encoded(t, func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) }),
		"image/gif":       encoded(t, func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) }),
		"image/webp":      []byte("RIFF\x1a\x00\x00\x00WEBPVP8L"),
		"image/bmp":       []byte("BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00"),
		"image/tiff":      []byte("II*\x00\x08\x00\x00\x00"),
		"image/avif":      []byte("\x00\x00\x00\x20ftypavif\x00\x00\x00\x00"),
		"image/heic":      []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"),
		"audio/wav":       []byte("RIFF\x24\x00\x00\x00WAVEfmt "),
		"audio/ogg":       []byte("OggS\x00\x02"),
		"audio/flac":      []byte("fLaC\x00\x00"),
		"application/pdf": []byte("%PDF-1.7\n"),
	}
}

// A JPEG that was called a PNG went to the agent, and its model refused every
// message of that session from then on.
func TestProblem(t *testing.T) {
	all := samples(t)
	for is, data := range all {
		if got := Of(data); got != is {
			t.Errorf("%s is taken for %q", is, got)
		}
		for said := range all {
			problem := Problem(said, base64.StdEncoding.EncodeToString(data))
			wrong := said != is && said != "application/pdf"
			if (problem != "") != wrong || wrong && (!strings.Contains(problem, is) || !strings.Contains(problem, said)) {
				t.Errorf("%s called %s: %q", is, said, problem)
			}
		}
	}
	for _, c := range []struct {
		said, data string
		wrong      bool
	}{
		{"image/png", "\x00\x00\x00", true},
		{"image/png", "", true},
		{"image/png", "<svg/>", true},
		{"IMAGE/PNG; q=1", "\x89PNG\r\n\x1a\n", false},
		{"image/jpg", "\xff\xd8\xff\xe0", false},
		{"image/heif", "\x00\x00\x00\x18ftypmif1", false},
		{"audio/x-wav", "RIFF\x24\x00\x00\x00WAVE", false},
		{"image/svg+xml", "<svg/>", false},
		{"image/svg+xml", "\x89PNG\r\n\x1a\n", true},
		{"audio/mpeg", "\xff\xfb\x90\x00", false},
		{"audio/mpeg", "GIF89a", true},
		{"text/plain", "GIF89a", false},
		{"no type", "GIF89a", false},
	} {
		if problem := Problem(c.said, base64.StdEncoding.EncodeToString([]byte(c.data))); (problem != "") != c.wrong {
			t.Errorf("%q called %s: %q", c.data, c.said, problem)
		}
	}
}

// What a model may refuse is not for models: it would refuse every later message too.
func TestForModel(t *testing.T) {
	for _, c := range []struct {
		mediaType string
		size      int64
		want      bool
	}{
		{"image/png", 1, true}, {"image/webp", 3_700_000, true}, {"image/jpeg", 3_700_001, false}, {"image/heic", 1, false},
		{"image/svg+xml", 1, false}, {"text/plain", 1, false}, {"", 1, false},
	} {
		if got := ForModel(c.mediaType, c.size); got != c.want {
			t.Errorf("%s of %d bytes: %v", c.mediaType, c.size, got)
		}
	}
}

func FuzzProblem(f *testing.F) {
	f.Add("image/png", "iVBORw0KGgo=")
	f.Add("image/png", "iVBO!")
	f.Add(";", "")
	f.Fuzz(func(t *testing.T, said, data string) {
		if p := Problem(said, data); len(p) > 200 {
			t.Errorf("%d bytes of text", len(p))
		}
	})
}

package auth

import (
	"errors"
	"strings"
	"testing"
)

func TestBearer(t *testing.T) {
	long := strings.Repeat("x", MaxTokenBytes)
	for _, c := range []struct {
		header, want string
		err          error
	}{
		{"", "", ErrNoCredential},
		{"  ", "", ErrNoCredential},
		{"Basic YTpi", "", ErrMalformed},
		{"abc", "", ErrMalformed},
		{"BearerX abc", "", ErrMalformed},
		{"Bearer abc.def-_~+/=", "abc.def-_~+/=", nil},
		{"bearer abc", "abc", nil},
		{"BEARER   abc ", "abc", nil},
		{"Bearer", "", ErrMalformed},
		{"Bearer ", "", ErrMalformed},
		{"Bearer a b", "", ErrMalformed},
		{"Bearer a\tb", "", ErrMalformed},
		{"Bearer a\r\nb", "", ErrMalformed},
		{"Bearer \x00", "", ErrMalformed},
		{"Bearer ä", "", ErrMalformed},
		{"Bearer " + long, long, nil},
		{"Bearer " + long + "x", "", ErrMalformed},
	} {
		got, err := Bearer(c.header)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("Bearer(%.30q) = %.30q, %v; want %.30q, %v", c.header, got, err, c.want, c.err)
		}
	}
}

func TestAPIKeyHeader(t *testing.T) {
	for _, c := range []struct {
		header, want string
		err          error
	}{
		{"", "", ErrNoCredential},
		{" key-1 ", "key-1", nil},
		{"a b", "", ErrMalformed},
		{"a\x7f", "", ErrMalformed},
		{strings.Repeat("x", MaxTokenBytes+1), "", ErrMalformed},
	} {
		if got, err := APIKey(c.header); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("APIKey(%.30q) = %q, %v; want %q, %v", c.header, got, err, c.want, c.err)
		}
	}
}

func TestSubprotocolBearer(t *testing.T) {
	for _, c := range []struct {
		header, want string
		err          error
	}{
		{"", "", ErrNoCredential},
		{"sessionhub.v1", "", ErrNoCredential},
		{"sessionhub.v1, x-bearer.abc", "", ErrNoCredential},
		{"sessionhub.v1, bearer.a.b-c_d", "a.b-c_d", nil},
		{"bearer.abc,sessionhub.v1", "abc", nil},
		{" ,, bearer.abc\t,", "abc", nil},
		{"sessionhub.v1, bearer.", "", ErrMalformed},
		{"bearer.a, bearer.b", "", ErrMalformed},
		{"bearer.a, bearer.a", "", ErrMalformed},
		{"bearer.a b", "", ErrMalformed},
		{"bearer.a=b", "", ErrMalformed},
		{"bearer.\xff", "", ErrMalformed},
		{"bearer." + strings.Repeat("x", MaxTokenBytes+1), "", ErrMalformed},
		{"bearer.x," + strings.Repeat("y", maxProtocols), "", ErrMalformed},
	} {
		if got, err := SubprotocolBearer(c.header); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("SubprotocolBearer(%.30q) = %q, %v; want %q, %v", c.header, got, err, c.want, c.err)
		}
	}
}

func FuzzCredentialHeaders(f *testing.F) {
	f.Add("Bearer abc")
	f.Add("sessionhub.v1, bearer.abc")
	f.Fuzz(func(t *testing.T, header string) {
		for _, read := range []func(string) (string, error){Bearer, APIKey, SubprotocolBearer} {
			got, err := read(header)
			if (got == "") != (err != nil) || len(got) > MaxTokenBytes {
				t.Fatalf("%q, %v", got, err)
			}
			if err == nil && (!strings.Contains(header, got) || strings.ContainsAny(got, " \t\r\n\x00")) {
				t.Fatalf("%q from %q", got, header)
			}
		}
	})
}

package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// value is a setting's typed value behind its text.
type value interface {
	// set reads text, or says what is wrong and what would be right, and
	// leaves the value alone.
	set(text string) error
	// String is the value as one would write it.
	String() string
	// want says what may be set: "a directory", "1 to 8".
	want() string
	// placeholder stands for the value in the help.
	placeholder() string
	// isSwitch: the flag may stand without a value.
	isSwitch() bool
}

// wrong is the error of a text that is no value.
func wrong(text, is, want string) error {
	return fmt.Errorf("%q %s: want %s", clip(text), is, want)
}

// simple is a value of any type, made of functions.
type simple struct {
	parse    func(text string) error
	print    func() string
	wanted   string
	holder   string
	switches bool
}

func (s *simple) set(text string) error { return s.parse(text) }
func (s *simple) String() string        { return s.print() }
func (s *simple) want() string          { return s.wanted }
func (s *simple) placeholder() string   { return s.holder }
func (s *simple) isSwitch() bool        { return s.switches }

// text is any one line, or nothing. The last word of want stands for it in the
// help.
func text(p *string, want string) value {
	return checked(p, want, strings.ToUpper(want[strings.LastIndexByte(want, ' ')+1:]), func(t string) string {
		if strings.ContainsAny(t, "\x00\r\n") {
			return "holds a line break or NUL"
		}
		return ""
	})
}

// required is a text that is something.
func required(p *string, want string) value {
	v := text(p, want).(*simple)
	parse := v.parse
	v.parse = func(t string) error {
		if t == "" {
			return wrong(t, "is empty", want)
		}
		return parse(t)
	}
	return v
}

// checked is a text that check finds nothing wrong with.
func checked(p *string, want, holder string, check func(string) (is string)) value {
	return &simple{
		parse: func(t string) error {
			if is := check(t); is != "" {
				return wrong(t, is, want)
			}
			*p = t
			return nil
		},
		print:  func() string { return *p },
		wanted: want,
		holder: holder,
	}
}

// address is a listener's host:port; without a host it is every address of
// this machine.
func address(p *string) value {
	return checked(p, "host:port, such as 127.0.0.1:8080", "ADDRESS", func(t string) string {
		host, port, err := net.SplitHostPort(t)
		if err != nil {
			return "is no host:port"
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return "has no port from 0 to 65535"
		}
		if strings.ContainsAny(host, " \t\r\n\x00/") {
			return "has no host that can be listened on"
		}
		return ""
	})
}

// webURL is the beginning of an address in the web; a slash at its end is
// taken off.
func webURL(p *string) value {
	const want = "http:// or https:// with a host, and perhaps a path"
	v := checked(p, want, "URL", func(t string) string {
		if t == "" {
			return ""
		}
		u, err := url.Parse(t)
		switch {
		case err != nil:
			return "is no URL"
		case u.Scheme != "http" && u.Scheme != "https":
			return "is not of http or https"
		case u.Hostname() == "":
			return "names no host"
		case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
			return "holds a user, a query or a fragment"
		}
		return ""
	}).(*simple)
	parse := v.parse
	v.parse = func(t string) error {
		if err := parse(t); err != nil {
			return err
		}
		*p = strings.TrimRight(t, "/")
		return nil
	}
	return v
}

// number is a whole number from least to most.
func number(p *int, least, most int) value {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	return &simple{
		parse: func(t string) error {
			n, err := strconv.Atoi(t)
			switch {
			case err != nil:
				return wrong(t, "is no whole number", want)
			case n < least || n > most:
				return wrong(t, "is out of range", want)
			}
			*p = n
			return nil
		},
		print:  func() string { return strconv.Itoa(*p) },
		wanted: want,
		holder: "N",
	}
}

// size is a number of bytes from least to most.
func size[T int | int64](p *T, least, most int64) value {
	want := fmt.Sprintf("bytes from %s to %s, as a number or with KiB, MiB or GiB", FormatBytes(least), FormatBytes(most))
	return &simple{
		parse: func(t string) error {
			n, err := ParseBytes(t)
			switch {
			case err != nil:
				return wrong(t, "is no size", want)
			case n < least || n > most || int64(T(n)) != n:
				return wrong(t, "is out of range", want)
			}
			*p = T(n)
			return nil
		},
		print:  func() string { return FormatBytes(int64(*p)) },
		wanted: want,
		holder: "SIZE",
	}
}

// duration is a time in Go's syntax from least to most.
func duration(p *time.Duration, least, most time.Duration) value {
	want := fmt.Sprintf("a duration from %s to %s, such as 500ms, 10s, 5m or 24h", formatDuration(least), formatDuration(most))
	return &simple{
		parse: func(t string) error {
			d, err := time.ParseDuration(t)
			switch {
			case err != nil && strings.Trim(t, "0123456789") == "" && t != "":
				return wrong(t, "has no unit", want)
			case err != nil:
				return wrong(t, "is no duration", want)
			case d < least || d > most:
				return wrong(t, "is out of range", want)
			}
			*p = d
			return nil
		},
		print:  func() string { return formatDuration(*p) },
		wanted: want,
		holder: "DURATION",
	}
}

// autoDuration is what orAuto makes of auto.
const autoDuration = time.Duration(-1)

// orAuto is a duration that the program chooses itself when it is auto.
func orAuto(p *time.Duration, v value) value {
	return &simple{
		parse: func(t string) error {
			if t != "auto" {
				return v.set(t)
			}
			*p = autoDuration
			return nil
		},
		print: func() string {
			if *p == autoDuration {
				return "auto"
			}
			return v.String()
		},
		wanted: "auto, or " + v.want(),
		holder: "auto|" + v.placeholder(),
	}
}

// formatDuration leaves out the zeros that time.Duration writes: 24h0m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// choice is one of some words.
func choice(p *string, words ...string) value {
	want := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	return checked(p, want, strings.Join(words, "|"), func(t string) string {
		if !slices.Contains(words, t) {
			return "is not known"
		}
		return ""
	})
}

// level is a level of log/slog.
func level(p *slog.Level) value {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	word := strings.ToLower(p.String())
	v := choice(&word, "debug", "info", "warn", "error").(*simple)
	parse := v.parse
	v.parse = func(t string) error {
		err := parse(t)
		*p = levels[word]
		return err
	}
	return v
}

// onOff is a switch.
func onOff(p *bool) value {
	const want = "true or false"
	return &simple{
		parse: func(t string) error {
			b, err := strconv.ParseBool(t)
			if err != nil {
				return wrong(t, "is neither", want)
			}
			*p = b
			return nil
		},
		print:    func() string { return strconv.FormatBool(*p) },
		wanted:   want,
		switches: true,
	}
}

// Toggle is a switch that may be left to the program.
type Toggle int

// The values of Toggle.
const (
	ToggleAuto Toggle = iota
	ToggleOn
	ToggleOff
)

// toggle is true, false or auto.
func toggle(p *Toggle) value {
	const want = "true, false or auto"
	names := map[Toggle]string{ToggleAuto: "auto", ToggleOn: "true", ToggleOff: "false"}
	return &simple{
		parse: func(t string) error {
			if t == names[ToggleAuto] {
				*p = ToggleAuto
				return nil
			}
			b, err := strconv.ParseBool(t)
			if err != nil {
				return wrong(t, "is none of them", want)
			}
			if *p = ToggleOff; b {
				*p = ToggleOn
			}
			return nil
		},
		print:    func() string { return names[*p] },
		wanted:   want,
		switches: true,
	}
}

// listValue is several texts, separated by commas; in the file it may be a
// sequence.
type listValue struct{ p *[]string }

func list(p *[]string) value { return &listValue{p} }

func (l *listValue) set(t string) error {
	var all []string
	for part := range strings.SplitSeq(t, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	*l.p = all
	return nil
}

func (l *listValue) String() string      { return strings.Join(*l.p, ",") }
func (l *listValue) want() string        { return "a list, separated by commas" }
func (l *listValue) placeholder() string { return "LIST" }
func (l *listValue) isSwitch() bool      { return false }

// isPrintable reports whether a text is UTF-8 without control characters.
func isPrintable(t string) bool {
	return utf8.ValidString(t) && strings.IndexFunc(t, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

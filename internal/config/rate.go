package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Rate is a token bucket: PerSecond tokens come in each second, at most Burst
// are kept.
type Rate struct {
	PerSecond float64
	Burst     int
}

const (
	maxRate  = 1_000_000
	maxBurst = 10_000_000
)

// String is the rate as one would write it.
func (r Rate) String() string {
	return strconv.FormatFloat(r.PerSecond, 'f', -1, 64) + "/s:" + strconv.Itoa(r.Burst)
}

// ParseRate reads "5/s:20": 5 a second, 20 at once. The rate may have a fraction.
func ParseRate(text string) (Rate, error) {
	perSecond, burst, ok := strings.Cut(strings.TrimSpace(text), "/s:")
	if !ok {
		return Rate{}, fmt.Errorf("%q is no rate: want %s", clip(text), wantRate)
	}
	// Digits and a point only: ParseFloat would take "inf" and "0x1p-2" as well.
	n, err := strconv.ParseFloat(perSecond, 64)
	if err != nil || strings.Trim(perSecond, "0123456789.") != "" || n <= 0 || n > maxRate {
		return Rate{}, fmt.Errorf("%q has no good rate: want %s", clip(text), wantRate)
	}
	b, err := strconv.Atoi(burst)
	if err != nil || b < 1 || b > maxBurst {
		return Rate{}, fmt.Errorf("%q has no good burst: want %s", clip(text), wantRate)
	}
	return Rate{PerSecond: n, Burst: b}, nil
}

const wantRate = "rate:burst such as 5/s:20"

func rate(p *Rate) value {
	return &simple{
		parse: func(text string) error {
			r, err := ParseRate(text)
			if err == nil {
				*p = r
			}
			return err
		},
		print: func() string { return p.String() }, wanted: wantRate, holder: "RATE",
	}
}

package client

import (
	"testing"
	"time"
)

func TestBackoffBeginsWithItsDefaults(t *testing.T) {
	b := Backoff{}.begin()
	if b.Base != 500*time.Millisecond || b.Max != 15*time.Second {
		t.Errorf("from %s to %s", b.Base, b.Max)
	}
	if b := (Backoff{Base: time.Millisecond, Max: time.Second}).begin(); b.Base != time.Millisecond || b.Max != time.Second {
		t.Errorf("from %s to %s", b.Base, b.Max)
	}
}

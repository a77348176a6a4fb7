package app

import (
	"net/http"
	"testing"

	"sessionhub/internal/scrape"
)

// metric reads one series from the admin listener.
func metric(t *testing.T, h *hubUnderTest, series string) float64 {
	t.Helper()
	resp, err := http.Get(h.node.AdminURL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := scrape.Read(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	v, there := all[series]
	if !there {
		t.Fatalf("there is no series %s", series)
	}
	return v
}

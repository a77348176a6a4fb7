package worker

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// What people are shown of a provider comes from the file, and a bad value is named.
func TestProvidersFileHasTitles(t *testing.T) {
	providers, err := ParseProviders([]byte("a: {command: x, title: Agent A, description: Writes code., icon: 'data:image/png;base64,AA==', mode: ask}\nb: {command: y}"))
	if err != nil {
		t.Fatal(err)
	}
	all := (Config{}).detailsOf(providers, nil)
	d := all["a"]
	if d.Title != "Agent A" || d.Description != "Writes code." || d.Icon == "" || d.Capabilities == nil || !slices.Equal(d.Capabilities.AskingModes, []string{"ask"}) {
		t.Errorf("the hub is told %+v", d)
	}
	if _, told := all["b"]; told {
		t.Error("there is nothing to tell of b")
	}
	_, err = ParseProviders([]byte("a: {command: x, title: \"a\\nb\", description: " + strings.Repeat("x", 1025) + ", icon: 'http://x/i.png'}"))
	for _, want := range []string{`provider "a": title: must be`, `provider "a": description: must be`, `provider "a": icon: is neither`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A hub refuses a hello whose details are too long, so a worker sends less of them.
func TestDetailsFitIntoAHello(t *testing.T) {
	icon := "data:image/png;base64," + strings.Repeat("A", 4<<10)
	many := func(n int, p Provider) map[string]Provider {
		all := make(map[string]Provider)
		for i := range n {
			all[fmt.Sprint("p", i)] = p
		}
		return all
	}
	full := Provider{Title: "T", Description: strings.Repeat("d", 1000), Icon: icon, Mode: "m", AskingModes: []string{"m"}}
	for n, want := range map[int]func(protocol.ProviderDetails) bool{
		10: func(d protocol.ProviderDetails) bool {
			return d.Icon != "" && d.Description != "" && d.Capabilities != nil
		},
		20: func(d protocol.ProviderDetails) bool {
			return d.Icon == "" && d.Description != "" && d.Capabilities != nil
		},
		256: func(d protocol.ProviderDetails) bool {
			return d.Description == "" && d.Capabilities != nil && d.Title == "T"
		},
	} {
		all := (Config{}).detailsOf(many(n, full), nil)
		if len(all) != n || !want(all["p1"]) || len(protocol.Marshal(all)) > protocol.MaxDetailsBytes {
			t.Errorf("%d: %d of them with %d bytes: %.200s", n, len(all), len(protocol.Marshal(all)), protocol.Marshal(all["p1"]))
		}
	}
	// What the hub would refuse is left out: earlier files may have it.
	for _, p := range []Provider{{Mode: "a\nb"}, {Mode: strings.Repeat("m", 300)}, {Mode: "m0", AskingModes: slices.Repeat([]string{"m0"}, 65)}} {
		if all := (Config{}).detailsOf(many(1, p), nil); len(all) > 0 {
			t.Errorf("%+v is told as %+v", p, all)
		}
	}
}
